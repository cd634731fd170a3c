// The text format of Prometheus, version 0.0.4, with Envoy's names:
//
//    # TYPE envoy_cluster_upstream_rq_total counter
//    envoy_cluster_upstream_rq_total{envoy_cluster_name="ingest"} 42
//
// | statistic | metric |
// |---|---|
// | `cluster.NAME.rest` | `envoy_cluster_rest{envoy_cluster_name="NAME"}` |
// | `…rq_200`, `…rq_2xx` of it | `…rq{envoy_response_code="200",…}`, `…rq_xx{envoy_response_code_class="2",…}` |
// | `spoke.stream.NAME.rest` | `spoke_stream_rest{stream="NAME"}` |
// | `spoke.serial.NAME.rest` | `spoke_serial_rest{port="NAME"}` |
// | `spoke.memory.POOL.rest` | `spoke_memory_rest{pool="POOL"}` |
// | `spoke.rest` | `spoke_rest` |
// | any other | `envoy_` and the name |
//
// All samples of one metric stand together behind its TYPE line.

import Primitives

/// Renders `/stats/prometheus`.
enum PrometheusText {
  /// One sample, before it is written.
  private struct Sample {
    var metric: [UInt8]
    /// Without braces.
    var labels: [UInt8]
    var kind: Statistics.Kind
    var value: UInt64
  }

  static func page(_ statistics: borrowing Statistics) -> AdminPage {
    var samples: [Sample] = []
    samples.reserveCapacity(statistics.count)
    for entry in statistics.entries {
      samples.append(sample(statistics.bytes.span.extracting(entry.name), entry))
    }
    samples.heapSort { left, right in
      if left.metric == right.metric { return precedes(left.labels.span, right.labels.span) }
      return precedes(left.metric.span, right.metric.span)
    }
    var body: [UInt8] = []
    for index in samples.indices {
      if index == 0 || samples[index].metric != samples[index - 1].metric {
        appendType(samples[index], to: &body)
      }
      append(samples[index], to: &body)
    }
    return AdminPage(contentType: .prometheus, body: body)
  }

  private static func appendType(_ sample: Sample, to body: inout [UInt8]) {
    body.append(text: "# TYPE ")
    body.append(contentsOf: sample.metric)
    switch sample.kind {
    case .counter: body.append(text: " counter\n")
    case .gauge: body.append(text: " gauge\n")
    }
  }

  private static func append(_ sample: Sample, to body: inout [UInt8]) {
    body.append(contentsOf: sample.metric)
    if !sample.labels.isEmpty {
      body.append(UInt8(ascii: "{"))
      body.append(contentsOf: sample.labels)
      body.append(UInt8(ascii: "}"))
    }
    body.append(0x20)
    body.append(decimal: sample.value)
    body.append(0x0A)
  }

  // MARK: Names

  private static func sample(_ name: Span<UInt8>, _ entry: Statistics.Entry) -> Sample {
    var sample = Sample(metric: [], labels: [], kind: entry.kind, value: entry.value)
    guard let (scope, dot) = scope(of: name) else {
      if !starts(name, with: ours) { sample.metric.append(text: "envoy_") }
      appendSanitized(name, to: &sample.metric)
      return sample
    }
    let prefix = scope.prefix.count
    if scope.isCluster { sample.metric.append(text: "envoy_") }
    // The dot behind the prefix becomes the underscore before the rest.
    appendSanitized(name.extracting(0..<prefix), to: &sample.metric)
    switch scope.isCluster ? responseCode(name.extracting(dot..<name.count)) : .none {
    case .none:
      appendSanitized(name.extracting(dot + 1..<name.count), to: &sample.metric)
    case .code:
      appendSanitized(name.extracting(dot + 1..<name.count - 4), to: &sample.metric)
      appendLabel("envoy_response_code", name.extracting(last: 3), to: &sample.labels)
    case .codeClass:
      appendSanitized(name.extracting(dot + 1..<name.count - 3), to: &sample.metric)
      sample.metric.append(text: "xx")
      let digit = name.extracting(name.count - 3..<name.count - 2)
      appendLabel("envoy_response_code_class", digit, to: &sample.labels)
    }
    appendLabel(scope.label, name.extracting(prefix..<dot), to: &sample.labels)
    return sample
  }

  private enum ResponseCode {
    case none, code, codeClass
  }

