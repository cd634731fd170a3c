import Policy
import Primitives
import XDS

/// `probe route`: decodes resources and routes requests, by the lines of the standard input, in
/// hexadecimal where a word is not a plain name:
///
///     listener HEX    routes HEX    runtime HEX    clusters NAME…    seed N
///     request AUTHORITY METHOD PATH [NAME VALUE]…
///     explain AUTHORITY METHOD PATH [NAME VALUE]…
///
/// A resource is answered with `ok NAME`, then a `note` for all that is not applied, or `rejected` and
/// the text; a request with what becomes of it, on one line.
enum RouteProbe {
  static func run() {
    var io = ProbeIO()
    var world = World()
    while let line = io.readLine() {
      let words = line.split(separator: 0x20, omittingEmptySubsequences: false)
        .map { ByteString(Array($0)) }
      world.take(words, &io.output)
    }
    io.flush()
  }

  /// A request of the input.
  struct Head: RequestHead {
    var authority: ByteString
    var method: ByteString
    var path: ByteString
    var fields: [(name: ByteString, value: ByteString)] = []

    init(_ words: ArraySlice<ByteString>) {
      var texts = words.map { ByteString(Hex.decode($0.bytes)) }
      while texts.count < 3 { texts.append(ByteString()) }
      (authority, method, path) = (texts[0], texts[1], texts[2])
      for index in stride(from: 3, to: texts.count - 1, by: 2) {
        fields.append((texts[index], texts[index + 1]))
      }
    }

    func value(of name: ByteString) -> ByteString? {
      if name == ":authority" { return authority }
      if name == ":method" { return method }
      if name == ":path" { return path }
      var value: ByteString?
      for field in fields where field.name == name {
        value = value.map { $0 + "," + field.value } ?? field.value
      }
      return value
    }
  }

  private struct World {
    var snapshot = PolicySnapshot(
      listeners: [
        Listener(name: "up", routes: RouteConfiguration(name: "none", virtualHosts: []))
      ])
    var layers: [RuntimeLayer] = []
    var random = SplitMix64(seed: 1)

    mutating func take(_ words: [ByteString], _ output: inout [UInt8]) {
      let verb = words[0]
      if verb == "request" || verb == "explain" {
        let head = Head(words[1...])
        if verb == "request" { return route(head, &output) }
        for step in snapshot.explain(listener: "up", head: head, using: &random) {
          output.append(contentsOf: step.text.bytes)
          output.append(0x0A)
        }
        return output.append("end\n")
      }
      if verb == "clusters" {
        snapshot.clusters = words[1...].map {
          Cluster(name: $0, discovery: .endpoints(Assignment()))
        }
      } else if verb == "seed", words.count > 1 {
        random = SplitMix64(seed: words[1].bytes.reduce(0) { $0 &* 10 &+ UInt64($1 & 15) })
      } else if words.count > 1 {
        decode(verb, Hex.decode(words[1].bytes), &output)
      }
    }

    private mutating func decode(
      _ verb: ByteString, _ bytes: [UInt8], _ output: inout [UInt8]
    ) {
      do throws(ResourceRejection) {
        var notes: [ByteString] = []
        var name = ByteString()
        if verb == "listener" {
          let resource = try ListenerResource.decode(bytes.span)
          (name, notes) = (resource.name, resource.notApplied)
          var routes = snapshot.listeners[0].routes
          if case .inline(let inline) = resource.source {
            routes = inline
            notes += inline.notApplied
          }
          snapshot.listeners[0] = resource.listener(routes: routes)
          snapshot.listeners[0].name = "up"
        } else if verb == "runtime" {
          let resource = try RuntimeResource.decode(bytes.span)
          name = resource.name
          layers.append(resource.layer)
          snapshot.runtime = Runtime(layers: layers)
        } else {
          let routes = try RouteConfiguration.decode(bytes.span)
          (name, notes) = (routes.name, routes.notApplied)
          snapshot.listeners[0].routes = routes
        }
        output.append("ok \(name)\n")
        for note in notes { output.append("note \(note)\n") }
      } catch {
        output.append("rejected \(error.text)\n")
      }
      output.append("end\n")
    }

    private mutating func route(_ head: Head, _ output: inout [UInt8]) {
      switch snapshot.route(listener: "up", head: head, using: &random) {
      case .noListener: output.append("no-listener")
      case .noVirtualHost: output.append("no-virtual-host")
      case .noRoute: output.append("no-route")
      case .noCluster(let status, let name): output.append("no-cluster \(status) \(name)")
      case .respond(let response):
        output.append("respond \(response.status) ")
        Hex.append(response.location.bytes.span, to: &output)
      case .forward(let routed): write(routed, &output)
      }
      output.append(0x0A)
    }

    private func write(_ routed: RoutedRequest, _ output: inout [UInt8]) {
      output.append("forward cluster=\(snapshot.clusters[routed.cluster].name)")
      output.append(" timeout=\(routed.timeout.milliseconds)")
      output.append(" idle=\(routed.idleTimeout.milliseconds)")
      output.append(" duration=\(routed.maxStreamDuration.milliseconds)")
      output.append(" retries=\(routed.retryPolicy.retries)")
      output.append(" on=\(routed.retryPolicy.conditions.rawValue)")
      output.append(" hedge=\(routed.hedgesOnPerTryTimeout ? 1 : 0)")
      output.append(" priority=\(routed.priority.rawValue)")
      output.append(" count=\(routed.addsAttemptCount ? 1 : 0)")
      output.append(" retry-header=\(routed.addsTimeoutRetryHeader ? 1 : 0)")
      if let limit = routed.bodyLimit { output.append(" limit=\(limit)") }
      for mirror in routed.mirrors {
        output.append(" mirror=\(snapshot.clusters[mirror.cluster].name)")
        output.append(mirror.appendsShadowSuffix ? "-shadow" : "")
      }
      write(routed.rewrite, &output)
    }

    private func write(_ rewrite: RequestRewrite, _ output: inout [UInt8]) {
      if let path = rewrite.path {
        output.append(" path=")
        Hex.append(path.bytes.span, to: &output)
      }
      if let authority = rewrite.authority {
        output.append(" authority=")
        Hex.append(authority.bytes.span, to: &output)
      }
      if rewrite.usesEndpointHostname { output.append(" endpoint-name") }
      for mutation in rewrite.mutations {
        switch mutation {
        case .remove(let name):
          output.append(" remove=")
          Hex.append(name.bytes.span, to: &output)
        case .add(let name, let value, let action):
          output.append(" add=")
          Hex.append(name.bytes.span, to: &output)
          output.append(":")
          Hex.append(value.bytes.span, to: &output)
          output.append(":\(action.rawValue)")
        }
      }
    }
  }
}
