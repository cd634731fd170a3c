import Primitives

/// `target` of a stream.
public enum TargetConfiguration: Equatable, Sendable {
  /// `https://HOST:PORT`, `http://HOST:PORT`.
  case host(HostConfiguration)
  /// `xds:///NAME`: what a control plane says of the listener NAME.
  case listener(ByteString)

  /// The `:authority` of its requests, unless the stream has one of its own.
  public var authority: ByteString {
    switch self {
    case .host(let host): host.authority
    case .listener(let name): name
    }
  }
}

/// A host that is reached over HTTP/2: the target of a stream, or a management server.
public struct HostConfiguration: Equatable, Sendable {
  /// False: `http://`, HTTP/2 by prior knowledge.
  public var isTLS: Bool
  /// In lower case; an IPv6 address without its brackets.
  public var host: ByteString
  public var port: UInt16
  /// An index into `Configuration.tls`; nil with `isTLS`: the system's roots, no certificate.
  public var tls: Int?

  public init(isTLS: Bool, host: ByteString, port: UInt16, tls: Int? = nil) {
    self.isTLS = isTLS
    self.host = host
    self.port = port
    self.tls = tls
  }

  /// The `:authority` of its requests (RFC 9110 §4.2.3): without the scheme's own port.
  public var authority: ByteString {
    let isIPv6 = host.bytes.contains(UInt8(ascii: ":"))
    let name = isIPv6 ? "[" + host + "]" : host
    return port == (isTLS ? 443 : 80) ? name : name + ByteString(":\(port)")
  }
}

/// `[xds]`: where policy comes from.
public struct XDSConfiguration: Equatable, Sendable {
  /// `transport`: `sotw` or `delta`.
  public enum Transport: Sendable { case stateOfTheWorld, incremental }
  /// The primary one first, then its fallbacks; without any, `resources` is all there is.
  public var servers: [HostConfiguration] = []
  public var transport = Transport.stateOfTheWorld
  /// The directory of the last good resources; empty: they are not kept.
  public var cache: ByteString = "/var/lib/spoke/xds"
  /// Zero: a resource that was asked for is waited for as long as it takes.
  public var fetchTimeout = Interval.seconds(15)
  /// RTDS layers; later ones win.
  public var runtime: [ByteString] = ["runtime"]
  /// A directory of `*.pb` files; empty: none.
  public var resources = ByteString()
  /// A listener or a cluster that the server deletes stays in force.
  public var keepDeleted = false

  public init() {}
}
