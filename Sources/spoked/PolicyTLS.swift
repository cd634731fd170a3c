import Gateway
import Platform
import Policy
import Primitives

/// The TLS contexts that a control plane's policies need. A context is made for the first connection of
/// a policy and shared by those that differ only in the server's name; new contents of a secret are a
/// new policy, so that they concern new connections only.
struct PolicyTLS {
  private struct Entry {
    /// Without what is each connection's own.
    let policy: TLSPolicy
    var context: TLSContext
    /// Of the files that it names, before they were read.
    var checksum: UInt32
  }

  /// The one that was used last is last.
  private var entries: [Entry] = []
  /// Why files that have changed are not used; the driver takes it for the log.
  var complaint: String?

  /// Reads files that the policy names, and those that have changed once more.
  mutating func context(for policy: TLSPolicy) throws(TLSError) -> TLSContext {
    var shared = policy
    shared.serverName = ByteString()
    shared.usesHostAsServerName = false
    shared.origin = 0
    let checksum = Self.checksum(shared)
    if let place = entries.firstIndex(where: { $0.policy == shared }) {
      var entry = entries.remove(at: place)
      if entry.checksum != checksum { refresh(&entry, checksum) }
      entries.append(entry)
      return entry.context
    }
    let context = try TLSContext(Self.material(policy), Self.demands(policy))
    if entries.count == contextsMax { entries.removeFirst() }
    entries.append(Entry(policy: shared, context: context, checksum: checksum))
    return context
  }

  /// A certificate and its key are replaced one after the other: until they fit together the former ones
  /// serve.
  private mutating func refresh(_ entry: inout Entry, _ checksum: UInt32) {
    entry.checksum = checksum
    do throws(TLSError) {
      entry.context = try TLSContext(Self.material(entry.policy), Self.demands(entry.policy))
    } catch {
      complaint = error.description
    }
  }

  /// Of all files that the policy names.
  private static func checksum(_ policy: TLSPolicy) -> UInt32 {
    var sum: UInt32 = 0
    func add(_ source: TLSSource?) {
      guard case .file(let path)? = source else { return }
      sum = sum &* 31 &+ FileReader.checksum(of: path, limit: fileBytesMax)
    }
    if case .source(let source) = policy.roots { add(source) }
    add(policy.identity?.chain)
    add(policy.identity?.key)
    add(policy.identity?.password)
    return sum
  }

  /// What a connection of the policy needs.
  mutating func security(
    _ policy: TLSPolicy, verificationTime: Int64?
  ) throws(TLSError) -> Transport.Security {
    Transport.Security(
      context: try context(for: policy), serverName: policy.serverName,
      verificationTime: verificationTime
    ) { names in
      policy.accepts(names.map(Self.subjectName))
    }
  }

  /// What is wrong with a certificate, a key or roots that were pushed; nil: nothing.
  static func fault(_ part: TLSPart) -> ByteString? {
    do throws(TLSError) {
      switch part {
      case .identity(let identity): _ = try TLSContext(of: own(identity))
      case .roots(let source): _ = try TLSContext(TLSMaterial(roots: text(source)), TLSDemands())
      }
      return nil
    } catch {
      return ByteString(error.description)
    }
  }

  // MARK: Translation

  private static func material(_ policy: TLSPolicy) -> TLSMaterial {
    var roots: TLSText?
    if case .source(let source) = policy.roots { roots = text(source) }
    return TLSMaterial(roots: roots, identity: policy.identity.map(own))
  }

  private static func demands(_ policy: TLSPolicy) -> TLSDemands {
    var demands = TLSDemands()
    demands.minimum = policy.minimum == .tls13 ? .tls13 : .tls12
    demands.maximum = policy.maximum == .tls13 ? .tls13 : .tls12
    demands.certificateHashes = policy.certificateHashes
    demands.publicKeyHashes = policy.publicKeyHashes
    demands.allowsExpired = policy.allowsExpired
    demands.depthMax = policy.depthMax.map { Int32(clamping: $0) }
    demands.resumes = policy.resumes
    return demands
  }

  private static func own(_ identity: TLSIdentity) -> TLSOwnIdentity {
    TLSOwnIdentity(
      chain: text(identity.chain), key: text(identity.key), password: identity.password.map(text))
  }

  private static func text(_ source: TLSSource) -> TLSText {
    switch source {
    case .inline(let text): .memory(text)
    case .file(let path): .file(path)
    }
  }

  private static func subjectName(_ name: CertificateDetails.Name) -> SubjectName {
    switch name {
    case .dns(let value): SubjectName(kind: .dns, value: value)
    case .uri(let value): SubjectName(kind: .uri, value: value)
    case .email(let value): SubjectName(kind: .email, value: value)
    case .address(let value): SubjectName(kind: .address, value: value)
    }
  }

  // MARK: Pages

  /// For `/certs`. What was pushed has no path: Envoy's word for it stands there.
  func described() -> [TLSCertificates] {
    entries.map { entry in
      var authorities: ByteString = "<inline>"
      var chain: ByteString = "<inline>"
      if case .source(.file(let path)) = entry.policy.roots { authorities = path }
      if case .file(let path) = entry.policy.identity?.chain { chain = path }
      return TLSContexts.described(entry.context, authorities: authorities, chain: chain)
    }
  }
}

/// Contexts that are kept for later connections: clusters of one control plane share most of theirs.
private let contextsMax = 16
/// What is read of a file to see whether it has changed: the roots of a whole system fit.
private let fileBytesMax = 1 << 20
