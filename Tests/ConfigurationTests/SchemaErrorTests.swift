import Configuration
import Primitives
import Testing

/// A file and the one message that it must give, with its place.
struct Wrong: Sendable, CustomTestStringConvertible {
  var text: String
  var message: String
  init(_ text: String, _ message: String) {
    self.text = text
    self.message = message
  }
  var testDescription: String { message }
}

@Suite("What is wrong is named, with its place")
struct SchemaErrorTests {
  @Test(
    "unknown keys name the nearest known one",
    arguments: [
      Wrong(
        serial("bauds = 1"), "13:1: unknown key 'bauds' in [[serial]], did you mean 'baud'?"),
      Wrong(minimal + "[nodes]", "8:2: unknown key 'nodes', did you mean 'node'?"),
      Wrong(
        minimal + "[spool]\ncommit = { byte = '1KiB' }",
        "9:12: unknown key 'byte' in [spool] commit, did you mean 'bytes'?"),
      Wrong(stream("contenttype = 'a/b'"), unknownInStream("contenttype", "content_type")),
      Wrong(stream("PATH = '/'"), unknownInStream("PATH", "path")),
      Wrong(stream("tagret = '/'"), unknownInStream("tagret", "target")),
      Wrong(stream("batch.record = 1"), "8:7: " + unknown("record", "[[stream]] batch", "records")),
      Wrong(minimal + "[log]\nlvl = 1", "9:1: " + unknown("lvl", "[log]", "level")),
      Wrong(
        minimal + "[admin]\nlisten_on = 1", "9:1: " + unknown("listen_on", "[admin]", "listen")),
      Wrong(
        minimal + "[reports]\nstream='s'\nname=1", "10:1: " + unknown("name", "[reports]", "stream")
      ),
      Wrong(minimal + "[memory]\nbudged=1", "9:1: " + unknown("budged", "[memory]", "budget")),
    ])
  func unknownKeys(_ wrong: Wrong) {
    #expect(problems(wrong.text) == [wrong.message])
  }

  @Test(
    "wrong types say what was expected and what was found",
    arguments: [
      Wrong("node = 1", "1:8: 'node' must be a table, found an integer"),
      Wrong(
        "stream = 1\nnode.id = 'n'",
        "1:10: 'stream' must be an array of tables, [[stream]], found an integer"),
      Wrong(
        "[stream]\n[node]\nid='n'",
        "1:1: 'stream' must be an array of tables, [[stream]], found a table"),
      Wrong("node.id = 7", "1:11: 'id' in [node] must be a string, found an integer"),
      Wrong(
        "node = {id = 'n', locality = 'eu'}",
        "1:30: 'locality' in [node] must be a table, found a string"),
      Wrong(
        "node = {id = 'n', metadata.a = true}",
        "1:32: 'a' in [node] metadata must be a string, found a boolean"),
      Wrong(
        stream("in_flight = 1.0"),
        "8:13: 'in_flight' in [[stream]] must be an integer, found a float"),
      Wrong(
        stream("in_flight = '1'"),
        "8:13: 'in_flight' in [[stream]] must be an integer, found a string"),
      Wrong(
        stream("ttl = 15"),
        "8:7: 'ttl' in [[stream]] must be a duration such as \"250ms\", \"15s\" or \"24h\", found an integer"
      ),
      Wrong(
        stream("ttl = '15 s'"),
        "8:7: 'ttl' in [[stream]] must be a duration such as \"250ms\", \"15s\" or \"24h\", found '15 s'"
      ),
      Wrong(
        stream("ttl = 07:00:00"),
        "8:7: 'ttl' in [[stream]] must be a duration such as \"250ms\", \"15s\" or \"24h\", found a date or time"
      ),
      Wrong(
        minimal + "[spool]\nsize = '1MB'",
        "9:8: 'size' in [spool] must be a size such as \"512B\", \"64KiB\" or \"8MiB\", found '1MB'"
      ),
      Wrong(
        minimal + "[spool]\nsize = 1048576",
        "9:8: 'size' in [spool] must be a size such as \"512B\", \"64KiB\" or \"8MiB\", found an integer"
      ),
      Wrong(
        minimal + "[admin]\nallow_remote = 'yes'",
        "9:16: 'allow_remote' in [admin] must be true or false, found a string"),
      Wrong(
        serial("", framing: "framing = ['nmea']"),
        "14:11: 'framing' in [[serial]] must be a string or a table, found an array"),
      Wrong(minimal + "[tls]\nca = '/x'", "9:1: 'ca' in [tls] must be a table [tls.NAME]"),
    ])
  func wrongTypes(_ wrong: Wrong) {
    #expect(problems(wrong.text) == [wrong.message])
  }

