import Primitives
import Testing

@testable import Gateway

@Suite("a filter of statistics")
struct AdminNamePatternTests {
  private func matches(_ pattern: String, _ name: String) throws -> Bool {
    try NamePattern(Array(pattern.utf8).span).matches(Array(name.utf8).span)
  }

  @Test(
    "it is found anywhere, unless it is anchored",
    arguments: [
      ("", "", true), ("", "abc", true), ("b", "abc", true), ("d", "abc", false),
      ("^a", "abc", true), ("^b", "abc", false), ("c$", "abc", true), ("b$", "abc", false),
      ("^abc$", "abc", true), ("^abc$", "abcd", false), ("^$", "", true), ("^$", "a", false),
      ("a.c", "abc", true), ("a.c", "ac", false), ("a.*c", "ac", true), ("a.*c", "axxc", true),
      ("a.+c", "ac", false), ("a.+c", "abc", true), ("a\\.c", "abc", false),
      ("a\\.c", "a.c", true), ("x|b", "abc", true), ("x|y", "abc", false), ("|", "abc", true),
      ("^x|c$", "abc", true), ("^b|b$", "abc", false), ("a.*b.*c$", "a1b2cc", true),
      ("^a.*a$", "a", false), ("^a.*a$", "aa", true), ("^.*$", "", true), (".*", "", true),
      ("ab.*b$", "ab", false), ("^cluster\\..*_total$", "cluster.a.upstream_rq_total", true),
      ("a\\\\b", "a\\b", true), ("é", "café", true),
    ])
  func search(pattern: String, name: String, found: Bool) throws {
    #expect(try matches(pattern, name) == found)
  }

  @Test(
    "what is not in the subset is refused with its place",
    arguments: [
      ("a*", 1), ("a+b", 1), ("(a)", 0), ("a[0-9]", 1), ("ab?", 2), ("a{2}", 1), ("a^b", 1),
      ("a$b", 2), ("\\d", 0), ("a\\", 1), ("a.*?", 3), ("^*", 1), ("^^", 1),
    ])
  func refused(pattern: String, position: Int) throws {
    let error = #expect(throws: NamePattern.Rejection.self) { try matches(pattern, "a") }
    #expect(error?.position == position)
  }

  @Test("the longest pattern takes the time of its length, whatever the name")
  func time() throws {
    let pattern = String(repeating: "a.*", count: 170) + "b"
    #expect(try !matches(pattern, String(repeating: "a", count: 10_000)))
    #expect(throws: NamePattern.Rejection.self) {
      try matches(String(repeating: "a", count: 513), "a")
    }
  }
}

@Suite("the statistics pages")
struct AdminStatisticsTests {
  static let values: [(ByteString, Statistics.Kind, UInt64)] = [
    ("spoke.stream.state.records_in", .counter, 12),
    ("cluster.ingest.example.com_443.upstream_rq_total", .counter, 7),
    ("cluster.ingest.example.com_443.upstream_cx_active", .gauge, 0),
    ("cluster.b.upstream_rq_total", .counter, 3),
    ("server.live", .gauge, 1),
  ]

  private func page(
    _ target: String, _ values: [(ByteString, Statistics.Kind, UInt64)] = values
  ) throws -> AdminPage {
    let (path, query) = try AdminTarget.parse(Array(target.utf8).span)
    let request = AdminRequest(method: .get, path: path, query: query)
    switch StatisticsPage.Request.read(request) {
    case .refused(let page): return page
    case .accepted(let asked):
      var statistics = asked.statistics()
      for (name, kind, value) in values { statistics.add(named: name, kind, value) }
      return asked.page(of: statistics)
    }
  }

  private func text(_ target: String) throws -> String {
    String(decoding: try page(target).body, as: UTF8.self)
  }

