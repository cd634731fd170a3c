import Configuration
import Gateway
import Platform
import Primitives

/// SIGHUP: the files are read and checked first; on any error everything stays as it was.
extension Driver {
  func reload() {
    guard stopAt == nil else { return }
    service.reloading(now: clocks.now)
    if let reason = tryReload() {
      log(.error, "reload refused, the old configuration stays in force: \(reason)")
      gateway.reloadRejected(reason, clocks: clocks)
    }
    service.ready(gateway.statusLine(), now: clocks.now)
  }

  /// Nil when the new configuration is in force, else the reason.
  private func tryReload() -> String? {
    let new: Configuration
    do throws(FileError) {
      switch ConfigurationLoader.load(files: try ConfigurationFiles.read(options.file)) {
      case .valid(let configuration, _): new = configuration
      case .invalid(let diagnostics):
        for diagnostic in diagnostics { log(.error, diagnostic.description) }
        return diagnostics.first?.description ?? "not valid"
      }
    } catch {
      return error.description
    }
    var fresh = TLSContexts()
    do throws(StartError) { try fresh.load(new) } catch { return error.description }
    let old = configuration
    let policy = Driver.readPolicy(new, withCache: false)
    for line in policy.complaints { log(.error, line) }
    guard gateway.reload(new, files: policy.files, clocks: clocks) else {
      return "the spool cannot be written"
    }
    // Certificates and keys are read again every time; connections that are up keep theirs.
    contexts = fresh
    for line in contexts.complaints(at: clocks.wall) { log(.warning, line) }
    configuration = new
    return adopt(new, instead: old)
  }

  /// What belongs to the operating system follows.
  private func adopt(_ new: Configuration, instead old: Configuration) -> String? {
    standardError.threshold = new.log.severity
    if new.serial != old.serial {
      closePorts()
      openPorts()
    }
    if new.spool != old.spool || new.admin != old.admin || new.memory != old.memory {
      log(.warning, "changes of [spool], [admin] and [memory] take effect at the next start")
    }
    // A broker that refused may have done so for what stands in a file: the password, a certificate.
    do throws(StartError) {
      if new.mqtt != old.mqtt || new.brokerTLS != old.brokerTLS
        || broker?.client.status.isConnected == false
      {
        let former = formerFilters(new.mqtt)
        closeBroker()
        try openBroker(former: former)
      } else {
        try refreshBrokerTLS()
      }
    } catch {
      return error.description
    }
    log(.info, "configuration read again" + (new == old ? ", nothing has changed" : ""))
    return nil
  }

  /// What the session at the broker is subscribed to, as far as this run knows, and the new
  /// configuration does not want any more.
  private func formerFilters(_ new: MQTTConfiguration?) -> [ByteString] {
    guard let broker, let new, broker.configuration.clientID == new.clientID else { return [] }
    let known = broker.configuration.subscriptions.map { $0.filter } + broker.formerFilters
    let former = known.filter { filter in !new.subscriptions.contains { $0.filter == filter } }
    return Array(former.prefix(BrokerLink.formerFiltersMax))
  }
}

extension Configuration {
  /// The table that the broker's connection uses.
  fileprivate var brokerTLS: TLSConfiguration? {
    mqtt.flatMap { $0.tls }.map { tls[$0] }
  }
}
