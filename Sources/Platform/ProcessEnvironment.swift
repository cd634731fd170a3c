import CLinux
import Primitives

/// What the program was started with.
public enum CommandLineArguments {
  /// The words after the program's name.
  public static func read() -> [ByteString] {
    do throws(FileError) {
      let bytes = try FileReader.contents(of: "/proc/self/cmdline", limit: commandLineBytesMax)
      return Array(split(bytes).dropFirst())
    } catch {
      // Without /proc a program starts with its defaults.
      return []
    }
  }

  /// Each word ends with a NUL.
  static func split(_ bytes: [UInt8]) -> [ByteString] {
    var words: [ByteString] = []
    var word: [UInt8] = []
    for byte in bytes {
      if byte == 0 {
        words.append(ByteString(word))
        word = []
      } else {
        word.append(byte)
      }
    }
    if !word.isEmpty { words.append(ByteString(word)) }
    return words
  }
}

/// A longer one is no command line of ours.
private let commandLineBytesMax = 65_535

/// The environment that the program was started with.
public enum EnvironmentVariable {
  /// The variable's value; nil when it is not set.
  public static func value(_ name: StaticString) -> ByteString? {
    let text = name.withUTF8Buffer { bytes in
      bytes.withMemoryRebound(to: CChar.self) { spoke_environment($0.baseAddress) }
    }
    guard let text else { return nil }
    return ByteString(cString: text)
  }
}

/// The descriptors 0 to 2.
public enum StandardDescriptors {
  /// Takes the numbers that the program was started without: a file that is opened must not be taken for
  /// the standard output. To write there fails as before. Call it before anything else.
  public static func reserve() {
    var opened: Int32
    repeat { opened = spoke_open_read("/dev/null") } while (0...2).contains(opened)
    if opened >= 0 { _ = spoke_close(opened) }
  }
}

/// The end of the program.
public enum ProcessExit {
  /// Ends the program with this status.
  public static func exit(_ status: Int32) -> Never { spoke_exit(status) }
}

/// Randomness from the kernel, to seed the generators with.
public enum RandomSeed {
  /// Eight random bytes.
  public static func next() throws(SystemError) -> UInt64 {
    var seed: UInt64 = 0
    try check("getrandom", spoke_random(&seed, MemoryLayout<UInt64>.size))
    return seed
  }
}

/// The process's memory as the kernel sees it.
public enum MemoryUsage {
  /// VmRSS in bytes; 0 when `/proc` does not say.
  public static func residentBytes() -> UInt64 {
    let text: [UInt8]
    do throws(FileError) {
      text = try FileReader.contents(of: "/proc/self/statm", limit: 4_096)
    } catch { return 0 }
    // `size resident shared …` in pages (proc(5)).
    let words = text.split(separator: UInt8(ascii: " "))
    guard words.count > 1, let pages = decimalValue(Array(words[1])) else { return 0 }
    return pages * UInt64(spoke_page_size())
  }

  /// Keeps the allocator small: one arena for both threads, and free memory back to the system
  /// early. Call it before anything else.
  public static func tune() { spoke_tune_memory() }
}
