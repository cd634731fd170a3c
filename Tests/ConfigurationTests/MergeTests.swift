import Configuration
import Primitives
import Testing

@Suite("conf.d extends the main file")
struct MergeTests {
  private func merged(_ files: (String, String)...) throws -> Configuration {
    let outcome = load(files: files)
    switch outcome {
    case .valid(let configuration, _): return configuration
    case .invalid(let errors):
      Issue.record("\(errors.map { $0.description })")
      throw NotValid()
    }
  }

  private func errors(_ files: (String, String)...) -> [String] {
    guard case .invalid(let errors) = load(files: files) else { return [] }
    return errors.map { $0.description }
  }

  @Test("a key set in two files has the later value; its neighbours stay")
  func keys() throws {
    let read = try merged(
      (
        "a",
        minimal + "[spool]\nsize='1MiB'\nsegment='64KiB'\ncommit={interval='5s', bytes='2KiB'}\n"
      ),
      ("b", "[spool]\nsize='2MiB'\ncommit.bytes='4KiB'\n"), ("c", "log.level='debug'"))
    #expect(read.spool.size == 2 << 20)
    #expect(read.spool.segment == 64 << 10)
    #expect(read.spool.commitBytes == 4096)
    #expect(read.spool.commitInterval == .seconds(5))
    #expect(read.log == .debug)
  }

  @Test("arrays of tables are appended, in the order of the files")
  func arrays() throws {
    let stream = { (name: String) in "[[stream]]\nname='\(name)'\ntarget='http://h'\npath='/'\n" }
    let read = try merged(
      ("a", minimal + "[mqtt]\nbroker='mqtt://h'\n[[mqtt.subscribe]]\nfilter='1'\nstream='t'\n"),
      ("b", stream("t") + "[[mqtt.subscribe]]\nfilter='2'\nstream='u'\n"),
      ("c", "mqtt.subscribe = [{filter='3', stream='s'}]\n" + stream("u")))
    #expect(read.streams.map { $0.name } == ["s", "t", "u"])
    #expect(read.mqtt?.subscriptions.map { $0.filter } == ["1", "2", "3"])
    #expect(read.mqtt?.subscriptions.map { $0.stream } == [1, 2, 0])
  }

  @Test("a value that the later file corrects is not an error")
  func corrected() throws {
    let read = try merged(
      ("a", "node.id='a b'\nlog.level=1"), ("b", "node.id='ab'\nlog={level='error'}"))
    #expect(read.node.id == "ab")
    #expect(read.log == .error)
  }

  @Test("errors name their own file, in the order of the files")
  func places() {
    #expect(
      errors(
        ("main.toml", minimal + "[log]\nlevel='x'"),
        ("conf.d/1.toml", "x = 1\n\n[[stream]]\nname='s'\ntarget='http://h'\npath='/'\n"),
        ("conf.d/2.toml", "[spool]\nsegment='1KiB'")) == [
          "main.toml:9:7: 'level' in [log] must be 'error', 'warning', 'info' or 'debug', found 'x'",
          "conf.d/1.toml:1:1: unknown key 'x', did you mean 'xds'?",
          "conf.d/1.toml:4:6: a second [[stream]] is named 's'; the first is at main.toml:4",
          "conf.d/2.toml:2:9: 'segment' in [spool] is 1KiB, but must be from 64KiB to 4MiB",
        ])
  }

  @Test("a syntax error in one file does not hide the other files' errors")
  func syntaxErrors() {
    #expect(
      errors(("a", "node.id = 'n'\nlog.level = 'x'"), ("b", "[spool\nsize = 1"), ("c", "a = ")) == [
        "a:2:13: 'level' in [log] must be 'error', 'warning', 'info' or 'debug', found 'x'",
        "b:1:7: expected ']' behind the table's name, found the end of the line",
        "c:1:1: unknown key 'a', did you mean 'tls'?",
        "c:1:5: expected a value, found the end of the file",
      ])
  }

  @Test("a table that meets a value takes its place, and is judged there")
  func kinds() {
    #expect(
      errors(("a", minimal + "[log]\nlevel='info'"), ("b", "log = 3")) == [
        "b:1:7: 'log' must be a table, found an integer"
      ])
  }

  @Test("more files than the limit are refused")
  func files() {
    let many = (0...64).map { ("f\($0)", $0 == 0 ? minimal : "") }
    guard case .invalid(let errors) = load(files: many) else {
      Issue.record("taken")
      return
    }
    #expect(errors.map { $0.description } == ["f64:1:1: more than 64 configuration files"])
  }
}
