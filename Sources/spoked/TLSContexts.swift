import Configuration
import Gateway
import Platform
import Primitives

/// The TLS contexts of the configuration's `[tls.NAME]` tables that something uses, and the one of streams
/// that name none. All are loaded before any is used: a file that cannot be read is found at start.
struct TLSContexts {
  /// In the order of the tables; nil: nothing uses it.
  private var named: [TLSContext?] = []
  private var system: TLSContext?
  private var tables: [TLSConfiguration] = []

  /// Reads every file anew. What cannot be used, all of it; then nothing changes.
  mutating func load(_ configuration: Configuration) -> [StartError] {
    var faults: [StartError] = []
    func make(_ table: TLSConfiguration?) -> TLSContext? {
      do throws(StartError) { return try Self.make(table) } catch {
        faults.append(error)
        return nil
      }
    }
    var loaded: [TLSContext?] = []
    for (index, table) in configuration.tls.enumerated() {
      loaded.append(configuration.needsTLS(index) ? make(table) : nil)
    }
    var roots = system
    if roots == nil, configuration.needsTLS(nil) { roots = make(nil) }
    guard faults.isEmpty else { return faults }
    system = roots
    named = loaded
    tables = configuration.tls
    return []
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
        "tls \(name.description): \(reason)", exitCode: ExitCode.configuration,
        key: table.map { ["tls", $0.name] + Self.key(of: error.part) } ?? [])
    }
  }

  private static func key(of part: TLSError.Part?) -> [ByteString] {
    switch part {
    case .authorities: ["ca"]
    case .chain: ["certificate"]
    case .key: ["key"]
    case nil: []
    }
  }

  /// Nil: the system's roots, no client certificate. Every context that a target names was loaded
  /// before the target was.
  func context(_ index: UInt16?) -> TLSContext {
    guard let context = index.map({ named[Int($0)] }) ?? system else {
      preconditionFailure("TLS: a context that a target names was not loaded")
    }
    return context
  }

  /// A line for every certificate of our own or authority that does not hold at this time. The
  /// daemon starts all the same: its clock may be wrong, and records are kept without an upstream.
  func complaints(at wall: WallTime) -> [String] {
    let now = wall.nanoseconds / 1_000_000_000
    var lines: [String] = []
    for (table, context) in zip(tables, named) {
      guard let context else { continue }
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
    var found: [TLSCertificates] = []
    for (table, context) in zip(tables, named) {
      guard let context else { continue }
      found.append(Self.described(context, authorities: table.ca, chain: table.certificate))
    }
    return found
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
  /// A target or the broker names the table; nil: an `https://` host names none.
  fileprivate func needsTLS(_ index: Int?) -> Bool {
    for stream in streams {
      if case .host(let host) = stream.target, host.isTLS, host.tls == index { return true }
    }
    for server in xds?.servers ?? [] where server.isTLS && server.tls == index { return true }
    // The broker's context is its own; its table is loaded for its dates and `/certs`.
    return index != nil && mqtt?.tls == index
  }
}
