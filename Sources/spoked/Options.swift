import Gateway
import Primitives

/// What the command line asks for.
struct Options {
  enum Mode {
    case run
    case check
    case version
    case help
  }

  static let defaultFile: ByteString = "/etc/spoke/spoke.toml"

  var mode = Mode.run
  var file = Options.defaultFile

  /// `arguments` without the program's own name.
  init(_ arguments: [ByteString]) throws(UsageError) {
    var index = 0
    while index < arguments.count {
      let argument = arguments[index]
      index += 1
      if argument == "--help" || argument == "-h" {
        mode = .help
      } else if argument == "--version" || argument == "-V" {
        mode = .version
      } else if argument == "--check" {
        if mode == .run { mode = .check }
      } else if argument == "--config" || argument == "-c" {
        guard index < arguments.count else {
          throw UsageError("--config needs a file name")
        }
        file = arguments[index]
        index += 1
      } else if argument.hasPrefix("--config=") {
        file = ByteString(Array(argument.bytes[9...]))
      } else {
        throw UsageError("unknown argument '\(argument.description)'")
      }
    }
    if file.isEmpty { throw UsageError("--config needs a file name") }
  }

  static let help = """
    Usage: spoked [--config FILE] [--check]
           spoked --version | --help

    Takes telemetry from serial ports and an MQTT broker, keeps it safe on flash, and
    delivers it over HTTP/2.

      --config FILE   read FILE (default /etc/spoke/spoke.toml), then conf.d/*.toml in
                      the folder of FILE, in the order of their names
      --check         validate the configuration and read the certificates, keys and
                      other files that it names as a start would, print
                      FILE:LINE:COLUMN: message for every error, and exit
      --version       print the version and exit
      --help          print this and exit

    Exit codes: 0 done, 64 usage, 78 configuration, 70 internal.
    SIGTERM stops within 5 s. SIGHUP reads the configuration again; when it is not
    valid, the old one stays in force.
    """
}

struct UsageError: Error {
  let description: String

  init(_ description: String) { self.description = description }
}

/// The exit codes, after sysexits.h.
enum ExitCode {
  static let success: Int32 = 0
  static let usage: Int32 = 64
  static let software: Int32 = 70
  static let configuration: Int32 = 78
}
