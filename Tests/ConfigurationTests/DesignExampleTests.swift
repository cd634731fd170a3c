import Configuration
import Ingest
import Primitives
import Testing

@Suite("The whole configuration")
struct DesignExampleTests {
  static let example = """
    [node]                                  # becomes the xDS Node, and the prefix of every record id
    id = "scooter-0042"
    cluster = "scooters"
    locality = { region = "eu", zone = "eu-west-1a" }
    metadata = { hardware = "rev-c", link = "cellular" }

    [memory]
    budget = "6MiB"                         # hard sum of every pool the daemon accounts for

    [spool]
    directory = "/var/lib/spoke/spool"
    size = "48MiB"                          # hard cap on disk
    segment = "256KiB"
    free_floor = "8MiB"                     # never fill the file system below this
    commit = { bytes = "64KiB", interval = "30s", sync_interval = "50ms" }

    [xds]
    servers = ["https://xds.example.com:443"]   # primary first, then fallbacks; http:// is h2c
    transport = "sotw"                      # or "delta"
    tls = "fleet"
    cache = "/var/lib/spoke/xds"            # last good resources, used at boot
    fetch_timeout = "15s"
    runtime = ["runtime"]                   # RTDS layers to subscribe to, later ones win
    resources = "/etc/spoke/xds.d"          # optional: static resources, *.pb files

    [tls.fleet]
    ca = "/etc/spoke/ca.pem"                # omitted: the system's roots
    certificate = "/etc/spoke/device.pem"
    key = "/etc/spoke/device.key"           # a file, or any OSSL_STORE URI (pkcs11:…, handle:…)
    minimum = "1.2"

    [[serial]]
    name = "ecu"
    device = "/dev/serial/by-path/platform-1.uart"
    baud = 115200
    framing = "nmea"
    stream = "gnss"

    [mqtt]
    broker = "mqtt://127.0.0.1:1883"        # or mqtts:// with tls = "name"
    client_id = "spoke-scooter-0042"        # default: spoke-<node.id>
    [[mqtt.subscribe]]
    filter = "telemetry/+/state"
    qos = 1                                 # 0 or 1; 2 is refused with the reason
    stream = "state"

    [[stream]]                              # an uplink
    name = "state"
    target = "xds:///ingest.example.com"
    path = "/v1/state"
    content_type = "application/json"
    encoding = "cloudevents"
    priority = "telemetry"                  # alarm | event | telemetry | bulk
    durability = "spill"
    ttl = "24h"
    batch = { records = 1, bytes = "64KiB", linger = "0ms" }
    in_flight = 1                           # requests of this stream at once
    tls = "fleet"                           # for https targets outside xDS
    headers = { "x-tenant" = "berlin" }
    authority = "ingest.example.com"        # default: the target's name; picks the virtual host

    [[stream]]
    name = "gnss"
    target = "http://[::1]:8080"
    path = "/v1/gnss"

    [[stream]]
    name = "health"
    target = "https://Ingest.Example.com:8443"
    path = "/v1/health?source=board"
    priority = "event"
    durability = "sync"
    order = "strict"

    [reports]
    stream = "health"                       # the daemon's own events become records of this stream

    [admin]
    socket = "/run/spoke/admin.sock"
    listen = "127.0.0.1:9901"               # optional, off unless set

    [log]
    level = "info"
    """

