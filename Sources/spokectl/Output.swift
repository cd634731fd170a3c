import Platform
import Primitives

/// The standard output of a command. What could not be written there is no success.
enum Output {
  /// The exit code: `code`, if everything was written.
  static func print(_ page: [UInt8], _ code: Int32 = ExitCode.success) -> Int32 {
    StandardOutput.write(page.span) ? code : broken()
  }

  /// The exit code: `code`, if everything was written.
  static func print(_ text: String, _ code: Int32 = ExitCode.success) -> Int32 {
    print(Array(text.utf8), code)
  }

  /// Says it; the answer is the exit code.
  @discardableResult
  static func broken() -> Int32 {
    StandardOutput.writeError("spokectl: the output could not be written\n")
    return ExitCode.refused
  }
}
