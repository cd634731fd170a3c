import Configuration
import Platform
import Primitives

/// `spokectl check`: what `spoked --check` says of the configuration itself. The files that it names are those of
/// a board, and this runs on any machine.
enum Check {
  static func run(_ file: ByteString) -> Int32 {
    do throws(FileError) {
      switch ConfigurationLoader.load(files: try ConfigurationFiles.read(file)) {
      case .valid(_, let warnings):
        report(warnings)
        return ExitCode.success
      case .invalid(let diagnostics):
        report(diagnostics)
      }
    } catch {
      StandardOutput.writeError(error.description + "\n")
    }
    return ExitCode.configuration
  }

  private static func report(_ diagnostics: [Diagnostic]) {
    for diagnostic in diagnostics { StandardOutput.writeError(diagnostic.description + "\n") }
  }
}