  @Test(
    "ranges are in the message",
    arguments: [
      Wrong(
        serial("data_bits = 9"), "13:13: 'data_bits' in [[serial]] is 9, but must be from 5 to 8"),
      Wrong(
        serial("stop_bits = 0"), "13:13: 'stop_bits' in [[serial]] is 0, but must be from 1 to 2"),
      Wrong(
        stream("in_flight = 0"), "8:13: 'in_flight' in [[stream]] is 0, but must be from 1 to 32"),
      Wrong(
        stream("ttl = '3651d'"), "8:7: 'ttl' in [[stream]] is 3651d, but must be from 0s to 3650d"),
      Wrong(
        minimal + "[memory]\nbudget = '1MiB'",
        "9:10: 'budget' in [memory] is 1MiB, but must be from 2MiB to 1GiB"),
      Wrong(
        minimal + "[spool]\nsegment = '32KiB'",
        "9:11: 'segment' in [spool] is 32KiB, but must be from 64KiB to 4MiB"),
      Wrong(
        minimal + "[spool]\nsize = '262143B'",
        "9:8: 'size' in [spool] is 262143B, but must be from 256KiB to 1TiB"),
      Wrong(
        minimal + "[spool]\nsize = '1MiB'\nsegment='512KiB'",
        "9:8: 'size' in [spool] is 1MiB, but must be at least four segments of 512KiB"),
      Wrong(
        minimal + "[spool]\nthin = true\nsize = '1MiB'",
        "10:8: 'size' in [spool] is 1MiB, but must be at least eight segments of 256KiB with 'thin'"
      ),
      Wrong(
        minimal + "[spool]\nthin = 'yes'",
        "9:8: 'thin' in [spool] must be true or false, found a string"),
      Wrong(
        minimal + "[spool]\ncommit.interval = '10ms'",
        "9:19: 'sync_interval' in [spool] commit is 50ms, but must be at most 'interval', which is 10ms"
      ),
      Wrong(
        minimal + "[spool]\ncommit = {interval = '1s', sync_interval = '2s'}",
        "9:44: 'sync_interval' in [spool] commit is 2s, but must be at most 'interval', which is 1s"
      ),
      Wrong(
        minimal + "[spool]\ncommit.bytes = '512KiB'",
        "9:16: 'bytes' in [spool] commit is 512KiB, but must be at most one segment of 256KiB"),
      Wrong(
        minimal + "[spool]\nsegment='1MiB'\ncommit.bytes = '1MiB'",
        "10:16: 'bytes' in [spool] commit is 1MiB, but must be at most an eighth of [memory] budget, which is 6MiB"
      ),
    ])
  func ranges(_ wrong: Wrong) {
    #expect(problems(wrong.text) == [wrong.message])
  }

  @Test(
    "missing keys are named at the table's place",
    arguments: [
      Wrong("", "1:1: missing key 'id' in [node]: there is no table [node]"),
      Wrong("\n[node]\ncluster='c'", "2:1: missing key 'id' in [node]"),
      Wrong(
        "node.id='n'\n\n [[stream]]\nname='s'\npath='/'", "3:2: missing key 'target' in [[stream]]"),
      Wrong(
        "node.id='n'\n[[stream]]\ntarget='http://h'\npath='/'",
        "2:1: missing key 'name' in [[stream]]"),
      Wrong(
        "node.id='n'\n[[stream]]\nname='s'\ntarget='http://h'",
        "2:1: missing key 'path' in [[stream]]"),
      Wrong(serial("", framing: ""), "8:1: missing key 'framing' in [[serial]]"),
      Wrong(serial("", framing: "framing = {}"), "14:11: missing key 'type' in [[serial]] framing"),
      Wrong("node.id='n'\n[mqtt]", "2:1: missing key 'broker' in [mqtt]"),
      Wrong(
        minimal + "[tls.a]\nkey='/k'", "8:1: missing key 'certificate' in [tls.a], as it has 'key'"),
      Wrong(
        minimal + "[tls.a]\ncertificate='/c'",
        "8:1: missing key 'key' in [tls.a], as it has 'certificate'"),
      Wrong(minimal + "[reports]", "8:1: missing key 'stream' in [reports]"),
    ])
  func missing(_ wrong: Wrong) {
    #expect(problems(wrong.text) == [wrong.message])
  }

  @Test("all required keys of an empty table are named at once")
  func everyMissingKey() {
    #expect(
      problems("node.id='n'\n[[serial]]") == [
        "2:1: missing key 'name' in [[serial]]", "2:1: missing key 'device' in [[serial]]",
        "2:1: missing key 'baud' in [[serial]]", "2:1: missing key 'framing' in [[serial]]",
        "2:1: missing key 'stream' in [[serial]]",
      ])
  }

  @Test("errors of all tables are reported in the order of the file")
  func order() {
    let text = """
      [log]
      level = "loud"
      [node]
      id = "a b"
      nid = 1
      [[stream]]
      name = "s"
      target = "ftp://h"
      path = "x"
      """
    #expect(
      problems(text) == [
        "2:9: 'level' in [log] must be 'error', 'warning', 'info' or 'debug', found 'loud'",
        "4:6: 'id' in [node] is 'a b', but must be 1 to 64 characters of A-Z a-z 0-9 . _ -",
        "5:1: unknown key 'nid' in [node], did you mean 'id'?",
        "8:10: 'target' in [[stream]] must be https://HOST:PORT, http://HOST:PORT or "
          + "xds:///NAME, found 'ftp://h'",
        "9:8: 'path' in [[stream]] must begin with '/' and have only visible ASCII characters "
          + "without '#', found 'x'",
      ])
  }
}

private func unknown(_ key: String, _ table: String, _ nearest: String) -> String {
  "unknown key '\(key)' in \(table), did you mean '\(nearest)'?"
}

private func unknownInStream(_ key: String, _ nearest: String) -> String {
  "8:1: " + unknown(key, "[[stream]]", nearest)
}
