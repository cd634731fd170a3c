import COpenSSL
import Primitives

/// TLS for a library that makes its sessions itself: one of our contexts, and the broker's name
/// fixed in it. It verifies chain and name as every other connection does, although libmosquitto is
/// told only the broker's address.
public final class MosquittoTLS {
  private let context: TLSContext
  private let expectation: UnsafeMutablePointer<spoke_tls_expectation>
  private let name: ByteString

  /// The context becomes this broker's own.
  public init(_ context: TLSContext, serverName: ByteString) throws(TLSError) {
    self.context = context
    name = serverName
    expectation = .allocate(capacity: 1)
    expectation.initialize(to: spoke_tls_expectation())
    let isAddress = SocketAddress(numeric: serverName, port: 0) != nil
    expectation.pointee.is_address = isAddress ? 1 : 0
    let capacity = MemoryLayout.size(ofValue: expectation.pointee.name)
    let fits = serverName.count < capacity
    withUnsafeMutableBytes(of: &expectation.pointee.name) { target in
      for index in 0..<min(serverName.count, capacity - 1) {
        target[index] = serverName.bytes[index]
      }
    }
    if !fits || spoke_SSL_CTX_expect(context.context, expectation) != 1 {
      throw TLSError("server name \(serverName.description) cannot be verified")
    }
  }

  deinit { expectation.deallocate() }

  var opaqueContext: UnsafeMutableRawPointer { UnsafeMutableRawPointer(context.context) }

  func reset() { expectation.pointee.verify_error = 0 }

  /// Why the last certificate was refused.
  func refusal() -> String? {
    let code = expectation.pointee.verify_error
    guard code != 0 else { return nil }
    let reason = String(cString: X509_verify_cert_error_string(Int(code)))
    return "TLS handshake with \(name.description): certificate verify failed: \(reason)"
  }
}
