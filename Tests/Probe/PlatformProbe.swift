import Ingest
import Platform
import Primitives

/// `probe mqtt-hold PORT CLIENT-ID FILTER`: prints `TOPIC PAYLOAD` of every message, and never
/// acknowledges one. For an oracle that kills it.
enum MQTTHoldProbe {
  static func run(_ arguments: [ByteString]) -> Int32 {
    guard arguments.count == 3, let port = number(arguments[0]) else { return 64 }
    let settings = MosquittoSettings(
      clientID: arguments[1], filters: [MQTTFilter(topic: arguments[2], qos: 1)])
    do throws(SystemError) {
      let client = try MosquittoClient(settings, tls: nil, seed: RandomSeed.next())
      let loop = try EventLoop(capacity: 4)
      var message = MQTTMessage()
      while true {
        let now = SystemClocks.now()
        if client.handleTimeout(now: now) == .resolve {
          client.connect(
            to: [SocketAddress(127, 0, 0, 1, port: UInt16(truncatingIfNeeded: port))], now: now)
        }
        while client.nextMessage(into: &message) {
          StandardOutput.write(message.topic.span)
          StandardOutput.write(" ")
          StandardOutput.write(message.payload.span)
          StandardOutput.write("\n")
        }
        client.transmit(everythingIsSafe: false, now: now)
        try client.updateRegistration(in: loop, token: 1)
        try loop.wait(until: client.nextDeadline())
        while let ready = loop.nextReady() {
          if ready.isHangUp {
            client.hangUp(now: SystemClocks.now())
          } else {
            client.receive(now: SystemClocks.now())
          }
        }
      }
    } catch {
      StandardOutput.writeError(error.description + "\n")
      return 70
    }
  }
}

/// `probe tls-line HOST PORT CA-FILE NAME`: resolves, connects, sends `hello` and prints the line
/// that comes back, or the error.
enum TLSLineProbe {
  static func run(_ arguments: [ByteString]) -> Int32 {
    guard arguments.count == 4, let port = number(arguments[1]) else { return 64 }
    var link = Link(ca: arguments[2], name: arguments[3])
    let text = link.exchange(host: arguments[0], port: UInt16(truncatingIfNeeded: port))
    StandardOutput.write(text + "\n")
    return 0
  }

  private struct Link {
    var ca: ByteString
    var name: ByteString

    mutating func exchange(host: ByteString, port: UInt16) -> String {
      do throws(TransportError) {
        return try talk(try firstAddress(host, port))
      } catch { return error.description }
    }

    private func firstAddress(
      _ host: ByteString, _ port: UInt16
    ) throws(TransportError) -> SocketAddress {
      do throws(SystemError) {
        let resolver = try Resolver()
        let loop = try EventLoop(capacity: 1)
        _ = try loop.register(resolver.descriptor, token: 0, interest: .readable)
        guard resolver.submit(id: 1, host: host, port: port) else {
          throw SystemError("resolver", 11)
        }
        while true {
          try loop.wait(until: nil)
          guard let resolution = resolver.next() else { continue }
          if case .addresses(let addresses) = resolution.outcome { return addresses[0] }
          throw SystemError("resolver", 2)
        }
      } catch { throw TransportError(error) }
    }

    private func talk(_ address: SocketAddress) throws(TransportError) -> String {
      let context: TLSContext
      do throws(TLSError) {
        context = try TLSContext(authorities: ca, certificate: "", key: "", minimum: .tls12)
      } catch { throw TransportError(error) }
      let transport = try Transport(
        connectingTo: address, security: Transport.Security(context: context, serverName: name))
      try wait(transport, hasOutput: false)
      while !(try transport.advance()) { try wait(transport, hasOutput: false) }
      _ = try transport.write(Array("hello\n".utf8).span)
      var buffer = [UInt8](repeating: 0, count: 64)
      while true {
        switch try transport.read(into: &buffer) {
        case .bytes(let count): return ByteString(Array(buffer[..<(count - 1)])).description
        case .blocked: try wait(transport, hasOutput: false)
        case .ended: return "ended"
        }
      }
    }

    private func wait(_ transport: Transport, hasOutput: Bool) throws(TransportError) {
      do throws(SystemError) {
        let loop = try EventLoop(capacity: 1)
        _ = try loop.register(
          transport.descriptor, token: 0, interest: transport.interest(hasOutput: hasOutput))
        try loop.wait(until: SystemClocks.now() + .seconds(10))
      } catch { throw TransportError(error) }
    }
  }
}

/// `probe serial-hex PATH BAUD COUNT`: prints so many bytes of a port in hexadecimal, without marks.
enum SerialHexProbe {
  static func run(_ arguments: [ByteString]) -> Int32 {
    guard arguments.count == 3, let baud = number(arguments[1]), let count = number(arguments[2])
    else { return 64 }
    do throws(SerialError) {
      let port = try SerialPort(
        arguments[0], SerialLine(baud: UInt32(truncatingIfNeeded: baud)))
      StandardOutput.write("open\n")
      return read(port, Int(count))
    } catch {
      StandardOutput.write(error.description + "\n")
      return 1
    }
  }

  private static func read(_ port: SerialPort, _ count: Int) -> Int32 {
    do throws(SystemError) {
      let loop = try EventLoop(capacity: 1)
      _ = try loop.register(port.descriptor, token: 0, interest: .readable)
      var buffer = [UInt8](repeating: 0, count: 256)
      var got = 0
      var marks = LineMarks()
      while got < count {
        try loop.wait(until: SystemClocks.now() + .seconds(10))
        switch port.read(into: &buffer) {
        case .bytes(let bytes):
          var offset = 0
          while let mark = marks.next(buffer.span.extracting(0..<bytes), from: &offset) {
            guard case .data(let range) = mark else { continue }
            for byte in buffer[range] {
              StandardOutput.write(String(byte >> 4, radix: 16) + String(byte & 15, radix: 16))
            }
            got += range.count
          }
        case .blocked: continue
        case .ended:
          StandardOutput.write("hang-up\n")
          return 0
        }
      }
      StandardOutput.write("\n")
      return 0
    } catch {
      StandardOutput.writeError(error.description + "\n")
      return 70
    }
  }
}

private func number(_ text: ByteString) -> UInt64? {
  var value: UInt64 = 0
  for byte in text.bytes {
    guard byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9"), value < 1 << 40 else { return nil }
    value = value * 10 + UInt64(byte - UInt8(ascii: "0"))
  }
  return text.isEmpty ? nil : value
}
