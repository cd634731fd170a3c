import Configuration
import Primitives
import Testing

@Suite("Names, references, forms of text")
struct SchemaRuleTests {
  @Test("a reference to a name that is not there suggests the nearest one")
  func references() {
    #expect(
      problems(minimal + "[reports]\nstream = \"t\"") == [
        "9:10: 'stream' in [reports]: there is no [[stream]] named 't', did you mean 's'?"
      ])
    #expect(
      problems(stream("tls = 'fleat'") + "[tls.fleet]\n") == [
        "8:7: 'tls' in [[stream]]: there is no table [tls.NAME] named 'fleat', did you mean 'fleet'?"
      ])
    #expect(
      problems("node.id='n'\n[mqtt]\nbroker='mqtt://h'\nsubscribe=[{filter='a', stream='x'}]") == [
        "4:32: 'stream' in [[mqtt.subscribe]]: there is no [[stream]] named 'x'"
      ])
  }

  @Test("two tables of one name, two ports of one device, two equal filters are refused")
  func duplicates() {
    let second = "[[stream]]\nname = \"s\"\ntarget = \"http://h\"\npath = \"/\"\n"
    #expect(
      problems(minimal + second) == [
        "9:8: a second [[stream]] is named 's'; the first is at spoke.toml:4"
      ])
    let port = "name = \"q\"\nbaud = 1\nframing = \"nmea\"\nstream = \"s\"\n"
    #expect(
      problems(serial("") + "[[serial]]\ndevice = \"/dev/ttyS0\"\n" + port) == [
        "16:10: a second [[serial]] opens '/dev/ttyS0'; the first is at spoke.toml:8"
      ])
    let name = "name = \"p\"\ndevice = \"/d\"\n" + port.dropFirst(11)
    #expect(
      problems(serial("") + "[[serial]]\n" + name) == [
        "16:8: a second [[serial]] is named 'p'; the first is at spoke.toml:8"
      ])
    let subscriptions = """
      [mqtt]
      broker = "mqtt://h"
      [[mqtt.subscribe]]
      filter = "a/#"
      stream = "s"
      [[mqtt.subscribe]]
      filter = "a/#"
      stream = "s"
      """
    #expect(
      problems(minimal + subscriptions) == [
        "14:10: a second [[mqtt.subscribe]] has the filter 'a/#'; the first is at spoke.toml:10"
      ])
  }

  @Test(
    "names have 1 to 64 characters that fit into a header value",
    arguments: ["", "a b", "é", "a/b", String(repeating: "n", count: 65), "a\\nb"])
  func wrongNames(_ name: String) {
    for text in ["node.id = \"\(name)\"", minimal.replacing("\"s\"", with: "\"\(name)\"")] {
      let found = problems(text)
      #expect(found.count == 1)
      #expect(found[0].hasSuffix("but must be 1 to 64 characters of A-Z a-z 0-9 . _ -"))
    }
  }

  @Test(
    "names of every allowed kind are taken",
    arguments: ["n", "A.b_c-9", String(repeating: "n", count: 64)])
  func rightNames(_ name: String) throws {
    #expect(try configuration("node.id = '\(name)'").node.id == ByteString(name))
  }

  @Test(
    "what has no function yet is refused by name",
    arguments: [
      Wrong(
        minimal + "[[downlink]]\nname = 'x'", "8:3: [[downlink]] is not available in this version"),
      Wrong(
        serial("suppress_echo = true"),
        "13:1: 'suppress_echo' in [[serial]] is not available in this version"),
    ])
  func notAvailable(_ wrong: Wrong) {
    #expect(problems(wrong.text) == [wrong.message])
  }

  @Test("every encoding is taken; a gRPC call needs a method for its path")
  func encodings() throws {
    let words: [(String, Encoding)] = [
      ("cloudevents", .cloudEvents), ("cloudevents-batch", .cloudEventsBatch),
      ("protobuf", .protobuf),
    ]
    for (word, encoding) in words {
      #expect(try configuration(stream("encoding = '\(word)'")).streams[0].encoding == encoding)
    }
    #expect(try configuration(minimal).streams[0].encoding == .cloudEvents)
    let call = stream("encoding = 'grpc'")
    let method = call.replacing("path = \"/\"", with: "path = \"/a.b.C/Put\"")
    #expect(try configuration(method).streams[0].encoding == .grpc)
    for path in ["/", "/a", "/a/", "//a", "/a/b/c", "/a/b/"] {
      let text = call.replacing("path = \"/\"", with: "path = \"\(path)\"")
      #expect(
        problems(text) == [
          "7:8: 'path' in [[stream]] with encoding 'grpc' must be /package.Service/Method, "
            + "found '\(path)'"
        ])
    }
  }

  @Test("serial lines have their termios settings, with defaults")
  func serialSettings() throws {
    let plain = try configuration(serial("")).serial[0]
    #expect(
      plain.dataBits == 8 && plain.parity == .none && plain.stopBits == 1 && plain.flow == .none)
    let set = try configuration(
      serial("data_bits = 7\nparity = 'even'\nstop_bits = 2\nflow = 'rts-cts'")
    ).serial[0]
    #expect(set.dataBits == 7 && set.parity == .even && set.stopBits == 2 && set.flow == .rtsCts)
    #expect(
      problems(serial("parity = 'evn'")) == [
        "13:10: 'parity' in [[serial]] must be 'none', 'even', 'odd', 'mark' or 'space', "
          + "found 'evn', did you mean 'even'?"
      ])
  }

  @Test("TLS belongs to https and mqtts; without a table they use the system's roots")
  func security() throws {
    let table = "[tls.t]\nca = \"/ca\"\n"
    var host = HostConfiguration(isTLS: true, host: "h.example", port: 443)
    #expect(try configuration(minimal).streams[0].target == .host(host))
    host.tls = 0
    #expect(try configuration(stream("tls = 't'") + table).streams[0].target == .host(host))
    #expect(
      problems(stream("tls = 't'").replacing("https:", with: "http:") + table) == [
        "8:1: 'tls' in [[stream]] needs a target that begins with https://"
      ])
    let mqtt = try configuration("node.id='n'\nmqtt.broker='mqtts://[::1]'\n").mqtt
    #expect(mqtt?.isTLS == true && mqtt?.tls == nil && mqtt?.port == 8883 && mqtt?.host == "::1")
    #expect(
      problems("node.id='n'\nmqtt.broker='mqtt://h'\nmqtt.tls='t'\n" + table) == [
        "3:6: 'tls' in [mqtt] needs a broker that begins with mqtts://"
      ])
  }

  @Test("the admin listener stays on the loopback unless it is told otherwise")
  func admin() throws {
    for address in ["127.0.0.1:1", "127.1.2.3:9901", "[::1]:9901", "localhost:9901"] {
      #expect(problems(minimal + "[admin]\nlisten = '\(address)'") == [])
    }
    #expect(
      problems(minimal + "[admin]\nlisten = '0.0.0.0:9901'") == [
        "9:10: 'listen' in [admin] is '0.0.0.0:9901', which is not a loopback address; "
          + "'allow_remote = true' permits it"
      ])
    let remote = try configuration(minimal + "[admin]\nlisten='[::]:1'\nallow_remote=true")
    #expect(remote.admin.listen == ListenConfiguration(host: "::", port: 1))
    #expect(
      problems(minimal + "[admin]\nlisten='box:1'\nallow_remote=true") == [
        "9:8: 'listen' in [admin] is 'box:1', but must be an address, not a name"
      ])
    #expect(
      problems(minimal + "[admin]\nlisten='127.0.0.1'") == [
        "9:8: 'listen' in [admin] is '127.0.0.1', which has no port"
      ])
    #expect(
      problems(minimal + "[admin]\nsocket='/\(String(repeating: "x", count: 107))'") == [
        "9:8: 'socket' in [admin] must be a file name of 1 to 107 bytes"
      ])
  }

  @Test("more tables than the limit are refused once")
  func limits() {
    func tables(_ count: Int, _ text: (Int) -> String) -> String {
      minimal + "[memory]\nbudget='64MiB'\n" + (0..<count).map(text).joined()
    }
    let stream = { (index: Int) in "[[stream]]\nname='t\(index)'\ntarget='http://h'\npath='/'\n" }
    #expect(problems(tables(31, stream)) == [])
    #expect(problems(tables(40, stream)) == ["134:1: more than 32 [[stream]] tables"])
    let port = { (index: Int) in
      "[[serial]]\nname='t\(index)'\ndevice='/d\(index)'\nbaud=1\nframing='nmea'\nstream='s'\n"
    }
    #expect(problems(tables(16, port)) == [])
    #expect(problems(tables(17, port)) == ["106:1: more than 16 [[serial]] tables"])
    #expect(problems(tables(16) { "[tls.t\($0)]\n" }) == [])
    #expect(problems(tables(17) { "[tls.t\($0)]\n" }) == ["26:1: more than 16 [tls.NAME] tables"])
    let mqtt = minimal + "[mqtt]\nbroker='mqtt://h'\n"
    let filters = { (count: Int) in
      (0..<count).map { "[[mqtt.subscribe]]\nfilter='f\($0)'\nstream='s'\n" }.joined()
    }
    #expect(problems(mqtt + filters(64)) == [])
    #expect(problems(mqtt + filters(65)) == ["202:1: more than 64 [[mqtt.subscribe]] tables"])
    let headers = (0..<33).map { "h\($0) = 'v'\n" }.joined()
    #expect(
      problems(minimal + "[stream.headers]\n" + headers) == [
        "41:1: more than 32 keys in [[stream]] headers"
      ])
  }

  @Test("a stream without a source and a TLS table without a use are warnings")
  func unused() {
    #expect(
      warnings(minimal + "[tls.t]\n[mqtt]\nbroker='mqtt://h'\n") == [
        "4:1: no source feeds the stream 's'", "8:1: nothing uses [tls.t]",
        "9:1: [mqtt] has no [[mqtt.subscribe]]: nothing is received from the broker",
      ])
    #expect(warnings(serial("")) == [])
    #expect(warnings(minimal + "[reports]\nstream = 's'\n") == [])
  }
}
