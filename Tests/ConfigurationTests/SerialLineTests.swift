import Configuration
import Primitives
import Testing

@Suite("rs485 and low_latency of [[serial]]")
struct SerialLineTests {
  @Test("a bus has defaults, and every key of it")
  func rs485() throws {
    #expect(try configuration(serial("")).serial[0].rs485 == nil)
    let plain = try configuration(serial("rs485 = {}")).serial[0].rs485
    #expect(plain == RS485Configuration())
    #expect(plain?.rtsOnSend == true && plain?.rtsAfterSend == false && plain?.fallback == .error)
    let text = """
      [serial.rs485]
      rts_on_send = false
      rts_after_send = true
      delay_before_send = "1ms"
      delay_after_send = "100ms"
      rx_during_tx = true
      terminate_bus = true
      fallback = "auto-direction"
      """
    let full = try configuration(serial("", framing: "framing = 'nmea'\n" + text)).serial[0].rs485
    var expected = RS485Configuration()
    expected.rtsOnSend = false
    expected.rtsAfterSend = true
    expected.delayBeforeSend = .milliseconds(1)
    expected.delayAfterSend = .milliseconds(100)
    expected.rxDuringTx = true
    expected.terminateBus = true
    expected.fallback = .autoDirection
    #expect(full == expected)
    let turned = try configuration(serial("rs485 = { rts_after_send = true }")).serial[0].rs485
    #expect(turned?.rtsOnSend == false && turned?.rtsAfterSend == true)
  }

  @Test("low_latency is off unless it is set")
  func lowLatency() throws {
    #expect(try !configuration(serial("")).serial[0].lowLatency)
    #expect(try configuration(serial("low_latency = true")).serial[0].lowLatency)
  }

  @Test(
    "what a bus cannot be is told with its key and place",
    arguments: [
      ("rs485 = true", "13:9: 'rs485' in [[serial]] must be a table, found a boolean"),
      (
        "rs485 = { rts_on_sent = true }",
        "13:11: unknown key 'rts_on_sent' in [[serial]] rs485, did you mean 'rts_on_send'?"
      ),
      (
        "rs485 = { rts_on_send = true, rts_after_send = true }",
        "13:48: 'rts_after_send' in [[serial]] rs485 must differ from 'rts_on_send'"
      ),
      (
        "rs485 = { delay_before_send = '101ms' }",
        "13:31: 'delay_before_send' in [[serial]] rs485 is 101ms, but must be from 0s to 100ms"
      ),
      (
        "rs485 = { delay_after_send = '1500us' }",
        "13:30: 'delay_after_send' in [[serial]] rs485 must be whole milliseconds"
      ),
      (
        "rs485 = { fallback = 'none' }",
        "13:22: 'fallback' in [[serial]] rs485 must be 'error' or 'auto-direction', found 'none'"
      ),
      (
        "flow = 'rts-cts'\nrs485 = {}",
        "13:8: 'flow' in [[serial]] is 'rts-cts', but with rs485 the RTS line turns the direction"
      ),
      (
        "low_latency = 1",
        "13:15: 'low_latency' in [[serial]] must be true or false, found an integer"
      ),
    ])
  func wrong(keys: String, message: String) {
    #expect(problems(serial(keys)) == [message])
  }
}
