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

  /// Everything that the configuration names. What cannot be read is a fault: the daemon starts all
  /// the same, because records are kept without a policy.
  static func readPolicy(
    _ configuration: Configuration, withCache: Bool
  ) -> (files: PolicyFiles, faults: [StartError]) {
    var files = PolicyFiles()
    files.tlsFault = { PolicyTLS.fault($0) }
    var faults: [StartError] = []
    func complain(_ reason: String, _ key: ByteString) {
      faults.append(StartError("xds: \(reason)", key: ["xds", key]))
    }
    guard let xds = configuration.xds else { return (files, []) }
    if !xds.resources.isEmpty {
      do throws(FileError) {
        files.resources = try ResourceFiles.read(in: xds.resources)
        if files.resources.isEmpty, xds.servers.isEmpty {
          complain("\(xds.resources.description): there is no file *.pb", "resources")
        }
      } catch {
        complain(error.description, "resources")
      }
    }
    guard withCache, !xds.cache.isEmpty, !xds.servers.isEmpty else { return (files, faults) }
    do throws(FileError) {
      files.cache = try ResourceFiles.readCache(in: xds.cache, limit: ResourceCache.bytesMax)
    } catch {
      // One that cannot be read is as good as one whose bytes are wrong.
      files.cache = []
      complain(error.description, "cache")
    }
    return (files, faults)
  }
}
