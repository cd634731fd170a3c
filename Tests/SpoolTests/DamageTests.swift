import Primitives
import TestSupport
import Testing

@testable import Spool

/// A small spool of a few segments in two classes and what it holds. Small: each of its bytes is damaged once, and each time
/// the whole of it is read.
struct Sample {
  let disk: CrashingDisk
  let streams = Rig.defaultStreams
  var limits = Rig.smallLimits
  /// By stream: payloads, number 1 first.
  var payloads: [[[UInt8]]] = [[], []]
  let epoch: UInt64

  init() {
    disk = CrashingDisk()
    limits.segmentBytes = 480
    let rig = Rig(disk, limits: limits)
    while rig.disk.names.count < 4 {
      for stream in [0, 1, 0] {
        let payload = Rig.payload(payloads[stream].count, 12)
        payloads[stream].append(payload)
        rig.append(stream, payload)
      }
      rig.commit()
    }
    rig.close()
    epoch = rig.epoch
  }

  /// Opens a damaged copy. Whatever is missing must be covered by reports, and nothing may be wrong.
  /// Returns how many records are missing.
  func check(_ damaged: CrashingDisk, _ what: String) -> Int {
    let rig = Rig(damaged, streams: streams, limits: limits, seed: 99)
    var missing = 0
    var delivered: [[UInt64]] = [[], []]
    for stream in 0...1 {
      while let record = rig.next(stream) {
        let index = Int(record.sequence) - 1
        guard record.epoch == epoch, payloads[stream].indices.contains(index),
          record.payload == payloads[stream][index]
        else {
          Issue.record("\(what): stream \(stream) delivered a wrong record \(record.sequence)")
          return -1
        }
        delivered[stream].append(record.sequence)
      }
    }
    let gaps = rig.gaps()
    for stream in 0...1 {
      if delivered[stream] != delivered[stream].sorted() {
        Issue.record("\(what): stream \(stream) out of order")
      }
      for number in 1...UInt64(payloads[stream].count)
      where !delivered[stream].contains(number) {
        missing += 1
        let isReported = gaps.contains {
          $0.streamIndex == stream && $0.first <= number && number <= $0.last
            && $0.reason == .corrupt
        }
        if !isReported { Issue.record("\(what): \(stream)/\(number) lost without a report") }
      }
    }
    // It works on.
    guard case .taken(let sequence) = rig.append(1, [1, 2, 3]) else {
      Issue.record("\(what): does not take a record")
      return missing
    }
    rig.commit()
    if rig.next(1)?.sequence != sequence { Issue.record("\(what): does not deliver a new record") }
    return missing
  }

  /// Where damage to a file is looked for: each byte of a segment; of the cursor each byte of its two slots, and
  /// both ends of the zeros behind each.
  func places(_ file: StorageFile, _ bytes: [UInt8]) -> [Int] {
    guard file == .cursor else { return Array(bytes.indices) }
    var places: [Int] = []
    for slot in stride(from: 0, to: bytes.count, by: Int(cursorSlotStride)) {
      // A header of 32 bytes, which has the length of what follows, and the check behind that.
      let length: UInt32 = littleEndian(bytes.span, at: slot + 12)
      let end = slot + 32 + Int(length) + 4
      places += slot...end
      places += [slot + 4_095, slot + 4_096, slot + Int(cursorSlotStride) - 1]
    }
    return places.filter { $0 < bytes.count }
  }

  /// The most records that one frame holds.
  var frameRecords: Int { 3 }
}

/// The frames of a segment: where each ends, and how many records it has.
struct Frames {
  var frames: [(end: Int, records: Int)] = []

  init(of bytes: [UInt8]) {
    guard let segment = SegmentHeader(parsing: bytes.span) else { return }
    var offset = segmentHeaderBytes
    while let header = FrameHeader(parsing: bytes.span, at: offset, segment: segment) {
      offset += header.frameBytes
      frames.append((offset, header.isSeal ? 0 : Int(header.records)))
    }
  }

  /// The records of the frames that a file of so many bytes does not hold whole.
  func recordsBehind(_ count: Int) -> Int {
    frames.reduce(0) { $0 + ($1.end > count ? $1.records : 0) }
  }
}

