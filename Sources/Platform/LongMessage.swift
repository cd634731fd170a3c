import CLinux
import CMosquitto
import COpenSSL
import Primitives

/// A message of the broker that is too long for libmosquitto, which would keep it in memory until it is
/// whole: MQTT 3.1.1 lets it have 256 MiB, and the broker sends it again with every connection until it is
/// acknowledged. It is read past libmosquitto instead, and of it only what says where it belongs is kept.
struct LongMessage {
  /// The lower half of the packet's first byte: DUP, QoS, RETAIN (MQTT 3.1.1 §3.3.1).
  let flags: UInt8
  /// Behind the fixed header.
  let length: Int
  /// What is still to be read.
  var rest: Int
  /// Its beginning: the topic with its length, then the identifier, if it has one (§3.3.2).
  var start: [UInt8] = []
  /// More came since time was last looked at.
  var isMoving = true

  var qos: UInt8 { flags >> 1 & 3 }

  var topicBytes: Int? { start.count < 2 ? nil : Int(start[0]) << 8 | Int(start[1]) }

  /// How long `start` is going to be, as far as that is known.
  var startBytes: Int {
    guard let topic = topicBytes else { return 2 }
    return 2 + topic + (qos > 0 ? 2 : 0)
  }
}

extension MosquittoClient {
  /// libmosquitto is between two packets: looks at what comes next (§2.2), and takes it away if it is a
  /// message that is too long. False: nothing comes now.
  func lookAhead() -> Bool {
    guard long == nil, descriptor != nil else { return true }
    var header: (UInt8, UInt8, UInt8, UInt8, UInt8) = (0, 0, 0, 0, 0)
    return withUnsafeMutableBytes(of: &header) { header in
      let seen = read(into: header, keep: true)
      var length = 0
      var place = 1
      isBetweenPackets = seen <= 0
      while place < seen {
        length |= Int(header[place] & 127) << (7 * (place - 1))
        place += 1
        guard header[place - 1] & 128 == 0 else { continue }
        isBetweenPackets = place + length <= seen
        guard header[0] >> 4 == 3, length > settings.packetBytesMax else { return true }
        _ = read(into: UnsafeMutableRawBufferPointer(rebasing: header[..<place]), keep: false)
        long = LongMessage(flags: header[0] & 15, length: length, rest: length)
        passOver()
        return true
      }
      return seen != -Int(EAGAIN)
    }
  }

  /// Reads on in the long message.
  func passOver() {
    var buffer = [UInt8](repeating: 0, count: 4_096)
    var pieces = 0
    while pieces < piecesPerTurnMax || hasDecrypted, var message = long {
      pieces += 1
      let wanted =
        message.start.count < message.startBytes
        ? message.startBytes - message.start.count : message.rest
      let count = buffer.withUnsafeMutableBytes {
        read(
          into: UnsafeMutableRawBufferPointer(rebasing: $0[..<min(wanted, message.rest, $0.count)]),
          keep: false)
      }
      guard count > 0 else { return }
      long = nil
      message.rest -= count
      message.isMoving = true
      if message.start.count < message.startBytes {
        message.start.reserveCapacity(message.startBytes)
        message.start.append(contentsOf: buffer[..<count])
      }
      if message.rest == 0 { return finish(message) }
      long = message
    }
  }

  /// OpenSSL has read from the connection what nobody has asked it for.
  var hasDecrypted: Bool {
    guard let session = mosquitto_ssl_get(client) else { return false }
    return SSL_pending(OpaquePointer(session)) > 0
  }

  private func finish(_ message: LongMessage) {
    isBetweenPackets = true
    let start = message.start
    guard let topic = message.topicBytes, start.count == message.startBytes, message.qos < 2
    else {
      cause = "a message that MQTT does not allow"
      return
    }
    var id: UInt16 = 0
    if message.qos > 0 { id = UInt16(start[2 + topic]) << 8 | UInt16(start[3 + topic]) }
    status.messages &+= 1
    longMessages &+= 1
    // PUBACK (§3.4); the broker would send it again and again without.
    if message.qos > 0 {
      status.unacknowledged += 1
      own += [0x40, 2, UInt8(id >> 8), UInt8(truncatingIfNeeded: id)]
    }
    let taken = start.withUnsafeBytes {
      messages.push(
        topic: UnsafeRawBufferPointer(rebasing: $0[2..<2 + topic]), payload: nil,
        count: max(message.length - start.count, 1), limit: 0, qos: message.qos, id: id,
        isRetained: message.flags & 1 == 1)
    }
    if !taken { cause = "more messages at once than the queue holds" }
  }

  /// What keeps the connection alive while a long message comes: libmosquitto would wait for the answer
  /// to its PINGREQ (§3.12), which stands behind it. False: nothing has come for long.
  func keepAlive() -> Bool {
    guard long?.isMoving == true else { return false }
    long?.isMoving = false
    own += [0xC0, 0]
    return true
  }

  /// Writes what libmosquitto does not know of, between two of its packets. False: not all of it could be.
  func writeOwn() -> Bool {
    guard let descriptor, !own.isEmpty else { return true }
    let count = own.withUnsafeBytes {
      if let session = mosquitto_ssl_get(client) {
        return SSL_write(OpaquePointer(session), $0.baseAddress, Int32($0.count))
      }
      return spoke_send_now(descriptor, $0.baseAddress, Int32($0.count))
    }
    if count > 0 { own.removeFirst(min(Int(count), own.count)) }
    return own.isEmpty
  }

  /// Of the connection's bytes, decrypted. 0: it ended; less: there are none now.
  private func read(into buffer: UnsafeMutableRawBufferPointer, keep: Bool) -> Int {
    guard let descriptor else { return -1 }
    let count = Int32(buffer.count)
    guard let session = mosquitto_ssl_get(client) else {
      return Int(spoke_receive_now(descriptor, buffer.baseAddress, count, keep ? 1 : 0))
    }
    // libmosquitto asks OpenSSL for the last error of the thread.
    ERR_clear_error()
    let read =
      keep
      ? SSL_peek(OpaquePointer(session), buffer.baseAddress, count)
      : SSL_read(OpaquePointer(session), buffer.baseAddress, count)
    return read > 0 ? Int(read) : -1
  }
}

/// Bounds one turn's work.
private let piecesPerTurnMax = 256
