/// Lends a constant's bytes.
func withBytes<Result>(of text: StaticString, _ body: (Span<UInt8>) -> Result) -> Result {
  let buffer = unsafe UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount)
  return body(unsafe buffer.span)
}
