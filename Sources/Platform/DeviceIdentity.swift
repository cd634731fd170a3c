import CLinux
import Primitives

/// Which device a name stands for at the moment.
enum DeviceIdentity {
  /// The device of an open descriptor, behind all symbolic links; empty when /proc is not there.
  static func path(of descriptor: Int32) -> ByteString {
    readLink(ByteString("/proc/self/fd/\(descriptor)")) ?? ByteString()
  }

  /// `VENDOR:PRODUCT:SERIAL` of the USB adapter behind a character device, as the kernel shows it
  /// below `root`; empty for what is no USB adapter. Two adapters of one make without serial numbers
  /// are the same to it.
  static func usb(major: Int32, minor: Int32, root: ByteString = "/sys/dev/char/") -> ByteString {
    let device = root + ByteString("\(major):\(minor)/device/")
    // The interface's parent is the adapter: one level up for ttyACM, two for ttyUSB.
    for parent: ByteString in ["../", "../../"] {
      guard let vendor = attribute(device + parent + "idVendor") else { continue }
      let product = attribute(device + parent + "idProduct") ?? ByteString()
      let serial = attribute(device + parent + "serial") ?? ByteString()
      return vendor + ":" + product + ":" + serial
    }
    return ByteString()
  }

  /// A line of sysfs; nil when there is none.
  private static func attribute(_ path: ByteString) -> ByteString? {
    do throws(FileError) {
      let text = try FileReader.contents(of: path, limit: 4_096)
      return ByteString(Array(text.prefix { $0 >= 0x20 && $0 != 0x7F }))
    } catch {
      return nil
    }
  }
}

/// The target of a symbolic link as it is written; nil for anything else.
func readLink(_ path: ByteString) -> ByteString? {
  var target = [UInt8](repeating: 0, count: 4_096)
  let room = target.count
  let count = path.withCString { name in
    target.withUnsafeMutableBytes {
      spoke_read_link(name, $0.baseAddress?.assumingMemoryBound(to: CChar.self), room)
    }
  }
  guard count > 0 else { return nil }
  target.removeLast(room - Int(count))
  return ByteString(target)
}