  /// Whether the name ends with `_rq_200` or `_rq_2xx`.
  private static func responseCode(_ name: Span<UInt8>) -> ResponseCode {
    guard name.count > 7 else { return .none }
    let end = name.extracting(last: 7)
    guard equal(end.extracting(first: 4), requests.span), isDigit(end[4]) else { return .none }
    if isDigit(end[5]), isDigit(end[6]) { return .code }
    return end[5] == UInt8(ascii: "x") && end[6] == UInt8(ascii: "x") ? .codeClass : .none
  }

  private static func isDigit(_ byte: UInt8) -> Bool { byte >= 0x30 && byte <= 0x39 }

  private static func appendSanitized(_ name: Span<UInt8>, to output: inout [UInt8]) {
    for index in name.indices {
      switch name[index] {
      case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: output.append(name[index])
      default: output.append(UInt8(ascii: "_"))
      }
    }
  }

  /// Backslashes, quotes and line feeds are escaped; the format is UTF-8.
  private static func appendLabel(
    _ label: StaticString, _ value: Span<UInt8>, to output: inout [UInt8]
  ) {
    if !output.isEmpty { output.append(UInt8(ascii: ",")) }
    output.append(text: label)
    output.append(text: "=\"")
    var index = 0
    while index < value.count {
      var length = 1
      switch value[index] {
      case UInt8(ascii: "\\"): output.append(text: "\\\\")
      case UInt8(ascii: "\""): output.append(text: "\\\"")
      case UInt8(ascii: "\n"): output.append(text: "\\n")
      case 0x80...0xFF:
        let (count, isValid) = UTF8Sequence.scan(value, at: index)
        length = count
        if isValid {
          output.append(contentsOf: value.extracting(index..<index + count))
        } else {
          output.append(text: "\u{FFFD}")
        }
      default: output.append(value[index])
      }
      index += length
    }
    output.append(UInt8(ascii: "\""))
  }

  // MARK: Scopes

  /// Statistics of one named thing: the thing becomes a label.
  private struct Scope {
    var prefix: [UInt8]
    var label: StaticString
    var isCluster = false
  }

  /// The scope of a name, and the dot behind the name of the thing.
  private static func scope(of name: Span<UInt8>) -> (Scope, Int)? {
    for scope in scopes where starts(name, with: scope.prefix) {
      let start = scope.prefix.count
      let dot = scope.isCluster ? clusterNameEnd(name, from: start) : lastDot(name, from: start)
      if let dot { return (scope, dot) }
    }
    return nil
  }

  private static func starts(_ name: Span<UInt8>, with prefix: [UInt8]) -> Bool {
    name.count >= prefix.count && equal(name.extracting(first: prefix.count), prefix.span)
  }

  /// Our own statistics are single words; the name before them may have dots.
  private static func lastDot(_ name: Span<UInt8>, from start: Int) -> Int? {
    var index = name.count - 1
    while index > start {
      if name[index] == UInt8(ascii: ".") { return index }
      index -= 1
    }
    return nil
  }

  /// Envoy's rule is the first dot. A cluster here is often named after its host, which has dots, so
  /// the first dot counts that a statistic of a cluster follows.
  private static func clusterNameEnd(_ name: Span<UInt8>, from start: Int) -> Int? {
    var first: Int?
    var from = start + 1
    while let dot = firstIndex(of: UInt8(ascii: "."), in: name, from: from) {
      if first == nil { first = dot }
      let rest = name.extracting(dot + 1..<name.count)
      for root in clusterRoots where starts(rest, with: root) { return dot }
      from = dot + 1
    }
    return first
  }

  private static let ours: [UInt8] = Array("spoke.".utf8)
  private static let requests: [UInt8] = Array("_rq_".utf8)
  private static let scopes = [
    Scope(prefix: Array("cluster.".utf8), label: "envoy_cluster_name", isCluster: true),
    Scope(prefix: Array("spoke.stream.".utf8), label: "stream"),
    Scope(prefix: Array("spoke.serial.".utf8), label: "port"),
    Scope(prefix: Array("spoke.memory.".utf8), label: "pool"),
  ]

  /// How the statistics of Envoy's clusters begin.
  private static let clusterRoots: [[UInt8]] = [
    Array("upstream_".utf8), Array("outlier_detection.".utf8), Array("circuit_breakers.".utf8),
    Array("membership_".utf8), Array("lb_".utf8), Array("retry_".utf8), Array("update_".utf8),
    Array("assignment_".utf8), Array("bind_errors".utf8), Array("max_host_weight".utf8),
    Array("version".utf8), Array("warming_state".utf8), Array("default.".utf8),
    Array("http2.".utf8), Array("ssl.".utf8), Array("internal.".utf8), Array("external.".utf8),
    Array("health_check.".utf8), Array("zone.".utf8), Array("load_report".utf8),
  ]
}
