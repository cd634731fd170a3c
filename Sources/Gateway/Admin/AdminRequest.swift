import Primitives

/// One request to the admin endpoint, decoded.
public struct AdminRequest: Sendable, Equatable {
  /// The methods that the endpoint knows; HEAD is answered like GET, without the body.
  public enum Method: Sendable {
    case get, head, post
  }

  /// One parameter of the query; `?usedonly` has an empty value.
  public struct Parameter: Sendable, Equatable {
    public var name: ByteString
    public var value: ByteString

    public init(name: ByteString, value: ByteString) {
      self.name = name
      self.value = value
    }
  }

  public var method: Method
  /// Begins with `/`; percent-decoded.
  public var path: ByteString
  public var query: [Parameter]

  public init(method: Method, path: ByteString, query: [Parameter] = []) {
    self.method = method
    self.path = path
    self.query = query
  }

  /// The value of the first parameter with this name; nil when there is none.
  public func value(of name: ByteString) -> ByteString? {
    for parameter in query where parameter.name == name { return parameter.value }
    return nil
  }
}

/// An answer to a request.
public struct AdminPage: Sendable, Equatable {
  /// The media types of the admin pages, as Envoy names them.
  public enum ContentType: Sendable {
    case text, json, prometheus

    var name: StaticString {
      switch self {
      case .text: "text/plain; charset=UTF-8"
      case .json: "application/json"
      case .prometheus: "text/plain; version=0.0.4; charset=utf-8"
      }
    }
  }

  public var status: UInt16
  public var contentType: ContentType
  public var body: [UInt8]

  public init(status: UInt16 = 200, contentType: ContentType = .text, body: [UInt8]) {
    self.status = status
    self.contentType = contentType
    self.body = body
  }

  /// A page of one line.
  public init(status: UInt16, line: String) {
    self.init(status: status, body: Array(line.utf8) + [0x0A])
  }
}
