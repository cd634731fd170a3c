import Platform
import Primitives

@main
struct Main {
  static func main() {
    StandardDescriptors.reserve()
    SignalDescriptor.ignoreBrokenPipe()
    MemoryUsage.tune()
    ProcessExit.exit(run())
  }

  private static func run() -> Int32 {
    let options: Options
    do throws(UsageError) {
      options = try Options(CommandLineArguments.read())
    } catch {
      StandardOutput.writeError("spokectl: \(error.description)\nTry 'spokectl --help'.\n")
      return ExitCode.usage
    }
    switch options.command {
    case .help:
      return Output.print(Options.help)
    case .version:
      return Output.print("spokectl \(ProjectVersion.text.description)\n")
    case .check(let file):
      return Check.run(file)
    case .spool(let command):
      return command.run()
    case .status:
      return Daemon(socket: options.socket).run { daemon throws(DaemonError) in
        try Status.report(daemon, json: options.json)
      }
    case .resources:
      return Daemon(socket: options.socket).run { daemon throws(DaemonError) in
        try Resources.report(daemon, json: options.json)
      }
    case .failures:
      return Daemon(socket: options.socket).run { daemon throws(DaemonError) in
        try Failures.report(daemon, json: options.json)
      }
    case .route(let question):
      return Daemon(socket: options.socket).run { daemon throws(DaemonError) in
        try daemon.get(question.target(json: options.json))
      }
    case .get(let target):
      return Daemon(socket: options.socket).run { daemon throws(DaemonError) in
        try daemon.get(target)
      }
    }
  }
}
