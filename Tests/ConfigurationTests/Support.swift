import Configuration
import Primitives
import Testing

/// What the loader makes of one file called `spoke.toml`.
func load(_ text: String) -> ConfigurationLoader.Outcome {
  ConfigurationLoader.load(files: [(name: "spoke.toml", bytes: Array(text.utf8))])
}

func load(files: [(String, String)]) -> ConfigurationLoader.Outcome {
  ConfigurationLoader.load(
    files: files.map { (name: ByteString($0.0), bytes: Array($0.1.utf8)) })
}

/// The diagnostics without the file's name; none for a valid file.
func problems(_ text: String) -> [String] {
  switch load(text) {
  case .valid: return []
  case .invalid(let errors): return errors.map { String($0.description.dropFirst(11)) }
  }
}

func warnings(_ text: String) -> [String] {
  guard case .valid(_, let warnings) = load(text) else { return ["invalid"] }
  return warnings.map { String($0.description.dropFirst(11)) }
}

func configuration(_ text: String) throws -> Configuration {
  let outcome = load(text)
  guard case .valid(let configuration, _) = outcome else {
    Issue.record("\(problems(text))")
    throw NotValid()
  }
  return configuration
}

struct NotValid: Error {}

/// The shortest file with a stream: 7 lines, so that what follows begins on line 8.
let minimal = """
  [node]
  id = "n"

  [[stream]]
  name = "s"
  target = "https://h.example"
  path = "/"

  """

/// `minimal` with more keys in its stream, from line 8.
func stream(_ keys: String) -> String { minimal + keys + "\n" }

/// `minimal` with a serial port of these keys beside the required ones; they begin on line 13.
func serial(_ keys: String, framing: String = "framing = \"nmea\"") -> String {
  minimal + """
    [[serial]]
    name = "p"
    device = "/dev/ttyS0"
    baud = 9600
    stream = "s"

    """ + keys + "\n" + framing + "\n"
}
