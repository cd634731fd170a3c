import Configuration
import NetworkingCore
import Primitives

/// What the gateway asks of the world. The driver carries actions out after the turn in which they
/// arose; the gateway is never called back from within one.
public enum GatewayAction {
  case transport(TransportAction)
  case log(LogLevel, String)
  /// Replace the file of the last good resources; answer with `cacheFailed` if that cannot be done.
  case writeCache([UInt8])
  /// The file of the last good resources cannot be used: rename it.
  case setCacheAside
}
