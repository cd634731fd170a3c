import Primitives

/// `rs485` of `[[serial]]`.
extension SchemaReader {
  mutating func readRS485(
    _ port: SchemaTable, flow: SerialConfiguration.FlowControl
  ) -> RS485Configuration? {
    guard let table = table(port, "rs485", label: "[[serial]] rs485") else { return nil }
    checkKeys(
      table,
      """
      rts_on_send rts_after_send delay_before_send delay_after_send rx_during_tx terminate_bus \
      fallback
      """)
    var bus = RS485Configuration()
    readRTS(table, &bus)
    bus.delayBeforeSend = delay(table, "delay_before_send")
    bus.delayAfterSend = delay(table, "delay_after_send")
    bus.rxDuringTx = boolean(table, "rx_during_tx") ?? false
    bus.terminateBus = boolean(table, "terminate_bus") ?? false
    if choice(table, "fallback", "error auto-direction") == 1 {
      bus.fallback = .autoDirection
    }
    if flow == .rtsCts {
      report(
        tree.child(of: port.node, "flow") ?? table.node,
        "'flow' in [[serial]] is 'rts-cts', but with rs485 the RTS line turns the direction")
    }
    return bus
  }

  /// One level sends, the other one does not: naming either names both.
  private mutating func readRTS(_ table: SchemaTable, _ bus: inout RS485Configuration) {
    let onSend = boolean(table, "rts_on_send")
    let afterSend = boolean(table, "rts_after_send")
    if let onSend, let afterSend, onSend == afterSend {
      report(
        tree.child(of: table.node, "rts_after_send") ?? table.node,
        "'rts_after_send' in \(table.label) must differ from 'rts_on_send'")
    }
    bus.rtsOnSend = onSend ?? afterSend.map { !$0 } ?? true
    bus.rtsAfterSend = !bus.rtsOnSend
  }

  /// The kernel counts these delays in milliseconds, and 100 of them are its limit
  /// (Documentation/driver-api/serial/serial-rs485.rst).
  private mutating func delay(_ table: SchemaTable, _ key: StaticString) -> Interval {
    guard let delay = duration(table, key, .zero ... .milliseconds(100)) else { return .zero }
    guard delay.nanoseconds % 1_000_000 == 0 else {
      let node = tree.child(of: table.node, key) ?? table.node
      report(node, "\(subject(node, table)) must be whole milliseconds")
      return .zero
    }
    return delay
  }
}
