import Configuration
import Primitives

/// `/logging`: the level that is in force. `POST /logging?level=debug` sets another one, until the
/// configuration is read again or the daemon starts anew.
extension Gateway where Storage: ~Copyable {
  mutating func loggingPage(_ request: AdminRequest) -> AdminPage {
    if let name = request.value(of: "level") {
      guard request.method == .post else {
        return AdminPage(status: 405, line: "POST /logging?level=\(name.description) sets it")
      }
      guard let level = LogLevel.all.first(where: { $0.name == name }) else {
        return AdminPage(
          status: 400, line: "usage: /logging?level=(error|warning|info|debug)")
      }
      logLevel = level
    }
    var json = JSONWriter()
    json.beginObject()
    json.member("level", logLevel.name)
    json.key("levels")
    json.beginArray()
    for level in LogLevel.all { json.string(level.name) }
    json.endArray()
    json.endObject()
    return AdminPage(contentType: .json, body: json.bytes)
  }
}

extension LogLevel {
  static var all: [LogLevel] { [.error, .warning, .info, .debug] }

  /// As the configuration has it.
  var name: ByteString {
    switch self {
    case .error: "error"
    case .warning: "warning"
    case .info: "info"
    case .debug: "debug"
    }
  }
}
