import Primitives

/// Finds and reads the configuration: the main file, then `conf.d/*.toml` beside it in the order of
/// their names.
public enum ConfigurationFiles {
  /// One file, and all of them together at most this often.
  static let bytesMax = 256 * 1024
  static let filesMax = 64

  /// The main file first; a folder that is not there holds no file.
  public static func read(
    _ main: ByteString
  ) throws(FileError) -> [(name: ByteString, bytes: [UInt8])] {
    var files = [(name: main, bytes: try FileReader.contents(of: main, limit: bytesMax))]
    let directory = folder(of: main) + "conf.d"
    for name in try FileReader.names(in: directory, suffix: ".toml").prefix(filesMax) {
      let path = directory + "/" + name
      files.append((name: path, bytes: try FileReader.contents(of: path, limit: bytesMax)))
    }
    return files
  }

  /// With the slash at its end; empty for a bare name, which is the current folder.
  private static func folder(of path: ByteString) -> ByteString {
    guard let slash = path.bytes.lastIndex(of: UInt8(ascii: "/")) else { return ByteString() }
    return ByteString(Array(path.bytes[...slash]))
  }
}
