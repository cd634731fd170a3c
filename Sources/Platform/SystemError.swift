import CLinux
import Primitives

/// A system call that failed: which one, and the errno. Whoever knows the file or the peer adds it.
public struct SystemError: Error, Sendable {
  public let operation: StaticString
  public let code: Int32

  public init(_ operation: StaticString, _ code: Int32) {
    self.operation = operation
    self.code = code
  }

  /// `connect: Connection refused`.
  @inline(never)
  public var description: String { "\(operation.text): \(reason)" }

  /// `Connection refused`.
  @inline(never)
  public var reason: String { String(cString: spoke_error_text(code)) }
}

/// The answer of a `spoke_` function, which is a negative errno when it failed.
@discardableResult
func check<Answer: SignedInteger & FixedWidthInteger>(
  _ operation: StaticString, _ answer: Answer
) throws(SystemError) -> Answer {
  guard answer < 0 else { return answer }
  throw SystemError(operation, Int32(truncatingIfNeeded: -answer))
}

extension StaticString {
  var text: String {
    String(decoding: UnsafeBufferPointer(start: utf8Start, count: utf8CodeUnitCount), as: UTF8.self)
  }
}

extension ByteString {
  /// The bytes with a NUL behind them. A NUL within ends the C string early: names with one in them
  /// are refused where they are read.
  func withCString<Result>(_ body: (UnsafePointer<CChar>) -> Result) -> Result {
    var terminated = bytes
    terminated.append(0)
    return terminated.withUnsafeBufferPointer { bytes in
      bytes.baseAddress!.withMemoryRebound(to: CChar.self, capacity: bytes.count) { body($0) }
    }
  }

  /// A copy of a C string; empty for none.
  init(cString: UnsafePointer<CChar>?) {
    guard let cString else {
      self.init()
      return
    }
    let count = strlen(cString)
    self.init(
      cString.withMemoryRebound(to: UInt8.self, capacity: Int(count)) {
        Array(UnsafeBufferPointer(start: $0, count: Int(count)))
      })
  }
}
