extension Array {
  /// Does what `removeAll(where:)` does, which takes three times the code for every type and every question.
  @inline(never)
  public mutating func removeEach(where isGone: (Element) -> Bool) {
    var kept = 0
    for index in indices where !isGone(self[index]) {
      if kept < index { swapAt(kept, index) }
      kept += 1
    }
    while count > kept { removeLast() }
  }
}
