import Platform
import Primitives

@main
struct Main {
  static func main() {
    do throws(UsageError) {
      let options = try Options(CommandLineArguments.read())
      switch options.mode {
      case .help: StandardOutput.write(Help.text + "\n")
      case .version: StandardOutput.write("board-emulator \(ProjectVersion.text.description)\n")
      case .play: run(options)
      }
    } catch {
      StandardOutput.writeError("board-emulator: \(error.message)\n\(Help.usage)\n")
      ProcessExit.exit(64)
    }
  }

  private static func run(_ options: Options) {
    do throws(SystemError) {
      let source: FrameSource
      do throws(FileError) {
        source = try FrameSource(options)
      } catch {
        StandardOutput.writeError("board-emulator: \(error.description)\n")
        ProcessExit.exit(64)
      }
      var player = try Player(options, source, signals: try SignalDescriptor())
      StandardOutput.write(player.path.description + "\n")
      try player.run()
      report(player.summary)
    } catch {
      StandardOutput.writeError("board-emulator: \(error.description)\n")
      ProcessExit.exit(70)
    }
  }

  private static func report(_ summary: Player.Summary) {
    var text =
      "sent \(summary.frames) frames, cut \(summary.cut.count), "
      + "noise bytes \(summary.noiseBytes), hang-ups \(summary.hangUps)\n"
    if !summary.cut.isEmpty {
      text += "cut:"
      for number in summary.cut { text += " \(number)" }
      text += "\n"
    }
    StandardOutput.writeError(text)
  }
}
