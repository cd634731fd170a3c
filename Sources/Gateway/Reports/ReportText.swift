import Primitives
import Spool

extension GapReport {
  /// The members of the report `gap`.
  package func write(to json: inout JSONWriter) {
    json.member("stream", stream)
    json.member("epoch", EpochText.of(epoch))
    json.member("first", first)
    json.member("last", last)
    json.member("count", count)
    json.time("from", from)
    json.time("to", to)
    if isUpperBound { json.member("upper_bound", true) }
    json.member("reason", reason.text)
  }
}

extension DropReason {
  /// As the gap report has it.
  package var text: ByteString {
    switch self {
    case .space: "space"
    case .expired: "expired"
    case .rejected: "rejected"
    case .corrupt: "corrupt"
    case .memory: "memory"
    case .shed: "shed"
    }
  }
}

extension EpochReason {
  /// As the log has it.
  package var text: String {
    switch self {
    case .cursorMissing: "the cursor is missing"
    case .cursorDamaged: "the cursor is damaged"
    case .endDamaged: "the end of a segment is damaged"
    }
  }
}

extension StorageError {
  package var text: String {
    switch self {
    case .full: "no space left on the device"
    case .readOnly: "the directory cannot be written"
    case .missing: "the directory or a file in it is gone"
    case .exists: "a file is there that should not be"
    case .failed(let code): "input/output error (errno \(code))"
    }
  }
}

extension StorageFile {
  package var text: String {
    switch self {
    case .segment(let logClass, let number, 0): "segment \(logClass)-\(number)"
    case .segment(let logClass, let number, let level): "segment \(logClass)-\(number)-\(level)"
    case .cursor, .newCursor: "cursor"
    case .deadLetter: "dead-letter segment"
    }
  }
}

extension JSONWriter {
  /// An RFC 3339 time, or null when it is not known: that of a clock before its floor, too.
  package mutating func time(_ name: StaticString, _ time: WallTime?) {
    key(name)
    guard let time, time >= GatewayLimits.clockFloor else { return null() }
    string(TimestampText.of(time))
  }
}
