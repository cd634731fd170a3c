import Primitives

/// `/stats` and `/stats/prometheus`, in Envoy's formats and with its parameters:
///
///     filter=PATTERN      only the names in which the pattern is found (`NamePattern`)
///     usedonly            only what is not 0
///     type=All|Counters|Gauges
///     format=text|json|prometheus
///
/// The page is made in two steps, because only the caller can walk through the statistics:
///
///     switch StatisticsPage.Request.read(request) {
///     case .refused(let page): respond(page)
///     case .accepted(let asked):
///       var statistics = asked.statistics()
///       statistics.add("server.live", .gauge, 1)
///       respond(asked.page(of: statistics))
///     }
public enum StatisticsPage {
  enum Format: Sendable {
    case text, json, prometheus
  }

  /// What the query says.
  public enum Reading: Sendable {
    case accepted(Request)
    case refused(AdminPage)
  }

  /// What is asked for.
  public struct Request: Sendable {
    private var format = Format.text
    private var filter: NamePattern?
    private var usedOnly = false
    private var kind: Statistics.Kind?

    private init() {}

    /// Reads the path (`/stats` or `/stats/prometheus`) and the parameters; unknown ones are passed
    /// over, as Envoy does.
    public static func read(_ request: AdminRequest) -> Reading {
      var asked = Request()
      for parameter in request.query {
        if let refusal = asked.take(parameter) {
          return .refused(AdminPage(status: 400, line: refusal))
        }
      }
      if request.path == "/stats/prometheus" { asked.format = .prometheus }
      return .accepted(asked)
    }

    /// An empty collection that keeps what is asked for.
    public func statistics() -> Statistics {
      Statistics(filter: filter, usedOnly: usedOnly)
    }

    /// The page.
    public func page(of statistics: consuming Statistics) -> AdminPage {
      guard !statistics.isOverfull else {
        return AdminPage(
          status: 500,
          line: "more than \(Statistics.countMax) statistics: use ?filter= to ask for some")
      }
      if let kind { statistics.keep(kind) }
      statistics.sort()
      switch format {
      case .text: return StatisticsPage.text(statistics)
      case .json: return StatisticsPage.json(statistics)
      case .prometheus: return PrometheusText.page(statistics)
      }
    }

    /// A refusal, or nil.
    private mutating func take(_ parameter: AdminRequest.Parameter) -> String? {
      if parameter.name == "usedonly" {
        usedOnly = true
      } else if parameter.name == "filter" {
        do throws(NamePattern.Rejection) {
          filter = try NamePattern(parameter.value.bytes.span)
        } catch {
          return error.description
        }
      } else if parameter.name == "format" {
        return take(format: parameter.value)
      } else if parameter.name == "type" {
        return take(type: parameter.value)
      }
      return nil
    }

    private mutating func take(format name: ByteString) -> String? {
      if name == "text" || name.isEmpty {
        format = .text
      } else if name == "json" {
        format = .json
      } else if name == "prometheus" {
        format = .prometheus
      } else {
        return "usage: /stats?format=(text|json|prometheus)"
      }
      return nil
    }

    private mutating func take(type name: ByteString) -> String? {
      if name == "All" {
        kind = nil
      } else if name == "Counters" {
        kind = .counter
      } else if name == "Gauges" {
        kind = .gauge
      } else {
        return "usage: /stats?type=(All|Counters|Gauges)"
      }
      return nil
    }
  }

  /// `name: value`, sorted by name.
  private static func text(_ statistics: borrowing Statistics) -> AdminPage {
    var body: [UInt8] = []
    body.reserveCapacity(statistics.bytes.count + 16 * statistics.count)
    for entry in statistics.entries {
      body.append(contentsOf: statistics.bytes.span.extracting(entry.name))
      body.append(text: ": ")
      body.append(decimal: entry.value)
      body.append(0x0A)
    }
    return AdminPage(body: body)
  }

  /// `{"stats":[{"name":…,"value":…}]}`
  private static func json(_ statistics: borrowing Statistics) -> AdminPage {
    var json = JSONWriter(limit: AdminLimits.pageMax)
    json.beginObject()
    json.key("stats")
    json.beginArray()
    for entry in statistics.entries {
      json.beginObject()
      json.key("name")
      json.string(statistics.bytes.span.extracting(entry.name))
      json.member("value", entry.value)
      json.endObject()
    }
    json.endArray()
    json.endObject()
    return AdminPage(contentType: .json, body: json.bytes)
  }
}