@Suite("Damage")
struct DamageTests {
  let sample = Sample()

  @Test("an undamaged spool delivers everything")
  func undamaged() {
    #expect(sample.disk.names.count >= 4)
    #expect(sample.check(sample.disk.copy(), "undamaged") == 0)
    // Segments that have ended have frames in front, in the middle and at the end; the cursor has two slots.
    let segments = sample.disk.names.filter { $0 != .cursor }
    let counts = segments.map { file in
      Frames(of: sample.disk.bytes(file)).frames.count { $0.records > 0 }
    }
    #expect(counts.count { $0 > 2 } > 1, "frames: \(counts)")
    #expect(sample.disk.bytes(.cursor).count > Int(cursorSlotStride))
  }

  @Test("every byte flip opens, loses at most the frame it hits, and reports what is lost")
  func flips() {
    for file in sample.disk.names {
      let bytes = sample.disk.bytes(file)
      for offset in sample.places(file, bytes) {
        let disk = sample.disk.copy()
        var damaged = bytes
        damaged[offset] ^= 1 << UInt8(offset % 8)
        disk.replace(file, damaged)
        let missing = sample.check(disk, "flip \(file) at \(offset)")
        // Behind a header that is damaged everything is lost.
        let most =
          file == .cursor ? 0 : offset < segmentHeaderBytes ? Int.max : sample.frameRecords
        if missing > most { Issue.record("flip \(file) at \(offset): \(missing) are missing") }
      }
    }
  }

  @Test("every truncation opens, delivers the frames before it, and reports the rest")
  func truncations() {
    for file in sample.disk.names {
      let bytes = sample.disk.bytes(file)
      let frames = Frames(of: bytes)
      for count in sample.places(file, bytes) {
        let disk = sample.disk.copy()
        disk.replace(file, Array(bytes[0..<count]))
        let missing = sample.check(disk, "truncate \(file) to \(count)")
        if missing > frames.recordsBehind(count) {
          Issue.record("truncate \(file) to \(count): \(missing) are missing")
        }
      }
    }
  }

  @Test(
    "both cursor slots damaged: everything comes again, under its own epoch, new ones under another"
  )
  func cursorLost() {
    let disk = sample.disk.copy()
    disk.replace(.cursor, disk.bytes(.cursor).map { $0 ^ 0x55 })
    #expect(sample.check(disk, "cursor") == 0)
    let rig = Rig(disk, streams: sample.streams, limits: sample.limits, seed: 3)
    #expect(rig.epoch != sample.epoch)
    let other = sample.disk.copy()
    other.delete(.cursor)
    #expect(sample.check(other, "no cursor") == 0)
  }

  @Test("a cursor slot that is torn leaves the other one, and no number is used twice")
  func cursorTorn() {
    for slot in 0...1 {
      let disk = sample.disk.copy()
      var bytes = disk.bytes(.cursor)
      bytes[slot * Int(cursorSlotStride) + 40] ^= 1
      disk.replace(.cursor, bytes)
      let rig = Rig(disk, streams: sample.streams, limits: sample.limits, seed: 3)
      #expect(rig.epoch != sample.epoch)
      #expect(rig.statistics.damagedCursors == 1)
    }
  }

  @Test("a file without a valid header goes to quarantine")
  func quarantine() {
    let disk = sample.disk.copy()
    let file = sample.disk.names[0]
    disk.replace(file, Array(repeating: 7, count: 500))
    let rig = Rig(disk, streams: sample.streams, limits: sample.limits, seed: 3)
    #expect(rig.reports().contains(.quarantined(file)))
    #expect(disk.quarantined == [file])
  }

  @Test("bytes of another segment never pass for frames")
  func stale() {
    let disk = sample.disk.copy()
    let segments = disk.names.filter { $0 != .cursor }
    // The frames of the first behind the header of the second, as in a recycled file.
    var bytes = Array(disk.bytes(segments[1])[0..<segmentHeaderBytes])
    bytes += disk.bytes(segments[0])[segmentHeaderBytes...]
    disk.replace(segments[1], bytes)
    #expect(sample.check(disk, "recycled") > 0)
  }
}
