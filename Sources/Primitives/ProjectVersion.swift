/// The version of every program of the project.
public enum ProjectVersion {
  /// As `--version` prints it behind the program's name.
  public static let text: ByteString = "0.1.0"
}
