import Policy
import Primitives

/// How a cluster's connections are protected, before its secrets are known.
struct TLSTemplate: Equatable, Sendable {
  /// All that the cluster itself says.
  var policy = TLSPolicy()
  /// The cluster's own, or the default that a secret is merged over.
  var validation = TLSValidation()
  var identitySecret: ByteString?
  var validationSecret: ByteString?

  var secretNames: [ByteString] {
    var names: [ByteString] = []
    if let identitySecret { names.append(identitySecret) }
    if let validationSecret, validationSecret != identitySecret { names.append(validationSecret) }
    return names
  }

  /// The policy with what the secrets say; while one is missing there is none.
  func security(_ secret: (ByteString) -> SecretResource?) -> Security {
    var policy = policy
    var validation = validation
    if let name = validationSecret {
      guard case .validation(let other) = secret(name)?.content else {
        return .unavailable(ByteString("no validation context \(name.description) (SDS)"))
      }
      validation = validation.merged(with: other)
    }
    if let name = identitySecret {
      guard case .identity(let identity) = secret(name)?.content else {
        return .unavailable(ByteString("no certificate \(name.description) (SDS)"))
      }
      policy.identity = identity
    }
    guard let roots = validation.roots else { return .unavailable("no trusted_ca") }
    policy.roots = roots
    policy.certificateHashes = validation.certificateHashes
    policy.publicKeyHashes = validation.publicKeyHashes
    policy.subjectNames = validation.subjectNames
    policy.allowsExpired = validation.allowsExpired
    policy.depthMax = validation.depthMax
    return .policy(policy)
  }
}

extension ClusterDecoder {
  /// 24 transport_socket: `raw_buffer` or TLS; without one, the former.
  mutating func readSecurity(
    _ fault: (TLSPart) -> ByteString?
  ) throws(ResourceRejection) {
    guard let socket = try message.extensionConfig(24, "transport_socket", config: 3) else {
      return try refuseAuthorityWithoutTLS()
    }
    guard let config = socket.config else {
      guard socket.name == "envoy.transport_sockets.raw_buffer" else {
        throw message.rejection("transport_socket.typed_config", "missing")
      }
      return try refuseAuthorityWithoutTLS()
    }
    if config.names("envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer") {
      return try refuseAuthorityWithoutTLS()
    }
    guard config.names("envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext") else {
      throw message.rejection(
        "transport_socket", "\(config.url.description) is not supported")
    }
    var template = TLSTemplate()
    // And what stands elsewhere and is about connections as well.
    let demands: [UInt8] = [usesAuthority ? 1 : 0, validatesAuthority ? 1 : 0]
    template.policy.origin = ResourceStore.digest(
      demands.span, after: try message.fingerprint(24))
    try readUpstreamTLS(config.message, &template, fault)
    if !template.secretNames.isEmpty {
      resource.tls = template
    }
    // What can be said without secrets; with them it is said when the cluster is put together.
    resource.cluster.security = template.security { _ in nil }
  }

  /// `auto_san_validation` has no meaning without a certificate; it is not ignored.
  private func refuseAuthorityWithoutTLS() throws(ResourceRejection) {
    guard !validatesAuthority else {
      throw message.rejection("auto_san_validation", "without TLS there is no certificate")
    }
  }

  /// `UpstreamTlsContext`: 1 common_tls_context, 2 sni, 4 max_session_keys, 6 auto_host_sni,
  /// 7 auto_sni_san_validation.
  private mutating func readUpstreamTLS(
    _ context: ResourceReader, _ template: inout TLSTemplate,
    _ fault: (TLSPart) -> ByteString?
  ) throws(ResourceRejection) {
    let name = try context.text(2, "sni")
    guard name.count <= ClusterLimits.hostBytesMax else {
      throw context.rejection("sni", "longer than \(ClusterLimits.hostBytesMax) bytes")
    }
    template.policy.serverName = name
    let usesHost = try context.bool(6)
    template.policy.usesHostAsServerName = usesHost || usesAuthority
    let validatesHost = try context.bool(7)
    template.policy.validatesServerName = validatesHost || validatesAuthority
    template.policy.resumes = try context.wrappedUInt32(4, "max_session_keys") != 0
    guard let common = try context.message(1, "common_tls_context") else {
      throw context.rejection("common_tls_context", "missing: a server is never left unverified")
    }
    try readCommonTLS(common, &template, fault)
    let isNamed = !name.isEmpty || template.policy.usesHostAsServerName
    guard
      isNamed || !template.policy.validatesServerName
        || !template.validation.subjectNames.isEmpty || template.validationSecret != nil
    else {
      throw context.rejection("auto_sni_san_validation", "there is no SNI to validate")
    }
  }

