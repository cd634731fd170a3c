import Configuration
import Primitives
import Testing

@Suite("[xds], and targets that a control plane decides on")
struct XDSConfigurationTests {
  /// `minimal` with a listener for its target; what follows begins on line 8.
  private static func listener(_ name: String = "h", _ keys: String = "") -> String {
    minimal.replacing("https://h.example", with: "xds:///" + name) + keys
  }
  private static let server = "servers = ['http://c']\n"

  @Test("every key of [xds] is read")
  func keys() throws {
    let text =
      Self.listener("a.b:443") + """
        [xds]
        servers = ["https://One.example", "http://[::1]:18000"]
        transport = "delta"
        tls = "t"
        cache = ""
        fetch_timeout = "0s"
        runtime = []
        resources = "/r"
        keep_deleted = true
        [tls.t]
        ca = "/ca"
        """
    let read = try configuration(text)
    var xds = XDSConfiguration()
    xds.servers = [
      HostConfiguration(isTLS: true, host: "one.example", port: 443, tls: 0),
      HostConfiguration(isTLS: false, host: "::1", port: 18000),
    ]
    xds.transport = .incremental
    xds.cache = ""
    xds.fetchTimeout = .zero
    xds.runtime = []
    xds.resources = "/r"
    xds.keepDeleted = true
    #expect(read.xds == xds)
    #expect(read.streams[0].target == .listener("a.b:443"))
    #expect(read.streams[0].authority == "a.b:443")
    #expect(
      warnings(text.replacing("[[stream]]", with: "[[stream]]\ntls = 't'")).contains {
        $0.hasSuffix(
          "'tls' in [[stream]] is not for an xds: target: the control plane decides on its TLS")
      })
  }

  @Test(
    "what is wrong with [xds] is said with its place",
    arguments: [
      ("[xds]", "8:1: [xds] needs 'servers' or 'resources'"),
      (
        "[xds]\nservers = []",
        "9:11: 'servers' in [xds] is empty; without servers it is left out"
      ),
      (
        "[xds]\nservers = ['c:443']",
        "9:12: 'servers' in [xds] must be https://HOST:PORT or http://HOST:PORT, found 'c:443'"
      ),
      (
        "[xds]\nservers = ['http://c/x']",
        "9:12: 'servers' in [xds] is 'http://c/x', which has something behind the host and port"
      ),
      (
        "[xds]\nservers = ['http://c', 'http://C:80']",
        "9:24: 'servers' in [xds] has 'http://C:80' twice"
      ),
      (
        "[xds]\n" + server + "runtime = ['a', 'b', 'a']",
        "10:22: 'runtime' in [xds] has 'a' twice"
      ),
      (
        "[xds]\nservers = 'http://c'",
        "9:11: 'servers' in [xds] must be an array of strings, found a string"
      ),
      (
        "[xds]\nservers = [1]",
        "9:12: 'servers' in [xds] must be an array of strings that are not empty, found an integer"
      ),
      (
        "[xds]\nserver = ['http://c']\nresources = '/r'",
        "9:1: unknown key 'server' in [xds], did you mean 'servers'?"
      ),
      (
        "[xds]\n" + server + "transport = 'dleta'",
        "10:13: 'transport' in [xds] must be 'sotw' or 'delta', found 'dleta', did you mean 'delta'?"
      ),
      (
        "[xds]\n" + server + "fetch_timeout = '2h'",
        "10:17: 'fetch_timeout' in [xds] is 2h, but must be from 0s to 1h"
      ),
      (
        "[xds]\n" + server + "tls = 't'\n[tls.t]",
        "10:1: 'tls' in [xds] needs a server that begins with https://"
      ),
      (
        "[xds]\nservers = ['https://c']\ntls = 'fleit'\n[tls.fleet]",
        "10:7: 'tls' in [xds]: there is no table [tls.NAME] named 'fleit', did you mean 'fleet'?"
      ),
    ])
  func wrong(_ text: String, _ message: String) {
    #expect(problems(Self.listener("h", text)) == [message])
  }

  @Test(
    "what is wrong with a listener's name is said with its place",
    arguments: [
      ("xds:h", "'target' in [[stream]] is 'xds:h', but must be xds:///NAME"),
      (
        "xds://a/h",
        "'target' in [[stream]] is 'xds://a/h', but must be xds:///NAME: "
          + "an authority is not available in this version"
      ),
      (
        "xds:///",
        "'target' in [[stream]] must be xds:/// and the listener's name, 1 to 1024 visible ASCII "
          + "characters, found 'xds:///'"
      ),
      (
        "xds:///a/b",
        "missing key 'authority' in [[stream]]: it is the listener's name unless it is set, and "
          + "'a/b' has something behind the host and port"
      ),
    ])
  func wrongName(_ target: String, _ message: String) {
    let text = minimal.replacing("https://h.example", with: target) + "[xds]\n" + Self.server
    #expect(problems(text) == ["6:10: " + message])
  }

  @Test("a listener needs [xds], and a name that no host has taken")
  func rules() throws {
    #expect(
      problems(Self.listener()) == [
        "6:10: 'target' in [[stream]] is 'xds:///h', which needs a table [xds] with 'servers' or "
          + "'resources'"
      ])
    let second = "[[stream]]\nname = 'other'\ntarget = 'http://h:80'\npath = '/'\n"
    for name in ["h_80", "h_80_2"] {
      #expect(
        problems(Self.listener(name, second + "[xds]\n" + Self.server)) == [
          "6:10: 'target' in [[stream]]: the name '\(name)' is that of another target, 'h'"
            + ""
        ])
    }
    let slash = Self.listener("a/b", "authority = 'c.example'\n[xds]\n" + Self.server)
    #expect(try configuration(slash).streams[0].authority == "c.example")
    #expect(try configuration("node.id = 'n'\n[xds]\nresources = '/r'").xds?.servers == [])
  }
}
