import Primitives
import Testing

@testable import HPACK

@Suite("a header list")
struct HeaderListTests {
  @Test("fields are found by their whole name, in order")
  func lookup() {
    var list = HeaderList()
    list.append("x", "0")
    list.append(":status", "200")
    list.append(":status", "404", neverIndexed: true)
    #expect(list.count == 3)
    #expect(list.firstIndex(of: ":status") == 1)
    #expect(list.firstIndex(of: ":statu") == nil)
    #expect(list.firstIndex(of: "") == nil)
    #expect(list.value(of: ":status") == "200")
    #expect(list.value(of: "x") == "0")
    #expect(list.valueEquals(1, "200"))
    #expect(!list.valueEquals(1, "2000"))
    #expect(!list.fields[1].neverIndexed && list.fields[2].neverIndexed)
  }

  @Test("RFC 9113 §6.5.2: its size is names, values and 32 for every field")
  func size() {
    var list = HeaderList()
    list.append("abc", "de")
    list.append("", "")
    #expect(list.size == 5 + 64)
    list.removeAll()
    #expect(list.size == 0 && list.isEmpty)
  }

  @Test("the forms of the steady path say the same")
  func forms() {
    var list = HeaderList()
    let value = Array("/v1".utf8)
    list.append(name: ":path", value: value.span, indexing: .no)
    list.append(name: Array(":path".utf8).span, value: value.span, neverIndexed: true)
    #expect(list.testFields == [TestField(":path", "/v1", .no), TestField(":path", "/v1", .never)])
    let lengths = list.withField(1) { name, value in [name.count, value.count] }
    #expect(lengths == [5, 3])
  }

  @Test("a warm list keeps its storage")
  func warm() {
    var list = HeaderList()
    for _ in 0..<20 { list.append("name", "value") }
    let capacity = (list.bytes.capacity, list.fields.capacity)
    list.removeAll()
    for _ in 0..<20 { list.append("name", "value") }
    #expect(capacity == (list.bytes.capacity, list.fields.capacity))
  }
}
