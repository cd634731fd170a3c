import Configuration
import Gateway
import Platform
import Primitives

/// The TLS contexts of the configuration's `[tls.NAME]` tables, and the one of streams that name
/// none. All are loaded before any is used: a file that cannot be read is found at start.
struct TLSContexts {
  private var named: [TLSContext] = []
  private var system: TLSContext?
  private var tables: [TLSConfiguration] = []

  /// Reads every file anew; on an error nothing changes.
  mutating func load(_ configuration: Configuration) throws(StartError) {
    var loaded: [TLSContext] = []
    for table in configuration.tls { loaded.append(try Self.make(table)) }
    if system == nil, configuration.needsSystemRoots { system = try Self.make(nil) }
    named = loaded
    tables = configuration.tls
  }

  /// Nil: the system's roots, no client certificate.
  static func make(_ table: TLSConfiguration?) throws(StartError) -> TLSContext {
    let name = table?.name ?? "of the system's roots"
    let refusals = TLSMemory.refusals
    do throws(TLSError) {
      return try TLSContext(
        authorities: table?.ca ?? "", certificate: table?.certificate ?? "",
        key: table?.key ?? "", minimum: table?.minimum == .tls13 ? .tls13 : .tls12)
    } catch {
      let isFull = TLSMemory.refusals != refusals
      let reason = isFull ? "[memory] budget has no room for its certificates" : error.description
      throw StartError(
        "tls \(name.description): \(reason)", exitCode: ExitCode.configuration)
    }
  }

  /// Nil: the system's roots, no client certificate. Every context that a target names was loaded
  /// before the target was.
  func context(_ index: UInt16?) -> TLSContext {
    guard let index else {
      guard let system else { preconditionFailure("TLS: the system's roots were not loaded") }
      return system
    }
    return named[Int(index)]
  }

  /// A line for every certificate of our own or authority that does not hold at this time. The
  /// daemon starts all the same: its clock may be wrong, and records are kept without an upstream.
  func complaints(at wall: WallTime) -> [String] {
    let now = wall.nanoseconds / 1_000_000_000
    var lines: [String] = []
    for (table, context) in zip(tables, named) {
      for (path, list) in [(table.certificate, context.chain()), (table.ca, context.authorities())]
      {
        for certificate in list {
          let name = "tls \(table.name.description): certificate \(path.description), "
          if certificate.validUntilSeconds <= now {
            lines.append(name + "has expired: valid until \(certificate.validUntil.description)")
          } else if certificate.validFromSeconds > now {
            lines.append(
              name + "is not yet valid: valid from \(certificate.validFrom.description)")
          }
        }
      }
    }
    return lines
  }

  /// For `/certs`.
  func described() -> [TLSCertificates] {
    zip(tables, named).map { table, context in
      Self.described(context, authorities: table.ca, chain: table.certificate)
    }
  }

  static func described(
    _ context: TLSContext, authorities: ByteString, chain: ByteString
  ) -> TLSCertificates {
    TLSCertificates(
      authorities: context.authorities().map { described($0, authorities) },
      chain: context.chain().map { described($0, chain) })
  }

  private static func described(
    _ details: CertificateDetails, _ path: ByteString
  ) -> TLSCertificates.Certificate {
    var certificate = TLSCertificates.Certificate(
      path: path, serial: details.serial, validFrom: details.validFrom,
      validUntil: details.validUntil, validUntilSeconds: details.validUntilSeconds)
    for name in details.names {
      switch name {
      case .dns(let value): certificate.names.append(.init(kind: "dns", value: value))
      case .uri(let value): certificate.names.append(.init(kind: "uri", value: value))
      case .email(let value): certificate.names.append(.init(kind: "email", value: value))
      case .address(let value): certificate.names.append(.init(kind: "ip_address", value: value))
      }
    }
    return certificate
  }
}

extension Configuration {
  /// An `https://` host names no table.
  fileprivate var needsSystemRoots: Bool {
    for stream in streams {
      if case .host(let host) = stream.target, host.isTLS, host.tls == nil { return true }
    }
    for server in xds?.servers ?? [] where server.isTLS && server.tls == nil { return true }
    return false
  }
}
