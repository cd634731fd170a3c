import Primitives
import Testing

@testable import Policy

@Suite("Names that a certificate may have")
struct SubjectNameTests {
  static func policy(_ matchers: [SubjectNameMatcher], sni: ByteString = "") -> TLSPolicy {
    var policy = TLSPolicy()
    policy.subjectNames = matchers
    policy.serverName = sni
    return policy
  }

  static func exact(_ kind: SubjectName.Kind?, _ name: ByteString) -> SubjectNameMatcher {
    SubjectNameMatcher(kind: kind, text: StringMatcher(.exact(name)))
  }

  @Test(
    "item 112: an exact DNS name is compared without case, the certificate's first label may be `*`",
    arguments: [
      ("up.example", "up.example", true), ("UP.Example", "up.eXample", true),
      ("*.example", "up.example", true), ("*.example", "a.up.example", false),
      ("*.example", "example", false), ("*.example", ".example", false),
      ("u*.example", "up.example", false), ("*", "up", false), ("*.", "a.", false),
      ("up.example", "*.example", false), ("up.*", "up.example", false),
      ("*.example", "*.example", true),
    ])
  func wildcards(certificate: String, wanted: String, isRight: Bool) {
    let name = SubjectName(kind: .dns, value: ByteString(certificate))
    #expect(Self.exact(.dns, ByteString(wanted)).matches(name) == isRight)
  }

  @Test("item 112: a matcher compares names of its kind only; any match of the list is enough")
  func kinds() {
    let uri = SubjectName(kind: .uri, value: "spiffe://td/ns/a")
    let dns = SubjectName(kind: .dns, value: "spiffe://td/ns/a")
    let prefix = SubjectNameMatcher(kind: .uri, text: StringMatcher(.prefix("spiffe://td/")))
    #expect(Self.policy([prefix]).accepts([uri]))
    #expect(!Self.policy([prefix]).accepts([dns]))
    #expect(Self.policy([Self.exact(.dns, "x"), prefix]).accepts([dns, uri]))
    #expect(Self.policy([Self.exact(nil, "spiffe://td/ns/a")]).accepts([uri]))
    #expect(!Self.policy([Self.exact(.email, "spiffe://td/ns/a")]).accepts([uri]))
    #expect(!Self.policy([prefix]).accepts([]))
    // A URI is no host name: no wildcard in it means anything.
    let star = SubjectName(kind: .uri, value: "*.example")
    #expect(!Self.policy([Self.exact(.uri, "up.example")]).accepts([star]))
    let address = SubjectName(kind: .address, value: "2001:db8::1")
    #expect(Self.policy([Self.exact(.address, "2001:db8::1")]).accepts([address]))
  }

  @Test(
    "item 112: auto_sni_san_validation replaces the list; without an SNI the list holds, or nothing"
  )
  func serverName() {
    let other = Self.exact(.dns, "other.example")
    var policy = Self.policy([other], sni: "up.example")
    policy.validatesServerName = true
    #expect(policy.accepts([SubjectName(kind: .dns, value: "*.example")]))
    #expect(!policy.accepts([SubjectName(kind: .dns, value: "other.sample")]))
    policy.serverName = ""
    #expect(policy.accepts([SubjectName(kind: .dns, value: "other.example")]))
    policy.subjectNames = []
    #expect(!policy.accepts([SubjectName(kind: .dns, value: "other.example")]))
    policy.serverName = "192.0.2.1"
    #expect(policy.accepts([SubjectName(kind: .address, value: "192.0.2.1")]))
    #expect(!policy.accepts([SubjectName(kind: .dns, value: "192.0.2.1")]))
    // No name is asked for: the authority's signature is enough.
    #expect(Self.policy([]).accepts([]))
  }

  @Test("item 36: new contents of a secret leave connections alone, anything else does not")
  func rotation() {
    var policy = TLSPolicy()
    policy.origin = 7
    policy.roots = .source(.inline("old"))
    var rotated = policy
    rotated.roots = .source(.inline("new"))
    #expect(Security.policy(rotated).continues(.policy(policy)))
    rotated.origin = 8
    #expect(!Security.policy(rotated).continues(.policy(policy)))
    #expect(!Security.policy(policy).continues(.plain))
    #expect(!Security.plain.continues(.policy(policy)))
    #expect(Security.plain.continues(.plain))
    #expect(!Security.unavailable("x").continues(.policy(policy)))
  }
}
