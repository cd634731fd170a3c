import Platform
import Primitives

/// Lets programs written by others drive the pure machines: `probe SUBCOMMAND [OPTION…]`.
@main
struct Main {
  static func main() {
    var arguments = ProbeInput.commandLine()
    let subcommand = arguments.isEmpty ? ByteString() : arguments.removeFirst()
    let input = ProbeInput(arguments: arguments)
    if subcommand == "frames" { return FramerProbe.run(input) }
    if subcommand == "topics" { return TopicsProbe.run(input) }
    if subcommand == "hpack" { return HPACKProbe.run() }
    if subcommand == "hpack-speed" { return HPACKSpeedProbe.run(arguments) }
    if subcommand == "http2-pipe" { return HTTP2Probe.run(arguments) }
    if subcommand == "post" { return PostProbe.run(input) }
    if subcommand == "toml-json" { return TOMLProbe.runJSON(input) }
    if subcommand == "configuration" { return TOMLProbe.runConfiguration(input) }
    if subcommand == "encode" { return EncodeProbe.run(input) }
    if subcommand == "json" { return FormatProbe.runJSON(input) }
    if subcommand == "wire" { return FormatProbe.runWire(input) }
    if subcommand == "ads" { return DiscoveryProbe.run(input) }
    if subcommand == "resource" { return ResourceProbe.run(arguments, input) }
    if subcommand == "cluster-scale" { return ScaleProbe.run(arguments, input) }
    if subcommand == "admin" { return AdminProbe.run(input) }
    if subcommand == "regex" { return RegexProbe.run() }
    if subcommand == "route" { return RouteProbe.run() }
    if subcommand == "route-speed" { return RouteSpeedProbe.run(arguments) }
    if subcommand == "mqtt-hold" { ProcessExit.exit(MQTTHoldProbe.run(arguments)) }
    if subcommand == "tls-line" { ProcessExit.exit(TLSLineProbe.run(arguments)) }
    if subcommand == "serial-hex" { ProcessExit.exit(SerialHexProbe.run(arguments)) }
    input.fail("unknown subcommand: " + subcommand.description)
  }
}
