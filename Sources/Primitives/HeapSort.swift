extension Array {
  /// Sorts in place, without memory of its own; equal elements may change places. The standard library's
  /// sort keeps their order, and takes three times the code for every type that is sorted.
  @inline(never)
  public mutating func heapSort(by precedes: (Element, Element) -> Bool) {
    var root = count / 2
    var end = count
    while end > 1 {
      if root > 0 {
        root -= 1
      } else {
        end -= 1
        swapAt(0, end)
      }
      sink(root, end, precedes)
    }
  }

  /// Brings the element at `parent` to its place in the heap that ends before `end`, the last on top.
  private mutating func sink(
    _ parent: Int, _ end: Int, _ precedes: (Element, Element) -> Bool
  ) {
    var parent = parent
    while 2 * parent + 1 < end {
      var child = 2 * parent + 1
      if child + 1 < end, precedes(self[child], self[child + 1]) { child += 1 }
      guard precedes(self[parent], self[child]) else { return }
      swapAt(parent, child)
      parent = child
    }
  }
}
