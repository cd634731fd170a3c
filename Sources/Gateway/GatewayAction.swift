import Configuration
import NetworkingCore
import Primitives

/// What the gateway asks of the world. The driver carries actions out after the turn in which they
/// arose; the gateway is never called back from within one.
public enum GatewayAction {
  case transport(TransportAction)
  case log(LogLevel, String)
}