  /// `CommonTlsContext`. The members of its oneofs that this client does not know would be other ways to
  /// verify a server, or to show who it is.
  private mutating func readCommonTLS(
    _ common: ResourceReader, _ template: inout TLSTemplate,
    _ fault: (TLSPart) -> ByteString?
  ) throws(ResourceRejection) {
    let refused: [(UInt32, StaticString)] = [
      (9, "tls_certificate_certificate_provider"),
      (11, "tls_certificate_certificate_provider_instance"),
      (13, "custom_handshaker"), (14, "tls_certificate_provider_instance"),
      (16, "custom_tls_certificate_selector"),
    ]
    for (number, name) in refused where try common.has(number) {
      throw common.rejection(name, "not supported")
    }
    let protocols = try common.texts(4, "alpn_protocols", limit: 16)
    guard protocols.isEmpty || protocols.contains("h2") else {
      throw common.rejection("alpn_protocols", "without h2")
    }
    if try common.has(15) { note("common_tls_context.key_log") }
    try readParameters(common, &template)
    try readIdentity(common, &template, fault)
    try readValidation(common, &template, fault)
  }

  /// `TlsParameters`: 1 tls_minimum_protocol_version, 2 tls_maximum_protocol_version, 3 cipher_suites,
  /// 4 ecdh_curves, 5 signature_algorithms.
  private mutating func readParameters(
    _ common: ResourceReader, _ template: inout TLSTemplate
  ) throws(ResourceRejection) {
    guard let parameters = try common.message(1, "tls_params") else { return }
    let least = try parameters.int32(1)
    let most = try parameters.int32(2)
    guard least >= 0, least <= 4 else {
      throw parameters.rejection(
        "tls_minimum_protocol_version", "\(least) is not one of its values")
    }
    guard most == 0 || most == 3 || most == 4 else {
      throw parameters.rejection(
        "tls_maximum_protocol_version", "below TLS 1.2, or not one of its values")
    }
    if least == 1 || least == 2 {
      resource.cluster.clamped.append(
        "tls_minimum_protocol_version: below TLS 1.2, the device takes TLS 1.2")
    }
    template.policy.minimum = least == 4 ? .tls13 : .tls12
    template.policy.maximum = most == 3 ? .tls12 : .tls13
    guard least != 4 || most != 3 else {
      throw parameters.rejection("tls_maximum_protocol_version", "below the minimum")
    }
    if try parameters.has(3) { note("tls_params.cipher_suites") }
    if try parameters.has(4) { note("tls_params.ecdh_curves") }
    if try parameters.has(5) { note("tls_params.signature_algorithms") }
  }

  /// 2 tls_certificates, 6 tls_certificate_sds_secret_configs: a client shows one.
  private func readIdentity(
    _ common: ResourceReader, _ template: inout TLSTemplate,
    _ fault: (TLSPart) -> ByteString?
  ) throws(ResourceRejection) {
    let certificates = try common.messages(2, "tls_certificates", limit: 1)
    let secrets = try common.messages(6, "tls_certificate_sds_secret_configs", limit: 1)
    if let secret = secrets.first {
      guard certificates.isEmpty else {
        throw common.rejection("tls_certificates", "beside a certificate of SDS")
      }
      template.identitySecret = try secretName(secret)
    } else if let certificate = certificates.first {
      template.policy.identity = try certificate.identity(fault)
    }
  }

  /// The oneof of 3 validation_context, 7 validation_context_sds_secret_config,
  /// 8 combined_validation_context, and members that are not supported.
  private func readValidation(
    _ common: ResourceReader, _ template: inout TLSTemplate,
    _ fault: (TLSPart) -> ByteString?
  ) throws(ResourceRejection) {
    let members: [UInt32] = [3, 7, 8, 10, 12]
    switch try common.member(members) {
    case 3:
      guard let context = try common.message(3, "validation_context", among: members) else {
        break
      }
      template.validation = try context.validation(fault)
      guard template.validation.roots != nil else {
        throw context.rejection("trusted_ca", "missing: a server is never left unverified")
      }
      return
    case 7:
      let secret = try common.message(
        7, "validation_context_sds_secret_config", among: members)
      guard let secret else { break }
      template.validationSecret = try secretName(secret)
      return
    case 8:
      let combined = try common.message(8, "combined_validation_context", among: members)
      guard let combined else { break }
      if let context = try combined.message(1, "default_validation_context") {
        template.validation = try context.validation(fault)
      }
      guard let secret = try combined.message(2, "validation_context_sds_secret_config") else {
        throw combined.rejection("validation_context_sds_secret_config", "missing")
      }
      template.validationSecret = try secretName(secret)
      return
    case 10, 12:
      throw common.rejection("validation_context_type", "certificate providers are not supported")
    default: break
    }
    throw common.rejection(
      "validation_context_type", "missing: a server is never left unverified")
  }

  /// `SdsSecretConfig`: 1 name, 2 sds_config. Without the latter the secret is a static one.
  private func secretName(_ secret: ResourceReader) throws(ResourceRejection) -> ByteString {
    let name = try secret.text(1, "name")
    guard !name.isEmpty else { throw secret.rejection("name", "empty") }
    try secret.message(2, "sds_config")?.requireAggregatedSource()
    return name
  }
}
