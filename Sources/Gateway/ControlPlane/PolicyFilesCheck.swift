import Configuration
import Policy
import Primitives
import Protobuf
import XDS

/// `--check` of the files of `[xds] resources`.
public enum PolicyFilesCheck {
  /// `FILE: what is wrong`, for each thing that is.
  public static func complaints(
    _ configuration: Configuration, _ files: PolicyFiles
  ) -> [String] {
    guard let xds = configuration.xds else { return [] }
    var complaints: [String] = []
    for (name, bytes) in files.resources {
      let plane = ControlPlane(
        xds, node: configuration.node, settings: configuration.assemblerSettings, servers: [],
        storeBytes: configuration.memoryLimit(.resources), seed: 0, tlsFault: files.tlsFault)
      let file = name.description
      do throws(WireError) {
        let refused = try plane.assembler.client.loadStatic(bytes, wall: WallTime(nanoseconds: 0))
        if refused > 0 {
          complaints.append("\(file): \(refused) resources have no known type or no name")
        }
      } catch {
        complaints.append("\(file): not a DiscoveryResponse: \(ByteString(error.text).description)")
      }
      for fault in plane.assembler.faults() {
        let resource = "\(fault.type.word.description) \(fault.name.description)"
        complaints.append("\(file): \(resource): \(fault.text.description)")
      }
    }
    return complaints
  }
}
