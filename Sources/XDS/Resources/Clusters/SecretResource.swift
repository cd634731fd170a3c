import Policy
import Primitives

/// `envoy.extensions.transport_sockets.tls.v3.Secret` of SDS.
public struct SecretResource: Equatable, Sendable {
  /// What a secret may be here.
  public enum Content: Equatable, Sendable {
    /// A certificate of our own with its key.
    case identity(TLSIdentity)
    /// What a server's certificate must be.
    case validation(TLSValidation)
  }
  public var name: ByteString
  public var content: Content

  /// Decodes the resource, or says why it is refused. `fault` says what is wrong with
  /// certificates and keys.
  public static func decode(
    _ bytes: Span<UInt8>, fault: (TLSPart) -> ByteString? = { _ in nil }
  ) throws(ResourceRejection) -> SecretResource {
    let message = try ResourceReader(bytes)
    let name = try message.text(1, "name")
    guard !name.isEmpty else { throw message.rejection("name", "empty") }
    let members: [UInt32] = [2, 3, 4, 5]
    switch try message.member(members) {
    case 2:
      guard let certificate = try message.message(2, "tls_certificate", among: members) else {
        break
      }
      let identity = try certificate.identity(fault)
      return SecretResource(name: name, content: .identity(identity))
    case 4:
      guard let context = try message.message(4, "validation_context", among: members) else {
        break
      }
      let validation = try context.validation(fault)
      // Without roots any server would do. A default that has some is no help: a rotation that
      // forgets them would go unnoticed.
      guard validation.roots != nil else { throw context.rejection("trusted_ca", "missing") }
      return SecretResource(name: name, content: .validation(validation))
    case 3: throw message.rejection("session_ticket_keys", "not supported")
    case 5: throw message.rejection("generic_secret", "not supported")
    default: break
    }
    throw message.rejection("", "neither a certificate nor a validation context")
  }
}

/// `CertificateValidationContext`.
public struct TLSValidation: Equatable, Sendable {
  /// Nil: it says nothing.
  public var roots: TLSRoots?
  public var certificateHashes: [ByteString] = []
  public var publicKeyHashes: [ByteString] = []
  public var subjectNames: [SubjectNameMatcher] = []
  public var allowsExpired = false
  public var depthMax: UInt32?

  /// Another one over this: what it says replaces what stands here, lists grow (protobuf's merging,
  /// which `CombinedCertificateValidationContext` asks for).
  func merged(with other: TLSValidation) -> TLSValidation {
    var merged = self
    merged.roots = other.roots ?? roots
    merged.certificateHashes += other.certificateHashes
    merged.publicKeyHashes += other.publicKeyHashes
    merged.subjectNames += other.subjectNames
    merged.allowsExpired = allowsExpired || other.allowsExpired
    merged.depthMax = other.depthMax ?? depthMax
    return merged
  }
}

extension ResourceReader {
  /// `DataSource`: 1 filename, 2 inline_bytes, 3 inline_string, 4 environment_variable. Nil when absent.
  func source(_ number: UInt32, _ name: StaticString) throws(ResourceRejection) -> TLSSource? {
    guard let source = try message(number, name) else { return nil }
    let content: TLSSource
    switch try source.member([1, 2, 3, 4]) {
    case 1: content = .file(try source.text(1, "filename"))
    case 2: content = .inline(try source.data(2))
    case 3: content = .inline(try source.text(3, "inline_string"))
    case 4: throw source.rejection("environment_variable", "not supported")
    default: throw rejection(name, "empty")
    }
    switch content {
    case .file(let text), .inline(let text):
      guard !text.isEmpty else { throw rejection(name, "empty") }
      guard text.count <= ClusterLimits.pemBytesMax else {
        throw rejection(name, "more than \(ClusterLimits.pemBytesMax) bytes")
      }
    }
    return content
  }

  /// `TlsCertificate`: 1 certificate_chain, 2 private_key, 3 password, 6 private_key_provider,
  /// 8 pkcs12.
  func identity(
    _ fault: (TLSPart) -> ByteString?
  ) throws(ResourceRejection) -> TLSIdentity {
    guard try !has(6) else { throw rejection("private_key_provider", "not supported") }
    guard try !has(8) else { throw rejection("pkcs12", "not supported") }
    guard let chain = try source(1, "certificate_chain") else {
      throw rejection("certificate_chain", "missing")
    }
    guard let key = try source(2, "private_key") else {
      throw rejection("private_key", "missing")
    }
    let identity = TLSIdentity(chain: chain, key: key, password: try source(3, "password"))
    if let reason = fault(.identity(identity)) {
      throw ResourceRejection(field: path.text(), reason: reason)
    }
    return identity
  }

