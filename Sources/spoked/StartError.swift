import Configuration
import Platform
import Primitives

/// Why the daemon could not start, or cannot go on, in words.
struct StartError: Error {
  let description: String
  let exitCode: Int32
  /// The key that it is about, from the outermost table in; empty: none.
  let key: [ByteString]

  init(_ description: String, exitCode: Int32 = ExitCode.software, key: [ByteString] = []) {
    self.description = description
    self.exitCode = exitCode
    self.key = key
  }

  /// `FILE:LINE:COLUMN: ` of the key in the files as they are now, and the words; `otherwise` stands in front
  /// of what has no place.
  func located(in file: ByteString, otherwise: String = "") -> String {
    var place = ""
    do throws(FileError) {
      if !key.isEmpty {
        place = ConfigurationLoader.place(of: key, in: try ConfigurationFiles.read(file))
      }
    } catch {
      // The words are what matters: files that cannot be read any more have no places.
    }
    return (place.isEmpty ? otherwise : place) + description
  }
}
