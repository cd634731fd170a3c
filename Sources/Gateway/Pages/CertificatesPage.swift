import Primitives

/// The certificates of one `[tls.NAME]` table, for the admin endpoint.
public struct TLSCertificates: Sendable {
  /// One subject alternative name; `kind` is `dns`, `uri` or `ip_address`.
  public struct Name: Sendable {
    public var kind: ByteString
    public var value: ByteString

    public init(kind: ByteString, value: ByteString) {
      self.kind = kind
      self.value = value
    }
  }

  /// `envoy.admin.v3.CertificateDetails`.
  public struct Certificate: Sendable {
    /// The file that it came from.
    public var path: ByteString
    /// In hexadecimal.
    public var serial: ByteString
    public var names: [Name] = []
    /// RFC 3339, UTC.
    public var validFrom: ByteString
    public var validUntil: ByteString
    /// Seconds since 1970.
    public var validUntilSeconds: Int64

    public init(
      path: ByteString, serial: ByteString, validFrom: ByteString, validUntil: ByteString,
      validUntilSeconds: Int64
    ) {
      self.path = path
      self.serial = serial
      self.validFrom = validFrom
      self.validUntil = validUntil
      self.validUntilSeconds = validUntilSeconds
    }
  }

  public var authorities: [Certificate]
  /// Leaf first; empty without a client certificate.
  public var chain: [Certificate]

  public init(authorities: [Certificate], chain: [Certificate]) {
    self.authorities = authorities
    self.chain = chain
  }
}

/// `/certs` (`envoy.admin.v3.Certificates`).
enum CertificatesPage {
  static func body(_ tables: [TLSCertificates], wall: WallTime) -> [UInt8] {
    var json = JSONWriter()
    json.beginObject()
    json.key("certificates")
    json.beginArray()
    for table in tables {
      json.beginObject()
      write("ca_cert", table.authorities, wall, &json)
      write("cert_chain", table.chain, wall, &json)
      json.endObject()
    }
    json.endArray()
    json.endObject()
    return json.bytes
  }

  private static func write(
    _ key: StaticString, _ certificates: [TLSCertificates.Certificate], _ wall: WallTime,
    _ json: inout JSONWriter
  ) {
    json.key(key)
    json.beginArray()
    for certificate in certificates {
      json.beginObject()
      json.member("path", certificate.path)
      json.member("serial_number", certificate.serial)
      json.key("subject_alt_names")
      json.beginArray()
      for name in certificate.names {
        json.beginObject()
        json.key(named: name.kind)
        json.string(name.value)
        json.endObject()
      }
      json.endArray()
      // A 64-bit number is text in protobuf's JSON. Of an expired one no day is left.
      let left = certificate.validUntilSeconds - wall.nanoseconds / 1_000_000_000
      json.member("days_until_expiration", ByteString("\(max(left, 0) / 86_400)"))
      json.member("valid_from", certificate.validFrom)
      json.member("expiration_time", certificate.validUntil)
      json.endObject()
    }
    json.endArray()
  }
}