  @Test("the example of the design is read as it is meant")
  func example() throws {
    let read = try configuration(Self.example)
    var node = NodeConfiguration(id: "scooter-0042")
    node.cluster = "scooters"
    node.region = "eu"
    node.zone = "eu-west-1a"
    node.metadata = [
      Label(name: "hardware", value: "rev-c"), Label(name: "link", value: "cellular"),
    ]
    #expect(read.node == node)
    #expect(read.memory.budget == 6 * 1024 * 1024)
    #expect(read.spool == SpoolConfiguration())

    var tls = TLSConfiguration(name: "fleet")
    tls.ca = "/etc/spoke/ca.pem"
    tls.certificate = "/etc/spoke/device.pem"
    tls.key = "/etc/spoke/device.key"
    #expect(read.tls == [tls])

    var xds = XDSConfiguration()
    xds.servers = [HostConfiguration(isTLS: true, host: "xds.example.com", port: 443, tls: 0)]
    xds.resources = "/etc/spoke/xds.d"
    #expect(read.xds == xds)
    #expect(xds.cache == "/var/lib/spoke/xds" && xds.fetchTimeout == .seconds(15))
    #expect(xds.runtime == ["runtime"] && xds.transport == .stateOfTheWorld && !xds.keepDeleted)

    #expect(
      read.serial == [
        SerialConfiguration(
          name: "ecu", device: "/dev/serial/by-path/platform-1.uart", baud: 115200, framing: .nmea,
          stream: 1)
      ])
    var mqtt = MQTTConfiguration(host: "127.0.0.1", port: 1883, clientID: "spoke-scooter-0042")
    mqtt.subscriptions = [MQTTSubscription(filter: "telemetry/+/state", stream: 0)]
    #expect(read.mqtt == mqtt)
    #expect(read.reports == 2)
    #expect(read.admin.socket == "/run/spoke/admin.sock")
    #expect(read.admin.listen == ListenConfiguration(host: "127.0.0.1", port: 9901))
    #expect(read.log == .info)
  }

  @Test("the streams of the example have their targets, classes and authorities")
  func exampleStreams() throws {
    let streams = try configuration(Self.example).streams
    var state = StreamConfiguration(
      name: "state", target: .listener("ingest.example.com"), path: "/v1/state")
    state.contentType = "application/json"
    state.ttl = .seconds(86_400)
    state.headers = [Label(name: "x-tenant", value: "berlin")]
    #expect(streams[0] == state)
    #expect(streams[0].authority == "ingest.example.com")

    let gnss = StreamConfiguration(
      name: "gnss", target: .host(HostConfiguration(isTLS: false, host: "::1", port: 8080)),
      path: "/v1/gnss")
    #expect(streams[1] == gnss)
    #expect(streams[1].authority == "[::1]:8080")

    #expect(
      streams[2].target
        == .host(HostConfiguration(isTLS: true, host: "ingest.example.com", port: 8443, tls: nil)))
    #expect(streams[2].authority == "ingest.example.com:8443")
    #expect(streams[2].priority == .event)
    #expect(streams[2].durability == .sync)
  }

  @Test("a file with only a node id has every default")
  func defaults() throws {
    let read = try configuration("node.id = 'n'")
    #expect(read == Configuration(node: NodeConfiguration(id: "n")))
    #expect(read.spool.directory == "/var/lib/spoke/spool")
    #expect(read.spool.size == 48 << 20)
    #expect(read.spool.commitInterval == .seconds(30))
    #expect(!read.spool.thin)
    #expect(read.admin.socket == "/run/spoke/admin.sock")
    #expect(read.admin.listen == nil)
  }

  @Test("old telemetry is thinned when the file says so; to change that takes a restart")
  func thinning() throws {
    let read = try configuration("node.id = 'n'\nspool = { thin = true, size = '2MiB' }")
    #expect(read.spool.thin)
    var other = try configuration("node.id = 'n'\nspool = { thin = false, size = '2MiB' }")
    #expect(!other.spool.thin)
    #expect(other.keepWhatNeedsRestart(of: read) == ["[spool]"])
    #expect(other.spool.thin)
  }

  @Test("two files that mean the same are equal")
  func equality() throws {
    let one = try configuration(Self.example)
    let other = try configuration(
      "# another comment\n"
        + Self.example.replacing("\"48MiB\"", with: "\"49152KiB\"")
        .replacing("ttl = \"24h\"", with: "ttl = '1d'"))
    #expect(one == other)
    let third = try configuration(Self.example.replacing("\"48MiB\"", with: "\"49MiB\""))
    #expect(one != third)
  }

  @Test("the example of the design is valid from any line end and in any split over files")
  func splits() throws {
    let whole = try configuration(Self.example)
    #expect(try configuration(Self.example.replacing("\n", with: "\r\n")) == whole)
    let lines = Self.example.split(separator: "\n", omittingEmptySubsequences: false)
    for at in lines.indices where lines[at].hasPrefix("[") && !lines[at].hasPrefix("[[mqtt") {
      let outcome = load(files: [
        ("spoke.toml", lines[..<at].joined(separator: "\n")),
        ("conf.d/10.toml", lines[at...].joined(separator: "\n")),
      ])
      guard case .valid(let merged, _) = outcome else {
        Issue.record("split before \(lines[at])")
        continue
      }
      #expect(merged == whole)
    }
  }

  @Test("every cut of the example ends in an answer, never in a trap")
  func cuts() {
    let bytes = Array(Self.example.utf8)
    for count in stride(from: 0, to: bytes.count, by: 3) {
      _ = ConfigurationLoader.load(files: [(name: "cut", bytes: Array(bytes[..<count]))])
    }
  }
}
