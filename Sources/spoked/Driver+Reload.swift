import Configuration
import Gateway
import Platform
import Primitives

/// SIGHUP: the files are read and checked first; on any error everything stays as it was.
extension Driver {
  func reload() {
    guard stopAt == nil else { return }
    service.reloading(now: clocks.now)
    let problems = tryReload()
    if let first = problems.first {
      log(.error, "reload refused, the old configuration stays in force: \(first)")
      for problem in problems.dropFirst() { log(.error, problem) }
      gateway.reloadRejected(first, clocks: clocks)
    }
    service.ready(gateway.statusLine(), now: clocks.now)
  }

  /// What is wrong with the new configuration; nothing when it is in force.
  private func tryReload() -> [String] {
    var new: Configuration
    do throws(FileError) {
      switch ConfigurationLoader.load(files: try ConfigurationFiles.read(options.file)) {
      case .valid(let configuration, _): new = configuration
      case .invalid(let diagnostics):
        return diagnostics.map { $0.description }
      }
    } catch {
      return [error.description]
    }
    let waiting = new.keepWhatNeedsRestart(of: configuration)
    guard new.memoryNeeds.sum <= new.memory.budget else {
      return ["[memory] budget does not hold the [spool] that is in force until a restart"]
    }
    // Both the old and the new certificates are there for a while.
    let limit = new.memoryLimit(.tls)
    TLSMemory.limit(to: max(limit, gateway.memoryLimit(.tls)))
    defer { TLSMemory.limit(to: gateway.memoryLimit(.tls)) }
    var fresh = TLSContexts()
    let faults = fresh.load(new)
    guard faults.isEmpty else { return faults.map { $0.located(in: options.file) } }
    let plan: BrokerPlan?
    do throws(StartError) {
      plan = try Driver.planBroker(new)
    } catch {
      return [error.located(in: options.file)]
    }
    let old = configuration
    let policy = Driver.readPolicy(new, withCache: false)
    for fault in policy.faults { log(.error, fault.located(in: options.file)) }
    guard gateway.reload(new, files: policy.files, clocks: clocks) else {
      return ["the spool cannot be written"]
    }
    if !waiting.isEmpty { gateway.restartNeeded(for: waiting, clocks: clocks) }
    // Certificates and keys are read again every time; connections that are up keep theirs.
    contexts = fresh
    for line in contexts.complaints(at: clocks.wall) { log(.warning, line) }
    configuration = new
    adopt(new, plan, instead: old)
    return []
  }

  /// What belongs to the operating system follows.
  private func adopt(_ new: Configuration, _ plan: BrokerPlan?, instead old: Configuration) {
    standardError.threshold = new.log.severity
    if new.serial != old.serial { changePorts() }
    // A broker that refused may have done so for what stands in a file: the password, a certificate.
    do throws(StartError) {
      if new.hasSameBroker(as: old), broker?.password == plan?.settings.password,
        broker?.client.status.isConnected != false
      {
        refreshBrokerTLS(plan)
      } else {
        let former = formerFilters(of: new.mqtt)
        if broker != nil {
          closeBroker()
          gateway.mqttDisconnected(reason: "the configuration has changed", clocks: clocks)
        }
        try openBroker(plan, former: former)
      }
    } catch {
      log(.error, error.description)
    }
    log(.info, "configuration read again" + (new == old ? ", nothing has changed" : ""))
  }

  /// What the session at the broker may be subscribed to, in this run or from an earlier one, and the new
  /// configuration does not want any more.
  func formerFilters(of new: MQTTConfiguration?) -> [ByteString] {
    guard let new else { return [] }
    do throws(FileError) {
      let former = try subscriptions.read(new).filter { filter in
        !new.subscriptions.contains { $0.filter == filter }
      }
      return Array(former.prefix(BrokerLink.formerFiltersMax))
    } catch {
      log(.warning, "mqtt: earlier subscriptions stay: \(error.description)")
      return []
    }
  }
}

extension Configuration {
  /// Nothing has changed that a connection to the broker was made of.
  fileprivate func hasSameBroker(as other: Configuration) -> Bool {
    guard let mqtt, let before = other.mqtt else { return mqtt == other.mqtt }
    return mqtt.isSameSession(as: before) && brokerTLS == other.brokerTLS
  }

  /// The table that the broker's connection uses.
  fileprivate var brokerTLS: TLSConfiguration? {
    mqtt.flatMap { $0.tls }.map { tls[$0] }
  }
}
