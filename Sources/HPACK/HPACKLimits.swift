/// Numbers that the specification or this implementation sets.
enum HPACKLimits {
  /// RFC 9113 §6.5.2: SETTINGS_HEADER_TABLE_SIZE before any SETTINGS.
  static let initialTableSize = 4096
  /// Below 20 bytes a cookie may be guessed piece by piece through the size of blocks (RFC 7541
  /// §7.1.3 leaves the bound open; nghttp2 uses the same).
  static let shortCookie = 20
  /// What one block may have the table copy, in multiples of the list's limit. Two octets can insert
  /// an entry as large as the table, whose name is that of another one: a block of 16 KiB would copy
  /// 32 MiB. A list within its limit never comes near.
  static let workFactor = 16
}
