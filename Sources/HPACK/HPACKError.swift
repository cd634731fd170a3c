/// Why a header block cannot be decoded. Each of them is a connection error of type
/// COMPRESSION_ERROR (RFC 9113 §4.3): after it, the two tables may differ.
public enum HPACKError: Error, Equatable, Sendable {
  /// The block ends inside of a field.
  case truncated
  /// An integer is larger, or has more octets, than anything legal here needs (RFC 7541 §5.1).
  case integerOverflow
  /// Index 0, or an index behind the last entry of the dynamic table (§2.3.3, §6.1).
  case invalidIndex
  /// A Huffman-coded string contains the EOS symbol (§5.2).
  case huffmanEndOfString
  /// The padding of a Huffman-coded string is longer than 7 bits or not all ones (§5.2).
  case huffmanPadding
  /// A dynamic table size update above the limit that this side has set (§6.3).
  case sizeUpdateTooLarge
  /// A dynamic table size update behind the first field of a block (§4.2).
  case sizeUpdateNotAtStart
  /// This side lowered the limit, and the block does not begin with the update it calls for (§4.2).
  case sizeUpdateMissing
  /// The block is far over the list's limit, and makes the table copy many times what it holds. No
  /// rule of RFC 7541: its §7.3 leaves it to the decoder what it bears.
  case tooMuchWork
}
