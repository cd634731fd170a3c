import Configuration
import Primitives
import Testing

@Suite("What may be a password or a key is in no message")
struct SecretTests {
  @Test(
    "user information of a URL is not shown, whatever else is wrong with it",
    arguments: [
      "mqtt://user:SECRETPW@h:1883", "mqtts://SECRETPW@h", "tcp://u:SECRETPW@h", "u:SECRETPW@h:1",
      "mqtt:/u:SECRETPW@h", "mqtt://u:SE@SECRETPW@h", "mqtt://u:a//SECRETPW@h",
      "u:a//SECRETPW@h", "https://user:SECRETPW@h:1", "https://u:SECRETPW/x@h:1",
      "xds:u:SECRETPW@h", "xds://u:SECRETPW@h", "xds:///u:SECRETPW@h", "u:SECRETPW@127.0.0.1:1",
      "http://u:SECRETPW@127.0.0.1:1", "a/b//u:SECRETPW@h",
    ])
  func userInformation(_ url: String) {
    let files = [
      minimal + "[mqtt]\nbroker='\(url)'\n", minimal.replacing("https://h.example", with: url),
      minimal + "[xds]\nservers=['\(url)']\n", minimal + "[admin]\nlisten='\(url)'\n",
      stream("authority='\(url)'"),
    ]
    for file in files {
      let found = problems(file)
      #expect(!found.isEmpty, "\(file)")
      #expect(found.contains { $0.contains("***@") }, "\(found)")
      #expect(!found.contains { $0.contains("SECRETPW") }, "\(found)")
    }
  }

  @Test("a URL that stands where another value belongs is shown without its user information")
  func elsewhere() {
    for key in ["name", "ttl", "encoding"] {
      let text = minimal.replacing("name = \"s\"\n", with: "") + "\(key) = 'https://u:SECRETPW@h'\n"
      #expect(problems(text).contains { $0.contains("'https://***@h'") })
      #expect(!problems(text).contains { $0.contains("SECRETPW") })
    }
  }

  @Test(
    "a value without quotes is not shown, not even in part",
    arguments: [
      "user:SECRETPW@h", "12:SECRETPW@h", "2024-01-01SECRETPW@h", "SECRETPW", "0SECRETPW",
      "+SECRETPW", "2024-01-01TSECRETPW", "0x_SECRETPW", "1__SECRETPW",
    ])
  func unquoted(_ value: String) {
    for key in ["broker", "password"] {
      let found = problems(minimal + "[mqtt]\n\(key) = \(value)\n")
      #expect(found.contains { $0.hasPrefix("9:\(key.count + 4): this ") }, "\(found)")
      #expect(!found.contains { $0.contains("SECRETPW") }, "\(found)")
    }
  }

  @Test("what has no user information is shown as it stands")
  func shown() {
    #expect(
      problems(stream("ttl = 'a@b'")).first?.hasSuffix("found 'a@b'") == true)
    #expect(
      problems(minimal + "[mqtt]\nbroker='tcp://h:1'\n") == [
        "9:8: 'broker' in [mqtt] must be mqtt://HOST:PORT or mqtts://HOST:PORT, found 'tcp://h:1'"
      ])
    #expect(
      problems(minimal + "[mqtt]\nbroker='mqtt://u:p@h:1'\n") == [
        "9:8: 'broker' in [mqtt] is 'mqtt://***@h:1', which has a user name, which is not sent"
      ])
  }

  @Test("the text of a key where its file's name belongs is refused before it can be shown")
  func keyText() {
    let text = "[tls.t]\ncertificate='/c'\nkey='''-----BEGIN PRIVATE KEY-----\nSECRET\n'''\n"
    #expect(
      problems(minimal + text) == ["10:5: 'key' in [tls.t] must be a file name of 1 to 4095 bytes"])
  }
}

@Suite("What is found out later about a key has its place")
struct PlaceTests {
  private static func place(_ key: [ByteString], _ files: (String, String)...) -> String {
    ConfigurationLoader.place(
      of: key, in: files.map { (name: ByteString($0.0), bytes: Array($0.1.utf8)) })
  }

  @Test("the value of a key, or the table that lacks it")
  func places() {
    let text = "[tls.a]\nca = '/x'\n[tls]\nb = { key = '/k' }\n"
    #expect(Self.place(["tls", "a", "ca"], ("f", text)) == "f:2:6: ")
    #expect(Self.place(["tls", "a", "key"], ("f", text)) == "f:1:1: ")
    #expect(Self.place(["tls", "b", "key"], ("f", text)) == "f:4:13: ")
    #expect(Self.place(["admin", "socket"], ("f", text)) == "")
  }

  @Test("of a key set twice, where it holds")
  func merged() {
    #expect(
      Self.place(["log", "level"], ("f", "log.level='info'"), ("g", "\n[log]\nlevel='x'"))
        == "g:3:7: ")
  }
}