  @Test("text has a line for each, sorted by name")
  func text() throws {
    #expect(
      try text("/stats") == """
        cluster.b.upstream_rq_total: 3
        cluster.ingest.example.com_443.upstream_cx_active: 0
        cluster.ingest.example.com_443.upstream_rq_total: 7
        server.live: 1
        spoke.stream.state.records_in: 12

        """)
    #expect(try text("/stats?format=text&unknown") == text("/stats"))
  }

  @Test("filter, usedonly and type leave out, also together")
  func parameters() throws {
    #expect(try text("/stats?filter=^server%5C.") == "server.live: 1\n")
    #expect(
      try text("/stats?usedonly&filter=443")
        == "cluster.ingest.example.com_443.upstream_rq_total: 7\n")
    #expect(try text("/stats?type=Gauges&usedonly") == "server.live: 1\n")
    #expect(
      try text("/stats?type=Counters&filter=b.upstream") == "cluster.b.upstream_rq_total: 3\n")
  }

  @Test("JSON has Envoy's form")
  func json() throws {
    let page = try page("/stats?format=json&filter=live")
    #expect(page.contentType == .json)
    #expect(page.body == Array(#"{"stats":[{"name":"server.live","value":1}]}"#.utf8))
    #expect(try text("/stats?format=json&filter=nothing") == #"{"stats":[]}"#)
  }

  @Test("Prometheus has Envoy's names, and labels for what is named")
  func prometheus() throws {
    #expect(
      try text("/stats/prometheus") == """
        # TYPE envoy_cluster_upstream_cx_active gauge
        envoy_cluster_upstream_cx_active{envoy_cluster_name="ingest.example.com_443"} 0
        # TYPE envoy_cluster_upstream_rq_total counter
        envoy_cluster_upstream_rq_total{envoy_cluster_name="b"} 3
        envoy_cluster_upstream_rq_total{envoy_cluster_name="ingest.example.com_443"} 7
        # TYPE envoy_server_live gauge
        envoy_server_live 1
        # TYPE spoke_stream_records_in counter
        spoke_stream_records_in{stream="state"} 12

        """)
    #expect(try text("/stats?format=prometheus") == text("/stats/prometheus"))
  }

  @Test(
    "each kind of name becomes its metric",
    arguments: [
      (
        "cluster.a.outlier_detection.ejections_active",
        #"envoy_cluster_outlier_detection_ejections_active{envoy_cluster_name="a"}"#
      ),
      ("cluster.a.version", #"envoy_cluster_version{envoy_cluster_name="a"}"#),
      ("cluster.a.b.something.new", #"envoy_cluster_b_something_new{envoy_cluster_name="a"}"#),
      (
        "cluster.a.upstream_rq_503",
        #"envoy_cluster_upstream_rq{envoy_response_code="503",envoy_cluster_name="a"}"#
      ),
      (
        "cluster.a.upstream_rq_5xx",
        #"envoy_cluster_upstream_rq_xx{envoy_response_code_class="5",envoy_cluster_name="a"}"#
      ),
      ("cluster.manager", "envoy_cluster_manager"), ("cluster.", "envoy_cluster_"),
      ("control_plane.connected_state", "envoy_control_plane_connected_state"),
      ("spoke.serial.ecu.bad_frames", #"spoke_serial_bad_frames{port="ecu"}"#),
      ("spoke.memory.http2.high", #"spoke_memory_high{pool="http2"}"#),
      ("spoke.stream.a.b.held", #"spoke_stream_held{stream="a.b"}"#),
      ("spoke.stream.a\"\\\n.held", #"spoke_stream_held{stream="a\"\\\n"}"#),
      ("spoke.mqtt.connected", "spoke_mqtt_connected"),
      ("listener_manager.lds.update_success", "envoy_listener_manager_lds_update_success"),
    ])
  func metrics(name: String, metric: String) throws {
    let page = try page("/stats/prometheus", [(ByteString(name), .counter, 1)])
    let lines = String(decoding: page.body, as: UTF8.self).split(separator: "\n")
    #expect(lines.last == "\(metric) 1")
  }

  @Test("a wrong parameter is 400 with what is right")
  func wrong() throws {
    #expect(try page("/stats?format=xml").status == 400)
    #expect(try text("/stats?format=xml") == "usage: /stats?format=(text|json|prometheus)\n")
    #expect(try page("/stats?type=x").status == 400)
    #expect(
      try text("/stats?filter=(a)")
        == "filter: unsupported syntax at position 0: only . .* .+ ^ $ | and \\ are special\n")
  }

  @Test("more statistics than a page holds is an error, and a filter makes room")
  func overfull() throws {
    let many = (0...Statistics.countMax).map {
      (ByteString("s.\($0)"), Statistics.Kind.gauge, UInt64($0))
    }
    #expect(try page("/stats", many).status == 500)
    #expect(try page("/stats?filter=7$", many).status == 200)
  }
}
