import Gateway
import Ingest
import Primitives

extension FuzzTarget {
  /// A text that is JSON is written again as JSON that means the same.
  static let json = FuzzTarget(
    "json",
    seeds: {
      [
        #"{"a":[1,-2.5e3,"x\u00e9\n",true,false,null,{"b":{}}],"c":""}"#,
        #"["\ud83d\ude00\ud83d"]"#,
        #"{"pools":[{"name":"a","limit":18446744073709551615}]}"#, " [ ] ", "0", "\"\u{7F}é\"",
      ].map(ascii)
    },
    check: { bytes in
      guard let value = JSONValue(parsing: bytes.span) else { return }
      let once = written(value)
      guard let again = JSONValue(parsing: once.span) else {
        throw Violation(description: "written and not read: \(hexadecimal(once))")
      }
      // What is not UTF-8 becomes U+FFFD once.
      try requireEqual(hexadecimal(written(again)), hexadecimal(once), "written twice")
      if String(validating: bytes, as: UTF8.self) != nil {
        try requireEqual(again, value, "the value")
      }
      _ = value.unsigned
      for cut in [bytes.count - 1, bytes.count / 2] where cut > 0 {
        _ = JSONValue(parsing: bytes.span.extracting(0..<cut))
      }
    })

  private static func written(_ value: JSONValue) -> [UInt8] {
    var writer = JSONWriter()
    write(value, to: &writer)
    return writer.bytes
  }

  private static func write(_ value: JSONValue, to writer: inout JSONWriter) {
    switch value {
    case .null: writer.null()
    case .bool(let flag): writer.bool(flag)
    case .number(let text): writer.raw(text.bytes.span)
    case .string(let text): writer.string(text)
    case .array(let elements):
      writer.beginArray()
      for element in elements { write(element, to: &writer) }
      writer.endArray()
    case .object(let members):
      writer.beginObject()
      for member in members {
        writer.key(named: member.name)
        write(member.value, to: &writer)
      }
      writer.endObject()
    }
  }

  /// A filter, a line feed, a topic: the match is what MQTT 3.1.1 §4.7 says, level by level.
  static let topic = FuzzTarget(
    "topic", longest: 512,
    seeds: {
      [
        "a/+/c\na/b/c", "#\na/b", "a/#\na", "+/+\n/b", "$SYS/#\n$SYS/x", "+/x\n$SYS/x", "a//+\na//",
        "$share/g/a/+\na/b", "a/b\na/b/", "/\n/",
      ].map(ascii)
    },
    check: { bytes in
      let end = bytes.firstIndex(of: 10) ?? bytes.count
      let filter = ByteString(Array(bytes[..<end]))
      let topic = Array(bytes[min(end + 1, bytes.count)...])
      guard TopicMap.problem(in: filter) == nil else { return }
      let map = TopicMap(filters: [filter, "no/such/filter", filter])
      let found = map.match(topic.span)
      let expected = matches(filter.bytes, topic) ? 0 : topic == ascii("no/such/filter") ? 1 : nil
      try requireEqual(found, expected, "\(hexadecimal(filter.bytes)) and \(hexadecimal(topic))")
    })

  private static func matches(_ filter: [UInt8], _ topic: [UInt8]) -> Bool {
    guard !topic.isEmpty else { return false }
    var levels = filter.split(separator: 0x2F, omittingEmptySubsequences: false).map(Array.init)
    if levels.count > 2, levels[0] == ascii("$share") { levels.removeFirst(2) }
    let parts = topic.split(separator: 0x2F, omittingEmptySubsequences: false).map(Array.init)
    if topic[0] == UInt8(ascii: "$"), levels[0] == ascii("+") || levels[0] == ascii("#") {
      return false
    }
    for (index, level) in levels.enumerated() {
      if level == ascii("#") { return true }
      guard index < parts.count, level == ascii("+") || level == parts[index] else { return false }
    }
    return levels.count == parts.count
  }

  /// Bytes to the admin endpoint: however they are cut, the same requests and the same answers; an
  /// error ends the connection; what is kept is bounded.
  static let admin = FuzzTarget(
    "admin", longest: 12_000,
    seeds: {
      let host = " HTTP/1.1\r\nHost: x\r\n"
      return [
        "GET /ready\(host)\r\n", "GET /stats?filter=a%2Eb&format=json&usedonly\(host)\r\n",
        "\r\n\nHEAD /a?x=1 HTTP/1.1\nhost: x\nconnection: close\n\n",
        "POST /logging\(host)Content-Length: 5\r\n\r\n12345GET /b\(host)\r\n",
        "GET http://h/stats/prometheus?filter=^a|b.*c$\(host)\r\n", "GET / HTTP/1.0\r\n\r\n",
        "POST /x\(host)Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
        "PUT /x\(host)\r\n", "GET /x\(host)Transfer-Encoding: chunked\r\n\r\n",
      ].map(ascii)
    },
    check: { bytes in
      var first: AdminRun?
      for cut in Cut.allCases {
        var run = AdminRun()
        for piece in cut.pieces(of: bytes) { try run.send(piece) }
        try run.finish()
        guard let first else {
          first = run
          continue
        }
        try requireEqual(run.requests, first.requests, "the requests, cut by \(cut)")
        // 100 Continue is for a body that is not there yet.
        guard !bytes.contains(UInt8(ascii: "-")) else { continue }
        try requireEqual(
          hexadecimal(run.output), hexadecimal(first.output), "the answers, cut by \(cut)")
      }
    })

