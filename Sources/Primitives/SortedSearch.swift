/// Where the elements that come before what is looked for end, among `count` elements that are in order:
/// `isBefore` holds for all in front of that place, and for none from there on. What is looked for stands
/// there, or would.
public func sortedPlace(_ count: Int, _ isBefore: (Int) -> Bool) -> Int {
  var low = 0
  var high = count
  while low < high {
    let middle = (low + high) / 2
    if isBefore(middle) { low = middle + 1 } else { high = middle }
  }
  return low
}
