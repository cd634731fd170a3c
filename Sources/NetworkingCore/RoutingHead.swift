import HPACK
import Policy
import Primitives

/// What routing sees of a request. Its values share the request's storage.
public struct RoutingHead: RequestHead {
  public let method: ByteString
  public let authority: ByteString
  public let path: ByteString
  let headers: HeaderList

  public init(_ request: borrowing UpstreamRequest) {
    method = request.method
    authority = request.authority
    path = request.path
    headers = request.headers
  }

  /// The field's values as the core would send them.
  public func value(of name: ByteString) -> ByteString? {
    if name.bytes.first == UInt8(ascii: ":") {
      if name == ":path" { return path }
      if name == ":method" { return method }
      return name == ":authority" ? authority : nil
    }
    // HTTP/2 has no `host` field of its own; a policy that was written for HTTP/1.1 may name it.
    if name == "host" { return authority }
    return headers.joinedValue(of: name)
  }
}

extension HeaderList {
  /// All values of the field, joined with `,`; nil: absent.
  func joinedValue(of name: ByteString) -> ByteString? {
    var joined: ByteString?
    for field in fields where equal(bytes.span.extracting(field.name), name.bytes.span) {
      let value = bytes.span.extracting(field.value)
      if joined == nil {
        joined = ByteString(copying: value)
      } else {
        joined?.bytes.append(UInt8(ascii: ","))
        joined?.bytes.append(contentsOf: value)
      }
    }
    return joined
  }

  /// The fields of `other`, changed in the order of the mutations, at the end of this list.
  mutating func append(_ other: HeaderList, mutations: [HeaderMutation]) {
    var fields: [(name: ByteString, value: ByteString, indexing: Indexing)] = []
    for index in 0..<other.count {
      fields.append((other.name(index), other.value(index), other.fields[index].indexing))
    }
    for mutation in mutations {
      switch mutation {
      case .remove(let name):
        fields.removeEach { $0.name == name }
      case .add(let name, let value, let action):
        let isThere = fields.contains { $0.name == name }
        switch action {
        case .appendIfExistsOrAdd: break
        case .addIfAbsent: if isThere { continue }
        case .overwriteIfExists where !isThere: continue
        case .overwriteIfExists, .overwriteIfExistsOrAdd: fields.removeEach { $0.name == name }
        }
        fields.append((name, value, .yes))
      }
    }
    for field in fields { append(field.name, field.value, indexing: field.indexing) }
  }
}
