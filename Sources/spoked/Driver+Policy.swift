import Configuration
import Gateway
import Platform
import Policy
import Primitives
import XDS

/// The files of a control plane's resources.
extension Driver {
  func writeCache(_ bytes: [UInt8]) {
    guard let directory = configuration.xds?.cache else { return }
    do throws(FileError) {
      try ResourceFiles.writeCache(bytes, in: directory)
    } catch {
      gateway.cacheFailed(error.description, clocks: clocks)
    }
  }

  func setCacheAside() {
    guard let directory = configuration.xds?.cache else { return }
    do throws(FileError) {
      try ResourceFiles.setCacheAside(in: directory)
    } catch {
      log(.warning, "xds: \(error.description)")
    }
  }

  /// Everything that the configuration names. What cannot be read is a complaint: the daemon starts all
  /// the same, because records are kept without a policy.
  static func readPolicy(
    _ configuration: Configuration, withCache: Bool
  ) -> (files: PolicyFiles, complaints: [String]) {
    var files = PolicyFiles()
    files.tlsFault = { PolicyTLS.fault($0) }
    var complaints: [String] = []
    guard let xds = configuration.xds else { return (files, []) }
    if !xds.resources.isEmpty {
      do throws(FileError) {
        files.resources = try ResourceFiles.read(in: xds.resources)
        if files.resources.isEmpty, xds.servers.isEmpty {
          complaints.append("xds: \(xds.resources.description): there is no file *.pb")
        }
      } catch {
        complaints.append("xds: \(error.description)")
      }
    }
    guard withCache, !xds.cache.isEmpty, !xds.servers.isEmpty else { return (files, complaints) }
    do throws(FileError) {
      files.cache = try ResourceFiles.readCache(in: xds.cache, limit: ResourceCache.bytesMax)
    } catch {
      // One that cannot be read is as good as one whose bytes are wrong.
      files.cache = []
      complaints.append("xds: \(error.description)")
    }
    return (files, complaints)
  }
}
