import Primitives

/// What the command line asks for.
struct Options {
  enum Command {
    case status
    case get(ByteString)
    case check(ByteString)
    case resources
    case failures
    case route(RouteQuestion)
    case spool(SpoolCommand)
    case help
    case version
  }

  static let defaultSocket: ByteString = "/run/spoke/admin.sock"
  static let defaultFile: ByteString = "/etc/spoke/spoke.toml"

  var command = Command.help
  var socket = Options.defaultSocket
  var json = false

  private var file: ByteString?
  private var question = RouteQuestion()
  private var exports = false
  private var wantsDeadLetters = false

  /// `arguments` without the program's own name. Options may stand anywhere.
  init(_ arguments: [ByteString]) throws(UsageError) {
    var words: [ByteString] = []
    var isHelp = false
    var isVersion = false
    var index = 0
    while index < arguments.count {
      let argument = arguments[index]
      index += 1
      if argument == "--help" || argument == "-h" {
        isHelp = true
      } else if argument == "--version" || argument == "-V" {
        isVersion = true
      } else if argument == "--json" {
        json = true
      } else if argument == "--export" {
        exports = true
      } else if argument == "--dead-letters" {
        wantsDeadLetters = true
      } else if let value = try Self.value("--socket", argument, arguments, &index) {
        socket = value
      } else if let value = try Self.value("--config", argument, arguments, &index) {
        file = value
      } else if try question.take(argument, arguments, &index) {
        continue
      } else if argument.hasPrefix("-"), argument.count > 1 {
        throw UsageError("unknown option '\(argument.description)'")
      } else {
        words.append(argument)
      }
    }
    if isHelp {
      command = .help
    } else if isVersion {
      command = .version
    } else if words.first == "spool" {
      command = .spool(try spoolCommand(words))
    } else {
      guard !exports, !wantsDeadLetters else {
        throw UsageError("--export and --dead-letters belong to 'spool'")
      }
      command = try Self.command(words, json: json, file: file, question)
    }
  }

  /// The value of `--name VALUE` or `--name=VALUE`; nil when `argument` is another one.
  static func value(
    _ name: ByteString, _ argument: ByteString, _ arguments: [ByteString], _ index: inout Int
  ) throws(UsageError) -> ByteString? {
    var value = ByteString()
    if argument == name {
      if index < arguments.count { value = arguments[index] }
      index += 1
    } else if argument.hasPrefix(name + "=") {
      value = ByteString(Array(argument.bytes[(name.count + 1)...]))
    } else {
      return nil
    }
    if value.isEmpty { throw UsageError("\(name.description) needs a value") }
    return value
  }

  private func spoolCommand(_ words: [ByteString]) throws(UsageError) -> SpoolCommand {
    guard words.count > 1 else {
      throw UsageError("spool needs one of: ls, dump, verify, repair, drain")
    }
    let action = try spoolAction(words[1], stream: words.count > 2 ? words[2] : nil)
    guard words.count <= (words[1] == "dump" ? 3 : 2) else {
      throw UsageError("too many words behind 'spool \(words[1].description)'")
    }
    guard exports == (action == .export), wantsDeadLetters == (action == .deadLetters) else {
      throw UsageError("--export belongs to 'spool drain', --dead-letters to 'spool dump'")
    }
    if json, action == .drain { throw UsageError("'spool drain' has no --json") }
    return SpoolCommand(
      action: action, file: file ?? Self.defaultFile, socket: socket, json: json)
  }

  private func spoolAction(
    _ name: ByteString, stream: ByteString?
  ) throws(UsageError) -> SpoolCommand.Action {
    if name == "ls" { return .list }
    if name == "dump" { return wantsDeadLetters ? .deadLetters : .dump(stream: stream) }
    if name == "verify" { return .verify }
    if name == "repair" { return .repair }
    if name == "drain" { return exports ? .export : .drain }
    throw UsageError("spool has no '\(name.description)': ls, dump, verify, repair, drain")
  }

