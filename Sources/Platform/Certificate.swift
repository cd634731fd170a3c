import COpenSSL
import Primitives

/// What the operator wants to know of a certificate.
public struct CertificateDetails: Sendable {
  /// A subject alternative name (RFC 5280 §4.2.1.6).
  public enum Name: Sendable {
    case dns(ByteString)
    case uri(ByteString)
    case email(ByteString)
    case address(ByteString)
  }

  /// In hexadecimal.
  public var serial: ByteString
  public var names: [Name]
  /// RFC 3339, UTC.
  public var validFrom: ByteString
  public var validUntil: ByteString
  /// Seconds since 1970.
  public var validFromSeconds: Int64
  public var validUntilSeconds: Int64

  init(_ certificate: OpaquePointer) {
    serial = Self.serial(of: certificate)
    names = Self.names(of: certificate) { Self.printable($0) }
    validFrom = ByteString(text(of: X509_get0_notBefore(certificate)))
    validUntil = ByteString(text(of: X509_get0_notAfter(certificate)))
    validFromSeconds = seconds(of: X509_get0_notBefore(certificate))
    validUntilSeconds = seconds(of: X509_get0_notAfter(certificate))
  }

  private static func serial(of certificate: OpaquePointer) -> ByteString {
    guard let number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate), nil) else {
      return ""
    }
    defer { BN_free(number) }
    guard let digits = BN_bn2hex(number) else { return "" }
    defer { CRYPTO_free(digits, nil, 0) }
    return ByteString(ByteString(String(cString: digits)).bytes.map(lowercase))
  }

  private static func lowercase(_ byte: UInt8) -> UInt8 {
    (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte) ? byte | 0x20 : byte
  }

  /// The names byte for byte, to be compared and not to be shown.
  static func exactNames(of certificate: OpaquePointer) -> [Name] {
    names(of: certificate) { ByteString($0) }
  }

  private static func names(
    of certificate: OpaquePointer, _ text: ([UInt8]) -> ByteString
  ) -> [Name] {
    var names: [Name] = []
    for (kind, value) in alternatives(of: certificate) {
      switch kind {
      case GEN_DNS: names.append(.dns(text(value)))
      case GEN_URI: names.append(.uri(text(value)))
      case GEN_EMAIL: names.append(.email(text(value)))
      case GEN_IPADD:
        guard let address = SocketAddress(bytes: value, port: 0) else { continue }
        names.append(.address(ByteString(address.host)))
      default: continue
      }
    }
    return names
  }

  private static func alternatives(of certificate: OpaquePointer) -> [(Int32, [UInt8])] {
    guard let list = spoke_alternative_names(certificate) else { return [] }
    defer { GENERAL_NAMES_free(list) }
    var found: [(Int32, [UInt8])] = []
    var number: Int32 = 0
    var kind: Int32 = 0
    var count: Int32 = 0
    while number < certificateNamesMax,
      let bytes = spoke_alternative_name(list, number, &kind, &count)
    {
      number += 1
      found.append((kind, Array(UnsafeBufferPointer(start: bytes, count: Int(count)))))
    }
    return found
  }

  /// A peer wrote it, and it goes to a log.
  private static func printable(_ bytes: [UInt8]) -> ByteString {
    ByteString(bytes.prefix(253).map { (0x21...0x7E).contains($0) ? $0 : UInt8(ascii: "?") })
  }
}

/// Why a peer's certificate was refused: OpenSSL's reason, and what one needs to act on it.
struct CertificateRefusal {
  let code: Int32
  let description: String

  /// From within a verification that has failed.
  init(_ store: OpaquePointer) {
    code = X509_STORE_CTX_get_error(store)
    let reason = String(cString: X509_verify_cert_error_string(Int(code)))
    guard let certificate = X509_STORE_CTX_get_current_cert(store) else {
      description = reason
      return
    }
    switch code {
    case X509_V_ERR_CERT_HAS_EXPIRED:
      let end = text(of: X509_get0_notAfter(certificate))
      description = "\(reason): \(subject(of: certificate)), valid until \(end)"
    case X509_V_ERR_CERT_NOT_YET_VALID:
      let start = text(of: X509_get0_notBefore(certificate))
      description = "\(reason): \(subject(of: certificate)), valid from \(start)"
    case X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH:
      description = "\(reason): \(Self.bearers(of: certificate))"
    default:
      description = "\(reason): \(subject(of: certificate))"
    }
  }

  init(_ code: Int32, _ description: String) {
    self.code = code
    self.description = description
  }

  /// The certificate is for somebody else.
  init(misnamed certificate: OpaquePointer) {
    code = X509_V_ERR_HOSTNAME_MISMATCH
    let reason = String(cString: X509_verify_cert_error_string(Int(code)))
    description = "\(reason): \(Self.bearers(of: certificate))"
  }

  var isName: Bool {
    code == X509_V_ERR_HOSTNAME_MISMATCH || code == X509_V_ERR_IP_ADDRESS_MISMATCH
  }

  private static func bearers(of certificate: OpaquePointer) -> String {
    let names = CertificateDetails(certificate).names
    if names.isEmpty { return "the certificate has no alternative name" }
    var list = ""
    for name in names.prefix(refusalNamesMax) {
      if !list.isEmpty { list += ", " }
      switch name {
      case .dns(let value), .uri(let value), .email(let value), .address(let value):
        list += value.description
      }
    }
    let others = names.count > refusalNamesMax ? " and others" : ""
    return "the certificate is for \(list)\(others)"
  }
}

/// Seconds since 1970.
func seconds(of time: UnsafePointer<ASN1_TIME>?) -> Int64 {
  guard let epoch = ASN1_TIME_set(nil, 0) else { return 0 }
  defer { ASN1_STRING_free(epoch) }
  var days: Int32 = 0
  var rest: Int32 = 0
  guard ASN1_TIME_diff(&days, &rest, epoch, time) == 1 else { return 0 }
  return Int64(days) * 86_400 + Int64(rest)
}

/// RFC 3339, UTC.
private func text(of time: UnsafePointer<ASN1_TIME>?) -> String {
  var parts = tm()
  guard ASN1_TIME_to_tm(time, &parts) == 1 else { return "an unknown time" }
  func two(_ number: Int32) -> String { number < 10 ? "0\(number)" : "\(number)" }
  let date = "\(parts.tm_year + 1_900)-\(two(parts.tm_mon + 1))-\(two(parts.tm_mday))"
  return "\(date)T\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec))Z"
}

/// `/CN=name`; what is not printable is escaped.
private func subject(of certificate: OpaquePointer) -> String {
  let size = 200
  return withUnsafeTemporaryAllocation(of: CChar.self, capacity: size) { buffer in
    guard let start = buffer.baseAddress,
      let line = X509_NAME_oneline(X509_get_subject_name(certificate), start, Int32(size))
    else { return "" }
    return String(cString: line)
  }
}

/// Alternative names that are read of one certificate.
private let certificateNamesMax: Int32 = 64
/// Names that a refusal's message lists.
private let refusalNamesMax = 4