  /// A pattern, a line feed, a name: found where a search that tries everything finds it.
  static let filter = FuzzTarget(
    "admin-filter", longest: 96,
    seeds: {
      ["^a.*b$\naxxb", "a|b.+c\nbxc", "\\.x\ny.x", ".*.*.*a\naaaa", "a.c$|^d\nabc", "|\n", "x"]
        .map(ascii)
    },
    check: { bytes in
      let end = bytes.firstIndex(of: 10) ?? bytes.count
      let pattern = Array(bytes[..<end])
      let name = Array(bytes[min(end + 1, bytes.count)...])
      let compiled = Result { () throws(NamePattern.Rejection) in try NamePattern(pattern.span) }
      switch compiled {
      case .success(let compiled):
        try requireEqual(
          compiled.matches(name.span), found(pattern, name),
          "\(hexadecimal(pattern)) in \(hexadecimal(name))")
      case .failure(let rejection):
        try require((0...pattern.count).contains(rejection.position), "a place outside of it")
      }
    })

  /// The slow way: the set of places that each alternative may have reached, byte by byte.
  private static func found(_ pattern: [UInt8], _ name: [UInt8]) -> Bool {
    var alternatives: [[[UInt8]]] = [[]]
    var index = 0
    while index < pattern.count {
      let next = index + 1 < pattern.count ? pattern[index + 1] : 0
      let isRepeated = pattern[index] == 0x2E && (next == 0x2A || next == 0x2B)
      let length = isRepeated || pattern[index] == 0x5C ? 2 : 1
      let token = Array(pattern[index..<min(index + length, pattern.count)])
      index += length
      if token == ascii("|") {
        alternatives.append([])
      } else {
        alternatives[alternatives.count - 1].append(token)
      }
    }
    return alternatives.contains { reaches($0, name) }
  }

  private static func reaches(_ tokens: [[UInt8]], _ name: [UInt8]) -> Bool {
    var places = Set(0...name.count)
    for token in tokens {
      if token == ascii("^") {
        places.formIntersection([0])
      } else if token == ascii("$") {
        places.formIntersection([name.count])
      } else if token.count == 2, token[0] == 0x2E {
        let least = token[1] == UInt8(ascii: "+") ? 1 : 0
        guard let start = places.min(), start + least <= name.count else { return false }
        places = Set((start + least)...name.count)
      } else {
        let byte = token.last
        let isAny = token == [0x2E]
        places = Set(
          places.filter { $0 < name.count && (isAny || name[$0] == byte) }.map { $0 + 1 })
      }
    }
    return !places.isEmpty
  }
}

/// The driver's part of one admin connection.
private struct AdminRun {
  var connection = AdminConnection(now: Instant(nanoseconds: 0))
  let now = Instant(nanoseconds: 0)
  var requests: [AdminRequest] = []
  var output: [UInt8] = []

  mutating func send(_ bytes: [UInt8]) throws {
    var offset = 0
    var turns = 0
    while true {
      while let request = connection.receive(bytes.span, from: &offset, now: now) {
        try answer(request)
        turns += 1
        try require(turns <= bytes.count + 600, "more requests than bytes")
      }
      let hasWritten = connection.hasOutput
      flush()
      if !hasWritten, offset == bytes.count { return }
      turns += 1
      try require(turns <= 2 * bytes.count + 600, "no progress")
    }
  }

  private mutating func answer(_ request: AdminRequest) throws {
    try require(!request.path.isEmpty, "an empty path")
    requests.append(request)
    switch StatisticsPage.Request.read(request) {
    case .refused(let page): connection.respond(page, now: now)
    case .accepted(let asked):
      var statistics = asked.statistics()
      statistics.add("spoke.stream.a.records_in", .counter, 7)
      statistics.add("cluster.a_b.upstream_rq_total", .counter, 0)
      statistics.add("spoke.memory.pool.used", .gauge, 1 << 40)
      connection.respond(asked.page(of: statistics), now: now)
    }
  }

  private mutating func flush() {
    while connection.hasOutput {
      let taken = connection.withOutput { span in
        output.append(contentsOf: span)
        return span.count
      }
      connection.consumeOutput(taken, now: now)
    }
  }

  /// The time runs out: it ends.
  mutating func finish() throws {
    try require(connection.inputRoom >= 0, "more input than room")
    guard let deadline = connection.nextDeadline() else { return }
    connection.handleTimeout(now: deadline)
    flush()
    try require(connection.wantsClose, "a connection that outlives its deadline")
  }
}