  /// `CertificateValidationContext`: 1 trusted_ca, 17 system_root_certs, 3 verify_certificate_spki,
  /// 2 verify_certificate_hash, 15 match_typed_subject_alt_names, 9 match_subject_alt_names,
  /// 8 allow_expired_certificate, 16 max_verify_depth. What would make a certificate valid that is not,
  /// or one invalid that this client cannot tell, is refused.
  func validation(
    _ fault: (TLSPart) -> ByteString?
  ) throws(ResourceRejection) -> TLSValidation {
    let refused: [(UInt32, StaticString)] = [
      (4, "custom_validator"), (6, "require_signed_certificate_timestamp"), (7, "crl"),
      (12, "custom_validator_config"), (13, "ca_certificate_provider_instance"),
    ]
    for (number, name) in refused where try has(number) {
      throw rejection(name, "not supported")
    }
    guard try int32(10) == 0 else {
      throw rejection("trust_chain_verification", "a server is never left unverified")
    }
    var validation = TLSValidation()
    if let roots = try source(1, "trusted_ca") {
      if let reason = fault(.roots(roots)) {
        throw ResourceRejection(field: path.text("trusted_ca"), reason: reason)
      }
      validation.roots = .source(roots)
    } else if try has(17) {
      validation.roots = .system
    }
    try readHashes(&validation)
    try readNames(&validation)
    validation.allowsExpired = try bool(8)
    validation.depthMax = try wrappedUInt32(16, "max_verify_depth")
    if let depth = validation.depthMax, depth > 100 {
      throw rejection("max_verify_depth", "\(depth) is above 100")
    }
    return validation
  }

  private func readHashes(_ validation: inout TLSValidation) throws(ResourceRejection) {
    let most = ClusterLimits.hashesMax
    for text in try texts(2, "verify_certificate_hash", limit: most) {
      guard let hash = sha256(hexadecimal: text) else {
        throw rejection("verify_certificate_hash", "not a SHA-256 in hexadecimal digits")
      }
      validation.certificateHashes.append(hash)
    }
    for text in try texts(3, "verify_certificate_spki", limit: most) {
      guard let hash = sha256(base64: text) else {
        throw rejection("verify_certificate_spki", "not a SHA-256 in base64")
      }
      validation.publicKeyHashes.append(hash)
    }
  }

  private func readNames(_ validation: inout TLSValidation) throws(ResourceRejection) {
    let most = ClusterLimits.subjectNamesMax
    // It counts the instructions of the regular expressions.
    var decoder = RouteDecoder()
    for typed in try messages(15, "match_typed_subject_alt_names", limit: most) {
      let kinds: [SubjectName.Kind] = [.email, .dns, .uri, .address]
      let kind = try typed.int32(1)
      guard kind >= 1, kind <= kinds.count else {
        throw typed.rejection("san_type", "\(kind) is not supported")
      }
      guard let matcher = try typed.message(2, "matcher") else {
        throw typed.rejection("matcher", "missing")
      }
      let text = try decoder.stringMatcher(matcher)
      validation.subjectNames.append(
        SubjectNameMatcher(kind: kinds[Int(kind) - 1], text: text))
    }
    // A typed list replaces the one without types.
    guard validation.subjectNames.isEmpty else { return }
    for matcher in try messages(9, "match_subject_alt_names", limit: most) {
      let text = try decoder.stringMatcher(matcher)
      validation.subjectNames.append(SubjectNameMatcher(kind: nil, text: text))
    }
  }
}

/// 64 hexadecimal digits, with or without colons between the bytes.
private func sha256(hexadecimal text: ByteString) -> ByteString? {
  var bytes: [UInt8] = []
  var high: UInt8?
  for digit in text.bytes where digit != UInt8(ascii: ":") {
    guard let value = hexadecimalValue(digit) else { return nil }
    if let first = high {
      bytes.append(first << 4 | value)
      high = nil
    } else {
      high = value
    }
  }
  return bytes.count == 32 && high == nil ? ByteString(bytes) : nil
}

/// 43 digits of RFC 4648 §4 and their padding.
private func sha256(base64 text: ByteString) -> ByteString? {
  guard text.count == 44, text.bytes[43] == UInt8(ascii: "=") else { return nil }
  var bytes: [UInt8] = []
  var bits: UInt32 = 0
  var count = 0
  for digit in text.bytes.dropLast() {
    let value: UInt8
    switch digit {
    case UInt8(ascii: "A")...UInt8(ascii: "Z"): value = digit - UInt8(ascii: "A")
    case UInt8(ascii: "a")...UInt8(ascii: "z"): value = digit - UInt8(ascii: "a") + 26
    case UInt8(ascii: "0")...UInt8(ascii: "9"): value = digit - UInt8(ascii: "0") + 52
    case UInt8(ascii: "+"): value = 62
    case UInt8(ascii: "/"): value = 63
    default: return nil
    }
    bits = bits << 6 | UInt32(value)
    count += 6
    if count >= 8 {
      count -= 8
      bytes.append(UInt8(truncatingIfNeeded: bits >> UInt32(count)))
    }
  }
  return bytes.count == 32 ? ByteString(bytes) : nil
}
