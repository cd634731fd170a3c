import Gateway
import Platform
import Primitives
import Spool

extension SpoolCommand {
  /// `spool ls`: a line for each stream of each segment.
  func list(_ opened: consuming Spool<LookedAtStorage>) -> Int32 {
    var spool = opened
    let segments = spool.segments()
    let page = json ? Self.document(segments) : Self.table(segments)
    let code = Output.print(page)
    return SpoolReportText.print(&spool) ? ExitCode.refused : code
  }

  private static func table(_ segments: [SegmentDescription]) -> [UInt8] {
    var table = TextTable(
      [
        "SEGMENT", "LEVEL", "STATE", "BYTES", "EPOCH", "STREAM", "FIRST", "LAST", "RECORDS",
        "WAITING",
      ])
    for segment in segments {
      let head = [
        segment.file.text, "\(segment.level)", segment.isOpen ? "open" : "closed",
        "\(segment.bytes)",
        EpochText.of(segment.epoch).description,
      ]
      if segment.streams.isEmpty { table.add(head + ["-", "-", "-", "0", "0"]) }
      for stream in segment.streams {
        table.add(
          head + [
            stream.name.description, "\(stream.first)", "\(stream.last)", "\(stream.records)",
            "\(stream.waiting)",
          ])
      }
    }
    var text: [UInt8] = []
    table.append(to: &text)
    return text
  }

  private static func document(_ segments: [SegmentDescription]) -> [UInt8] {
    var json = JSONWriter()
    json.beginObject()
    json.key("segments")
    json.beginArray()
    for segment in segments {
      json.beginObject()
      json.member("segment", ByteString(segment.file.text))
      json.member("level", UInt64(segment.level))
      json.member("open", segment.isOpen)
      json.member("bytes", UInt64(segment.bytes))
      json.member("epoch", EpochText.of(segment.epoch))
      json.key("streams")
      json.beginArray()
      for stream in segment.streams {
        json.beginObject()
        json.member("name", stream.name)
        json.member("first", stream.first)
        json.member("last", stream.last)
        json.member("records", UInt64(stream.records))
        json.member("waiting", UInt64(stream.waiting))
        json.endObject()
      }
      json.endArray()
      json.endObject()
    }
    json.endArray()
    json.endObject()
    return json.bytes + [0x0A]
  }
}
