/// Runs a program over a text, all its threads side by side, byte by byte (Thompson 1968, and Pike's way
/// to keep the groups): in time proportional to the product of both, whatever they are.
///
/// A thread that takes a code point of several bytes rests at its instruction until the last of them. So
/// a state is an instruction and the bytes that are still to pass, 0 to 3, and `\C` may stand beside code
/// points.
struct RegexMachine {
  /// Threads in the order of preference.
  private struct Threads {
    var states: [UInt16] = []
    /// `slotCount` for each thread.
    var slots: [Int32] = []

    mutating func removeAll() {
      states.removeAll(keepingCapacity: true)
      slots.removeAll(keepingCapacity: true)
    }
  }
  /// What is still to be followed, or a slot to be set back once that is done.
  private enum Step {
    case follow(Int)
    case restore(slot: Int, Int32)
  }

  private let program: RegexProgram
  private let slotCount: Int
  private var current = Threads()
  private var upcoming = Threads()
  /// The round in which a state was last added.
  private var marks: [UInt32]
  private var round: UInt32 = 0
  private var steps: [Step] = []
  /// The slots of the thread that is being followed, and of the match.
  private var slots: [Int32]
  private(set) var matched: [Int32] = []

  /// `slotCount`: two for each group that is asked for, the whole being group 0.
  init(_ program: RegexProgram, slotCount: Int) {
    self.program = program
    self.slotCount = slotCount
    marks = [UInt32](repeating: 0, count: program.instructions.count * 4)
    slots = [Int32](repeating: -1, count: slotCount)
    matched = slots
  }

  /// Whether the text matches from `start` on: all the rest of it, or somewhere, as far to the left as
  /// possible.
  mutating func run(_ text: Span<UInt8>, from start: Int, isWhole: Bool) -> Bool {
    var isMatched = false
    var position = start
    upcoming.removeAll()
    round += 1
    begin(text, position)
    while true {
      swap(&current, &upcoming)
      upcoming.removeAll()
      if current.states.isEmpty, isWhole || isMatched { break }
      round += 1
      if step(text, position, isWhole: isWhole) { isMatched = true }
      guard position < text.count, !(isWhole && isMatched) else { break }
      position += 1
      // A later start is less preferred than all threads that there are.
      if !isWhole, !isMatched { begin(text, position) }
    }
    return isMatched
  }

  private mutating func begin(_ text: Span<UInt8>, _ position: Int) {
    for slot in slots.indices { slots[slot] = -1 }
    follow(program.start, text, position)
  }

  /// Lets each thread take the byte at `position`, or the text's end. True: one of them matched; those
  /// behind it are cut off.
  private mutating func step(_ text: Span<UInt8>, _ position: Int, isWhole: Bool) -> Bool {
    var rune: (rune: UInt32, length: Int) = (0, 0)
    if position < text.count { rune = UTF8Rune.decode(text, at: position) }
    for index in current.states.indices {
      let state = current.states[index]
      let instruction = program.instructions[Int(state >> 2)]
      let rest = Int(state & 3)
      var isTaken = false
      switch instruction.operation {
      case .match:
        if isWhole, position < text.count { continue }
        for slot in 0..<slotCount { matched[slot] = current.slots[index * slotCount + slot] }
        return true
      case .byte: isTaken = position < text.count
      case .rune: isTaken = rest > 0 || (rune.length > 0 && rune.rune == instruction.argument)
      case .set:
        isTaken =
          rest > 0
          || (rune.length > 0 && program.contains(rune.rune, class: Int(instruction.argument)))
      case .split, .save, .assert, .fail: break
      }
      guard isTaken, position < text.count else { continue }
      for slot in 0..<slotCount { slots[slot] = current.slots[index * slotCount + slot] }
      let left = instruction.operation == .byte ? 0 : (rest > 0 ? rest : rune.length) - 1
      if left == 0 {
        follow(Int(instruction.next), text, position + 1)
      } else {
        add(state & ~3 | UInt16(left))
      }
    }
    return false
  }

  private mutating func add(_ state: UInt16) {
    guard marks[Int(state)] != round else { return }
    marks[Int(state)] = round
    upcoming.states.append(state)
    upcoming.slots.append(contentsOf: slots)
  }

  /// Adds the threads that stand at `position` after the instruction, without taking a byte.
  private mutating func follow(_ start: Int, _ text: Span<UInt8>, _ position: Int) {
    steps.append(.follow(start))
    while let step = steps.popLast() {
      switch step {
      case .restore(let slot, let value): slots[slot] = value
      case .follow(let first):
        var next: Int? = first
        while let place = next { next = advance(place, text, position) }
      }
    }
  }

  /// The instruction behind one that takes no byte.
  private mutating func advance(_ place: Int, _ text: Span<UInt8>, _ position: Int) -> Int? {
    let instruction = program.instructions[place]
    switch instruction.operation {
    case .rune, .set, .byte, .match:
      add(UInt16(place << 2))
      return nil
    case .split, .save, .assert, .fail:
      guard marks[place << 2] != round else { return nil }
      marks[place << 2] = round
    }
    switch instruction.operation {
    case .split:
      steps.append(.follow(Int(instruction.other)))
    case .save:
      let slot = Int(instruction.argument)
      if slot < slotCount {
        steps.append(.restore(slot: slot, slots[slot]))
        slots[slot] = Int32(truncatingIfNeeded: position)
      }
    case .assert:
      guard let assertion = RegexAssertion(rawValue: UInt8(instruction.argument)),
        assertion.holds(text, position)
      else { return nil }
    case .rune, .set, .byte, .match, .fail: return nil
    }
    return Int(instruction.next)
  }
}

extension RegexAssertion {
  /// Whether it holds between the bytes before and at `position`.
  fileprivate func holds(_ text: Span<UInt8>, _ position: Int) -> Bool {
    switch self {
    case .textStart: return position == 0
    case .textEnd: return position == text.count
    case .lineStart: return position == 0 || text[position - 1] == 0x0A
    case .lineEnd: return position == text.count || text[position] == 0x0A
    case .wordBoundary, .noWordBoundary:
      let before = position > 0 && isWordByte(text[position - 1])
      let after = position < text.count && isWordByte(text[position])
      return (before != after) == (self == .wordBoundary)
    }
  }
}
