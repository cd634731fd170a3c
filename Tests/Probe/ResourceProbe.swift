import Policy
import Primitives
import XDS

/// `probe resource TYPE`: decodes each line of hexadecimal digits as a resource of the type, and prints
/// what came of it as one line of JSON; `{"rejected": TEXT}` when it is refused.
enum ResourceProbe {
  static func run(_ arguments: [ByteString], _ input: ProbeInput) {
    guard let type = arguments.first else { input.fail("resource: no type") }
    for line in input.readLines() {
      let bytes = Hex.decode(line.bytes)
      var json = JSONWriter()
      json.beginObject()
      do throws(ResourceRejection) {
        try describe(type, bytes, &json, input)
      } catch {
        json.key("rejected")
        json.string(error.text)
      }
      json.endObject()
      print(ByteString(json.bytes).description)
    }
  }

  private static func describe(
    _ type: ByteString, _ bytes: [UInt8], _ json: inout JSONWriter, _ input: ProbeInput
  ) throws(ResourceRejection) {
    if type == "cluster" {
      ClusterProbe.describe(try ClusterResource.decode(bytes.span), &json)
    } else if type == "endpoints" {
      let resource = try AssignmentResource.decode(bytes.span)
      json.text("name", resource.name)
      json.integer("staleAfter", resource.staleAfter.milliseconds)
      ClusterProbe.describe(resource.assignment, &json)
    } else if type == "secret" {
      ClusterProbe.describe(try SecretResource.decode(bytes.span), &json)
    } else {
      input.fail("resource: unknown type " + type.description)
    }
  }
}

extension JSONWriter {
  mutating func text(_ key: StaticString, _ value: ByteString) {
    self.key(key)
    string(value)
  }

  mutating func integer(_ key: StaticString, _ value: Int64) {
    self.key(key)
    number(value)
  }

  mutating func integer(_ key: StaticString, _ value: UInt32?) {
    self.key(key)
    if let value { number(UInt64(value)) } else { null() }
  }

  mutating func flag(_ key: StaticString, _ value: Bool) {
    self.key(key)
    bool(value)
  }

  mutating func texts(_ key: StaticString, _ values: [ByteString]) {
    self.key(key)
    beginArray()
    for value in values { string(value) }
    endArray()
  }
}
