import NetworkingCore
import Platform
import Policy
import Primitives
import XDS

/// `probe cluster-scale ROUNDS`: every line of hexadecimal digits is an EDS resource and becomes a cluster
/// of one snapshot, which a core takes. Then, ROUNDS times, the first resource is decoded anew and the
/// snapshot with it is taken. Prints the resident memory; the caller counts processor time.
enum ScaleProbe {
  static func run(_ arguments: [ByteString], _ input: ProbeInput) {
    guard arguments.count == 1 else { input.fail("usage: probe cluster-scale ROUNDS") }
    var rounds = 0
    for digit in arguments[0].bytes { rounds = rounds * 10 + Int(digit & 15) }
    var reader = ProbeIO()
    var first: [UInt8] = []
    var snapshot = PolicySnapshot()
    while let line = reader.readLine() {
      let bytes = Hex.decode(line)
      if first.isEmpty { first = bytes }
      snapshot.clusters.append(cluster(bytes, number: snapshot.clusters.count))
    }
    var core = NetworkingCore(seed: 1)
    var now = Instant(nanoseconds: 1)
    core.apply(snapshot, now: now)
    for round in 0..<(first.isEmpty ? 0 : rounds) {
      now = now + .seconds(1)
      var changed = cluster(first, number: 0)
      // Each time something is another: it is not taken for the same.
      changed.connectTimeout = .milliseconds(Int64(round % 1000 + 1))
      snapshot.clusters[0] = changed
      core.apply(snapshot, now: now)
    }
    print(
      "\(snapshot.clusters.count) clusters, \(core.clustersLeftOut) left out, \(residentKilobytes()) KiB"
    )
  }

  private static func residentKilobytes() -> Int {
    do throws(FileError) {
      let status = try FileReader.contents(of: "/proc/self/status", limit: 65_536)
      let field: [UInt8] = Array("VmRSS:".utf8)
      var number = 0
      for line in status.split(separator: 0x0A) where line.starts(with: field) {
        for byte in line where byte >= 0x30 && byte <= 0x39 {
          number = number * 10 + Int(byte & 15)
        }
      }
      return number
    } catch {
      ProbeIO.fail(error.description)
    }
  }

  private static func cluster(_ bytes: [UInt8], number: Int) -> Cluster {
    do throws(ResourceRejection) {
      let resource = try AssignmentResource.decode(bytes.span)
      return Cluster(
        name: ByteString("cluster-\(number)"), discovery: .endpoints(resource.assignment))
    } catch {
      ProbeIO.fail(error.text.description)
    }
  }
}
