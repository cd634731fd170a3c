import Configuration
import Platform
import Primitives

/// The TLS contexts of the configuration's `[tls.NAME]` tables, and the one of streams that name
/// none. All are loaded before any is used: a file that cannot be read is found at start.
struct TLSContexts {
  private var named: [TLSContext] = []
  private var system: TLSContext?

  /// Reads every file anew; on an error nothing changes.
  mutating func load(_ configuration: Configuration) throws(StartError) {
    var loaded: [TLSContext] = []
    for table in configuration.tls { loaded.append(try Self.make(table)) }
    for stream in configuration.streams
    where system == nil && stream.target.isTLS && stream.target.tls == nil {
      system = try Self.make(nil)
    }
    named = loaded
  }

  /// Nil: the system's roots, no client certificate.
  static func make(_ table: TLSConfiguration?) throws(StartError) -> TLSContext {
    let name = table?.name ?? "of the system's roots"
    do throws(TLSError) {
      return try TLSContext(
        authorities: table?.ca ?? "", certificate: table?.certificate ?? "",
        key: table?.key ?? "", minimum: table?.minimum == .tls13 ? .tls13 : .tls12)
    } catch {
      throw StartError(
        "tls \(name.description): \(error.description)", exitCode: ExitCode.configuration)
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
}
