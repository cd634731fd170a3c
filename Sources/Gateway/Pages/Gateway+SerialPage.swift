import Configuration
import Ingest
import Primitives
import Spool

/// `/serial`.
extension Gateway where Storage: ~Copyable {
  func serialPage() -> [UInt8] {
    var json = JSONWriter()
    json.beginObject()
    json.key("ports")
    json.beginArray()
    for port in ports {
      json.beginObject()
      json.member("name", port.configuration.name)
      json.member("device", port.configuration.device)
      json.member("baud", UInt64(port.configuration.baud))
      json.member("stream", configuration.streams[port.configuration.stream].name)
      json.member("state", port.isOpen ? "open" : "closed")
      json.member("detail", ByteString(port.detail))
      writeFrames(port, &json)
      json.member("reopens", port.reopens)
      writeLine(port, &json)
      writeTransmit(port, &json)
      json.endObject()
    }
    json.endArray()
    json.endObject()
    return json.bytes
  }

  private func writeFrames(_ port: SerialInput, _ json: inout JSONWriter) {
    let counters = port.framer.counters
    json.member("bytes", port.bytes)
    json.member("frames", port.frames)
    json.member("bad_frames", counters.badFrames)
    json.key("bad_frames_by_reason")
    json.beginObject()
    for reason in BadFrameReason.all where counters.badFrames(reason) > 0 {
      json.member(reason.name, counters.badFrames(reason))
    }
    json.endObject()
    json.member("resyncs", counters.resyncs)
    json.member("skipped_bytes", counters.skippedBytes)
    json.member("garbage", port.garbage.isAlarmed)
    json.member("garbage_alarms", port.garbage.alarms)
  }

  /// The line as it was last opened, by the names of termios and of linux/serial.h.
  private func writeLine(_ port: SerialInput, _ json: inout JSONWriter) {
    let opening = port.opening
    json.member("opened_device", opening.device)
    json.member("hardware", opening.hardware)
    json.member("termios", opening.termios)
    json.member("rs485", opening.rs485)
    json.member("low_latency", opening.isLowLatency)
    json.member("damaged_bytes", port.damagedBytes)
    json.member("breaks", port.breaks)
    json.key("icount")
    guard port.errors.isKnown else { return json.null() }
    json.beginObject()
    json.member("frame", port.errors.frame)
    json.member("overrun", port.errors.overrun)
    json.member("parity", port.errors.parity)
    json.member("brk", port.errors.brk)
    json.member("buf_overrun", port.errors.bufOverrun)
    json.endObject()
  }

  private func writeTransmit(_ port: SerialInput, _ json: inout JSONWriter) {
    json.key("transmit")
    json.beginObject()
    json.member("waiting_bytes", UInt64(port.transmit.waitingBytes))
    json.member("sent", port.transmitted.sent)
    json.member("timed_out", port.transmitted.timedOut)
    json.member("port_down", port.transmitted.portDown)
    json.member("refused", port.transmitted.refused)
    json.member("echoes", port.echo?.suppressed ?? 0)
    json.member("echoes_missing", port.echo?.missing ?? 0)
    json.endObject()
  }
}
