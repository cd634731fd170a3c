import Platform
import Testing

/// The tests of these suites run one after the other, among all others. A process that one of them starts
/// has, until it becomes another program, every descriptor of the others: a lock that was let go is held a
/// moment longer, a socket that was closed still listens. The umask and the environment are everybody's, too.
struct OneAtATime: SuiteTrait, TestTrait, TestScoping {
  let isRecursive = true

  func provideScope(
    for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void
  ) async throws {
    try await Turn.shared.take(function)
  }
}

extension Trait where Self == OneAtATime {
  static var oneAtATime: Self { OneAtATime() }
}

private actor Turn {
  static let shared = Turn()
  private var isTaken = false
  private var waiting: [CheckedContinuation<Void, Never>] = []

  func take(_ body: @Sendable () async throws -> Void) async throws {
    // What a library writes to a closed connection would end the tests.
    SignalDescriptor.ignoreBrokenPipe()
    if isTaken { await withCheckedContinuation { waiting.append($0) } }
    isTaken = true
    defer { if waiting.isEmpty { isTaken = false } else { waiting.removeFirst().resume() } }
    try await body()
  }
}
