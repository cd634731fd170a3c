import COpenSSL
import Primitives

/// TLS for a library that makes its sessions itself: one of our contexts, and the broker's name
/// fixed in it. It verifies chain and name as every other connection does, although libmosquitto is
/// told only the broker's address. Sessions are not resumed: the library has no place for that.
public final class MosquittoTLS {
  private let context: TLSContext
  private let name: ByteString

  /// The context becomes this broker's own.
  public init(_ context: TLSContext, serverName: ByteString) throws(TLSError) {
    self.context = context
    name = serverName
    let isAddress = SocketAddress(numeric: serverName, port: 0) != nil
    let expected = SSL_CTX_get0_param(context.context)
    X509_VERIFY_PARAM_set_hostflags(expected, UInt32(X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS))
    let isTaken = serverName.withCString {
      isAddress
        ? X509_VERIFY_PARAM_set1_ip_asc(expected, $0)
        : X509_VERIFY_PARAM_set1_host(expected, $0, 0)
    }
    guard isTaken == 1, !serverName.isEmpty else {
      throw TLSError("server name \(serverName.description) cannot be verified")
    }
    context.serverNameToSend = isAddress ? "" : serverName
    // Before the ClientHello: the name that the library would send is the address that it was told
    // to connect to.
    SSL_CTX_set_info_callback(context.context) { session, moment, _ in
      guard moment & SSL_CB_HANDSHAKE_START != 0, let session,
        let name = TLSContext.of(session: session)?.serverNameToSend
      else { return }
      if name.isEmpty {
        spoke_SSL_set_server_name(session, nil)
      } else {
        _ = name.withCString { spoke_SSL_set_server_name(session, $0) }
      }
    }
  }

  /// Later connections use what `fresh` was loaded with: the same table of the configuration, its
  /// files read again. The one that is up goes on.
  public func adopt(_ fresh: TLSContext) throws(TLSError) {
    ERR_clear_error()
    guard spoke_SSL_CTX_adopt(context.context, fresh.context) == 1 else {
      throw TLSError(step: "new certificate")
    }
  }

  var opaqueContext: UnsafeMutableRawPointer { UnsafeMutableRawPointer(context.context) }

  func reset() { context.refusal = nil }

  /// Why the last certificate was refused.
  func refusal() -> String? {
    guard let refusal = context.refusal else { return nil }
    return
      "TLS handshake with \(name.description): certificate verify failed: \(refusal.description)"
  }
}
