import Configuration
import Gateway
import Platform
import Primitives

@main
struct Main {
  static func main() {
    StandardDescriptors.reserve()
    ProcessExit.exit(run())
  }

  private static func run() -> Int32 {
    let options: Options
    do throws(UsageError) {
      options = try Options(CommandLineArguments.read())
    } catch {
      complain("spoked: \(error.description)\nTry 'spoked --help'.")
      return ExitCode.usage
    }
    switch options.mode {
    case .help:
      StandardOutput.write(Options.help + "\n")
      return ExitCode.success
    case .version:
      StandardOutput.write("spoked \(ProjectVersion.text.description)\n")
      return ExitCode.success
    case .check: return check(options)
    case .run: return serve(options)
    }
  }

  /// Prints every error. A file that a start would read and cannot use is one, too.
  private static func check(_ options: Options) -> Int32 {
    guard let configuration = load(options) else { return ExitCode.configuration }
    TLSMemory.begin()
    TLSMemory.limit(to: configuration.memoryLimit(.tls))
    // Whether they fit into the memory shows only while they are all there.
    var contexts = TLSContexts()
    var faults = contexts.load(configuration)
    do throws(StartError) { _ = try Driver.planBroker(configuration) } catch {
      // A table that the broker uses has been tried already.
      let words = ByteString(error.description)
      if !faults.contains(where: { ByteString($0.description) == words }) { faults.append(error) }
    }
    let policy = Driver.readPolicy(configuration, withCache: false)
    faults += policy.faults
    let complaints =
      faults.map { $0.located(in: options.file) }
      + PolicyFilesCheck.complaints(configuration, policy.files)
    for complaint in complaints { complain(complaint) }
    return complaints.isEmpty ? ExitCode.success : ExitCode.configuration
  }

  private static func serve(_ options: Options) -> Int32 {
    guard let configuration = load(options) else { return ExitCode.configuration }
    MemoryUsage.tune()
    TLSMemory.begin()
    let driver: Driver
    do throws(StartError) {
      driver = try Driver(configuration: configuration, options: options)
    } catch {
      complain(error.located(in: options.file, otherwise: "spoked: "))
      return error.exitCode
    }
    do throws(StartError) {
      try driver.run()
    } catch {
      complain("spoked: \(error.description)")
      return error.exitCode
    }
    return ExitCode.success
  }

  private static func load(_ options: Options) -> Configuration? {
    do throws(FileError) {
      let files = try ConfigurationFiles.read(options.file)
      switch ConfigurationLoader.load(files: files) {
      case .valid(let configuration, let warnings):
        for warning in warnings { complain(warning.description) }
        return configuration
      case .invalid(let diagnostics):
        for diagnostic in diagnostics { complain(diagnostic.description) }
      }
    } catch {
      complain(error.description)
    }
    return nil
  }

  private static func complain(_ message: String) {
    StandardOutput.writeError(message + "\n")
  }
}
