import Configuration
import Primitives
import Testing

@Suite("URLs, headers, filters, durations and sizes")
struct TextFormTests {
  private func target(_ url: String) throws -> TargetConfiguration {
    try configuration(minimal.replacing("https://h.example", with: url)).streams[0].target
  }

  @Test("targets are a scheme, a host and a port")
  func targets() throws {
    let cases: [(String, Bool, ByteString, UInt16)] = [
      ("https://h", true, "h", 443), ("http://h", false, "h", 80),
      ("http://h:8080", false, "h", 8080), ("https://H.Example:1", true, "h.example", 1),
      ("https://10.0.0.1:65535", true, "10.0.0.1", 65535),
      ("http://[2001:db8::1]", false, "2001:db8::1", 80),
      ("https://[::ffff:10.0.0.1]:443", true, "::ffff:10.0.0.1", 443),
      ("http://my_host-1.local", false, "my_host-1.local", 80),
    ]
    for (url, isTLS, host, port) in cases {
      #expect(
        try target(url) == .host(HostConfiguration(isTLS: isTLS, host: host, port: port)))
    }
  }

  @Test(
    "wrong targets say what is wrong with them",
    arguments: [
      ("https://", "no valid host name"), ("https://h:0", "no valid port"),
      ("https://h:65536", "no valid port"), ("https://h:", "no valid port"),
      ("https://h:x", "no valid port"), ("https://h/v1", "the path stands in 'path'"),
      ("https://h/", "the path stands in 'path'"), ("https://h?x", "behind the host"),
      ("https://u:p@h", "user name"), ("https://[::1", "no ']'"), ("https://[1:2]", "no IPv6"),
      ("https://[::1]x", "no valid port"), ("https://::1", "several colons"),
      ("https://256.0.0.1", "no valid host name"), ("https://1.2.3", "no valid host name"),
      ("https://-h", "no valid host name"), ("https://a..b", "no valid host name"),
      ("https://h h", "no valid host name"), ("https://[1::2::3]", "no IPv6"),
      ("https://[12345::]", "no IPv6"), ("https://[1:2:3:4:5:6:7:8:9]", "no IPv6"),
      ("https://[1:2:3:4:5:6:7:8::]", "no IPv6"), ("https://[:1]", "no IPv6"),
      ("ftp://h", "must be https://HOST:PORT, http://HOST:PORT or xds:///NAME"),
      ("h", "must be https://"),
    ])
  func wrongTargets(_ url: String, _ problem: String) {
    let found = problems(minimal.replacing("https://h.example", with: url))
    #expect(found.count == 1)
    #expect(found[0].hasPrefix("6:10: 'target' in [[stream]] "))
    #expect(found[0].contains(problem))
  }

  @Test("brokers are mqtt or mqtts")
  func brokers() {
    #expect(problems("node.id='n'\nmqtt.broker='mqtt://h:1'") == [])
    #expect(
      problems("node.id='n'\nmqtt.broker='tcp://h:1'") == [
        "2:13: 'broker' in [mqtt] must be mqtt://HOST:PORT or mqtts://HOST:PORT, found 'tcp://h:1'"
      ])
    #expect(
      problems("node.id='n'\nmqtt.broker='mqtt://h:99999'") == [
        "2:13: 'broker' in [mqtt] is 'mqtt://h:99999', which has no valid port (1 to 65535)"
      ])
  }

  private func mqtt(_ keys: String) -> String {
    minimal + "[mqtt]\nbroker = 'mqtt://h'\n" + keys + "\n"
  }

  @Test("MQTT credentials, client id and quality of service")
  func mqttKeys() throws {
    let subscribe = "[[mqtt.subscribe]]\nfilter='a'\nstream='s'\n"
    let read = try configuration(
      mqtt("username='u'\npassword_file='/p'\nclient_id='c 1'".replacing("c 1", with: "c1"))
        + subscribe + "qos=0"
    ).mqtt
    #expect(read?.username == "u" && read?.passwordFile == "/p" && read?.clientID == "c1")
    #expect(read?.subscriptions[0].qos == 0)
    let plain = try configuration(mqtt(subscribe)).mqtt
    #expect(plain?.clientID == "spoke-n" && plain?.subscriptions[0].qos == 1)
    #expect(
      problems(mqtt("password_file='/p'")) == [
        "10:1: 'password_file' in [mqtt] needs 'username'"
      ])
    #expect(
      problems(mqtt(subscribe + "qos = 2")) == [
        "13:7: 'qos' in [[mqtt.subscribe]] cannot be 2: libmosquitto acknowledges a QoS 2 message "
          + "before it is safely stored; use 1"
      ])
    #expect(
      problems(mqtt(subscribe + "qos = 3")) == [
        "13:7: 'qos' in [[mqtt.subscribe]] is 3, but must be from 0 to 1"
      ])
  }

  @Test(
    "MQTT 3.1.1 §4.7: filters",
    arguments: [
      ("a", nil), ("a/b", nil), ("/", nil), ("//", nil), ("+", nil), ("#", nil), ("+/+/#", nil),
      ("/+", nil), ("a/+/b", nil), ("$SYS/#", nil), ("é", nil),
      ("", "it must have 1 to 65535 bytes"), ("a+", "'+' must be alone between two '/'"),
      ("a/+b/c", "'+' must be alone between two '/'"), ("#/a", "'#' must be the last level"),
      ("a/#/b", "'#' must be the last level"), ("a#", "'#' must be alone behind the last '/'"),
      ("a/##", "'#' must be alone behind the last '/'"), ("a\\u0000", "it must not contain U+0000"),
      ("$share/g/a", "shared subscriptions are not available in this version"),
    ] as [(String, String?)])
  func filters(_ filter: String, _ problem: String?) {
    let found = problems(mqtt("subscribe=[{filter=\"\(filter)\", stream='s'}]"))
    if let problem {
      #expect(found.count == 1)
      #expect(found[0].hasPrefix("10:20: 'filter' in [[mqtt.subscribe]] is '"))
      #expect(found[0].hasSuffix(": " + problem))
    } else {
      #expect(found == [])
    }
  }

  @Test(
    "RFC 9113 §8.2: header names and what may not be set",
    arguments: [
      ("X-Tenant", "must be in lower case: 'x-tenant'"), (":path", "is a pseudo-header"),
      ("connection", "belongs to a connection"), ("te", "belongs to a connection"),
      ("transfer-encoding", "belongs to a connection"), ("upgrade", "belongs to a connection"),
      ("keep-alive", "belongs to a connection"), ("proxy-connection", "belongs to a connection"),
      ("host", "is set with the key 'authority'"), ("ce-id", "is set for each record"),
      ("content-length", "is set for each record"),
      ("spoke-id", "is set for each call"), ("grpc-timeout", "is reserved by gRPC"),
      ("content-type", "is set with the key 'content_type'"), ("a b", "is not a header name"),
      ("", "is not a header name"), ("é", "is not a header name"),
    ])
  func headerNames(_ name: String, _ problem: String) {
    let found = problems(stream("headers = { \"\(name)\" = \"v\" }"))
    #expect(found.count == 1)
    #expect(found[0].hasPrefix("8:13: header '\(name)' in [[stream]] \(problem)"))
  }

  @Test("header values are visible ASCII with spaces only inside")
  func headerValues() throws {
    let read = try configuration(stream("headers = { a = 'x y;z=\"1\"', 'b.c_d!' = '~' }"))
    #expect(read.streams[0].headers.count == 2)
    for value in ["", " x", "x ", "é", "a\\tb", "a\\r\\nb: c", "a\\u0000"] {
      #expect(
        problems(stream("headers = { a = \"\(value)\" }")) == [
          "8:17: the value of header 'a' in [[stream]] must be 1 to 4096 visible ASCII characters"
        ])
    }
  }

  @Test("paths, content types and authorities are checked")
  func otherText() {
    for path in ["", "v1", "/a b", "/é", "/a#b"] {
      let found = problems(minimal.replacing("\"/\"", with: "\"\(path)\""))
      #expect(found.count == 1)
      #expect(found[0].hasPrefix("7:8: 'path' in [[stream]] must begin with '/'"))
    }
    for type in ["json", "a/", "/b", "a/b/c", "a b/c"] {
      let found = problems(stream("content_type = '\(type)'"))
      #expect(found.count == 1)
      #expect(found[0].hasPrefix("8:16: 'content_type' in [[stream]] must be a media type"))
    }
    #expect(problems(stream("content_type = 'text/plain; charset=utf-8'")) == [])
    #expect(problems(stream("authority = 'a.example:8443'")) == [])
    #expect(problems(stream("authority = 'a/b'")).count == 1)
    #expect(problems(stream("type = 'a b'")).count == 1)
  }

  @Test("durations are a whole number and a unit")
  func durations() throws {
    let cases: [(String, Int64)] = [
      ("0s", 0), ("250ms", 250_000_000), ("15s", 15_000_000_000), ("7us", 7_000),
      ("2m", 120_000_000_000), ("24h", 86_400_000_000_000), ("30d", 2_592_000_000_000_000),
    ]
    for (text, nanoseconds) in cases {
      #expect(
        try configuration(stream("ttl = '\(text)'")).streams[0].ttl
          == Interval(nanoseconds: nanoseconds))
    }
    for text in [
      "", "s", "1", "1.5s", "-1s", "+1s", "1S", "1 s", "1h30m", "99999999999999999999s",
      "9223372036854775807d",
    ] {
      let found = problems(stream("ttl = '\(text)'"))
      #expect(found.count == 1)
      #expect(found[0].contains("must be a duration such as"))
    }
  }

  @Test("sizes are a whole number and a unit")
  func sizes() throws {
    let cases: [(String, UInt64)] = [
      ("0B", 0), ("512B", 512), ("64KiB", 65_536), ("8MiB", 8_388_608), ("1GiB", 1_073_741_824),
      ("1TiB", 1_099_511_627_776),
    ]
    for (text, bytes) in cases {
      #expect(
        try configuration("node.id='n'\nspool.free_floor='\(text)'").spool.freeFloor == bytes)
    }
    for text in [
      "", "64", "64K", "64kib", "64KB", "1.5MiB", "-1B", "18446744073709551616B", "16777216TiB",
    ] {
      let found = problems("node.id='n'\nspool.free_floor='\(text)'")
      #expect(found.count == 1)
      #expect(found[0].contains("must be a size such as"))
    }
  }
}
