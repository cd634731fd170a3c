import HPACK
import Primitives
import Testing

@testable import HTTP2

/// Every state of a client's stream and every frame: one table, nothing undefined (RFC 9113 §5.1).
@Suite("Every frame in every state")
struct StateTableTests {
  enum State: CaseIterable {
    case idle, openAwaiting, openBody, localEndedAwaiting, localEndedBody, remoteEnded
    case closedByEnd, closedByPeer, closedByUs, refused
  }

  enum Frame: CaseIterable {
    case data, dataEnd, headers, headersEnd, priority, reset, windowUpdate
    case continuation, pushPromise, ping, settings
  }

  enum Outcome: Equatable {
    case ignored
    case gone
    case told(HTTP2Event)
    case streamError(HTTP2Cause)
    case connectionError(HTTP2Cause)
  }

  @Test("RFC 9113 §5.1: the table", arguments: State.allCases, Frame.allCases)
  func table(state: State, frame: Frame) throws {
    var client = try client(in: state)
    let before = client.machine.activeStreams
    let events = client.receive(bytes(frame))
    switch expected(state, frame) {
    case .ignored:
      #expect(events == [])
      #expect(!client.sent().contains { $0.type == .rstStream || $0.type == .goAway })
      #expect(client.machine.activeStreams == before)
    case .gone:
      #expect(events == [] && client.machine.activeStreams == 0)
    case .told(.data(let stream, _, let count, let isEnd)):
      guard case .data(stream, _, count, isEnd)? = events.first else {
        Issue.record("\(events)")
        return
      }
      #expect(events.count == 1)
    case .told(let event):
      #expect(events == [event])
    case .streamError(let cause):
      let reset = client.sent().first { $0.type == .rstStream }
      #expect(reset?.word() == cause.code.rawValue)
      let isTold = state != .remoteEnded && state != .closedByPeer && state != .refused
      #expect(events == (isTold ? [.reset(stream: 1, code: cause.code, origin: .local)] : []))
      #expect(client.machine.activeStreams == 0)
    case .connectionError(let cause):
      #expect(
        events.last == .closed(HTTP2Error(origin: .local, code: cause.code, cause: cause)))
    }
  }

  private func client(in state: State) throws -> Scripted {
    var client = Scripted.client()
    if state == .idle { return client }
    let isEnded = [.localEndedAwaiting, .localEndedBody, .closedByEnd].contains(state)
    _ = try client.open(endStream: isEnded)
    switch state {
    case .openBody, .localEndedBody: _ = client.receive(Frames.headers(1, response()))
    case .remoteEnded, .closedByEnd: _ = client.receive(Frames.headers(1, response(), end: true))
    case .closedByPeer: _ = client.receive(Frames.reset(1, .cancel))
    case .closedByUs: client.machine.reset(1, .cancel)
    case .refused: _ = client.receive(Frames.reset(1, .refusedStream))
    case .idle, .openAwaiting, .localEndedAwaiting: break
    }
    _ = client.sent()
    return client
  }

  private func bytes(_ frame: Frame) -> [UInt8] {
    switch frame {
    case .data: Frames.data(1, [1])
    case .dataEnd: Frames.data(1, [1], end: true)
    case .headers: Frames.headers(1, response())
    case .headersEnd: Frames.headers(1, Frames.block([(":status", "200")]), end: true)
    case .priority: Frames.frame(2, stream: 1, [0, 0, 0, 0, 0])
    case .reset: Frames.reset(1, .internalError)
    case .windowUpdate: Frames.windowUpdate(1, 5)
    case .continuation: Frames.continuation(1, [], end: true)
    case .pushPromise: Frames.frame(5, flags: 4, stream: 1, [0, 0, 0, 2] + response())
    case .ping: Frames.ping()
    case .settings: Frames.settings()
    }
  }

  private func expected(_ state: State, _ frame: Frame) -> Outcome {
    switch frame {
    case .ping, .priority: return .ignored
    case .settings: return .told(.settings)
    case .continuation: return .connectionError(.continuationUnexpected)
    case .pushPromise: return .connectionError(.pushRefused)
    case .windowUpdate: return state == .idle ? .connectionError(.idleStream) : .ignored
    case .reset: return expectedReset(state)
    case .data, .dataEnd, .headers, .headersEnd: return expectedMessage(state, frame)
    }
  }

  private func expectedReset(_ state: State) -> Outcome {
    switch state {
    case .idle: .connectionError(.idleStream)
    case .openAwaiting, .openBody, .localEndedAwaiting, .localEndedBody:
      .told(.reset(stream: 1, code: .internalError, origin: .peer))
    // The response is complete: there is nothing more to tell, though the stream goes.
    case .remoteEnded: .gone
    case .closedByEnd, .closedByPeer, .closedByUs, .refused: .ignored
    }
  }

  private func expectedMessage(_ state: State, _ frame: Frame) -> Outcome {
    let isData = frame == .data || frame == .dataEnd
    let isEnd = frame == .dataEnd || frame == .headersEnd
    switch state {
    case .idle: return .connectionError(.idleStream)
    case .openAwaiting, .localEndedAwaiting:
      return isData
        ? .streamError(.dataBeforeHeaders)
        : .told(.headers(stream: 1, kind: .response, endStream: isEnd))
    case .openBody, .localEndedBody:
      if isData {
        return .told(.data(stream: 1, bytes: 0..<0, flowControlled: 1, endStream: isEnd))
      }
      return .streamError(isEnd ? .pseudoFieldMisplaced : .trailersWithoutEnd)
    case .remoteEnded, .closedByPeer, .refused: return .streamError(.streamClosed)
    case .closedByEnd: return .connectionError(.frameOnClosedStream)
    case .closedByUs: return .ignored
    }
  }
}
