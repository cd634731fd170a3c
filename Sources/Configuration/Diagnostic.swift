import Primitives

/// One problem in a configuration file, with its place.
public struct Diagnostic: Sendable {
  public var file: ByteString
  /// From 1.
  public var line: Int
  /// From 1, in Unicode scalars.
  public var column: Int
  public var message: String

  public init(file: ByteString, line: Int, column: Int, message: String) {
    self.file = file
    self.line = line
    self.column = column
    self.message = message
  }

  /// `FILE:LINE:COLUMN: message`.
  public var description: String { "\(file.description):\(line):\(column): \(message)" }
}

/// A problem before its byte offset is turned into line and column.
package struct Finding: Sendable {
  var file: Int
  var offset: Int
  var message: String
}