  private static func command(
    _ words: [ByteString], json: Bool, file: ByteString?, _ question: RouteQuestion
  ) throws(UsageError) -> Command {
    guard let name = words.first else { throw UsageError("a command is missing") }
    if question != RouteQuestion(), name != "route" {
      throw UsageError("--authority, --path, --header, --method and --listener belong to 'route'")
    }
    let isStats = name == "stats"
    let isGet = name == "get"
    let isCheck = name == "check"
    guard words.count <= (isStats || isGet || isCheck ? 2 : 1) else {
      throw UsageError("too many words behind '\(name.description)'")
    }
    if json, isCheck { throw UsageError("'check' has no --json") }
    if file != nil, name != "check" { throw UsageError("--config belongs to 'check'") }
    if name == "status" { return .status }
    if name == "xds" { return .resources }
    if name == "failures" { return .failures }
    if name == "route" { return .route(try question.checked()) }
    if name == "memory" { return .get("/memory") }
    if isCheck {
      return .check(file ?? (words.count == 2 ? words[1] : defaultFile))
    }
    if isStats {
      let format: ByteString = json ? "/stats?format=json" : "/stats?format=text"
      guard words.count == 2 else { return .get(format) }
      return .get(format + "&filter=" + percentEncoded(words[1]))
    }
    if isGet {
      guard words.count == 2, words[1].hasPrefix("/") else {
        throw UsageError("get needs a path that begins with /")
      }
      for byte in words[1].bytes where byte <= 0x20 || byte == 0x7F {
        throw UsageError("a path has no spaces or control characters: write %20")
      }
      return .get(words[1])
    }
    throw UsageError("unknown command '\(name.description)'")
  }

  /// RFC 3986 §2.3: all but the unreserved characters.
  static func percentEncoded(_ text: ByteString) -> ByteString {
    var bytes: [UInt8] = []
    for byte in text.bytes {
      switch byte {
      case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, UInt8(ascii: "-"), UInt8(ascii: "."),
        UInt8(ascii: "_"), UInt8(ascii: "~"):
        bytes.append(byte)
      default:
        bytes.append(UInt8(ascii: "%"))
        bytes.append(hexadecimalDigit(byte >> 4))
        bytes.append(hexadecimalDigit(byte & 15))
      }
    }
    return ByteString(bytes)
  }

  static let help = """
    Usage: spokectl [--socket PATH] [--json] status
           spokectl [--socket PATH] [--json] stats [FILTER]
           spokectl [--socket PATH] [--json] xds
           spokectl [--socket PATH] [--json] failures
           spokectl [--socket PATH] [--json] route --authority NAME --path PATH [--method NAME]
                    [--header NAME=VALUE]... [--listener NAME]
           spokectl [--socket PATH] memory
           spokectl [--socket PATH] get PATH
           spokectl check [--config FILE]
           spokectl [--config FILE] [--json] spool ls | verify | repair
           spokectl [--config FILE] spool dump [STREAM | --dead-letters]
           spokectl [--socket PATH] spool drain
           spokectl [--config FILE] spool drain --export
           spokectl --version | --help

      status         what the daemon does: ports, broker, streams, spool
      stats          all statistics, or those in whose names FILTER is found (. .* ^ $ |)
      xds            every resource of the control plane: version, state, source, last error
      failures       the last requests that failed, and why they were not retried
      route          which listener, route, cluster and endpoints a request takes now, and why
                     others do not match
      memory         every pool of memory: its limit, its use, its highest use
      get            any page of the admin endpoint, such as /ready
      check          validate a configuration, on any machine: unlike 'spoked --check' it reads
                     none of the certificates, keys and other files that the configuration names
      spool ls       the segments on disk, and what each holds of which stream
      spool dump     the records on disk that wait, or those that were set aside, as JSON lines
      spool verify   read every frame; what is damaged is named, nothing is changed
      spool repair   without the daemon: as it starts, and every frame is read; what is lost
                     becomes a record of the stream for reports
      spool drain    the daemon sends what waits, at once; ends when nothing waits, or after 60 s
                     without progress. With --export, and without the daemon: every waiting record
                     goes to the standard output and leaves the spool

      --socket PATH  the daemon's admin socket (default /run/spoke/admin.sock)
      --json         JSON instead of text
      --config FILE  the configuration (default /etc/spoke/spoke.toml), then conf.d/*.toml
                     beside it

    Exit codes: 0 done, 1 the page is an error, or the spool is damaged or not drained, or the
    output could not be written, 64 usage, 69 the daemon does not answer, or has the spool, 78 the
    configuration is not valid.

    """
}

struct UsageError: Error {
  let description: String

  init(_ description: String) { self.description = description }
}

/// The exit codes, after sysexits.h.
enum ExitCode {
  static let success: Int32 = 0
  /// The daemon answered, with an error.
  static let refused: Int32 = 1
  static let usage: Int32 = 64
  static let unavailable: Int32 = 69
  static let configuration: Int32 = 78
}
