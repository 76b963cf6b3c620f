/// Appends text to a buffer of its own that never grows.
struct ByteWriter: ~Copyable {
  let start: UnsafeMutablePointer<UInt8>
  let capacity: Int
  private(set) var count = 0

  init(capacity: Int) {
    self.capacity = capacity
    start = .allocate(capacity: capacity)
  }

  deinit { start.deallocate() }

  /// What was appended; valid until the buffer is next used.
  var bytes: UnsafeBufferPointer<UInt8> { UnsafeBufferPointer(start: start, count: count) }

  /// Drops what stands behind the first `count` bytes.
  mutating func truncate(to count: Int) {
    precondition(count <= self.count)
    self.count = count
  }

  /// Room for `size` more bytes, which the caller fills.
  @inline(__always)
  mutating func extend(_ size: Int) -> UnsafeMutablePointer<UInt8> {
    precondition(size >= 0 && size <= capacity - count)
    defer { count += size }
    return start + count
  }

  @inline(__always)
  mutating func append(_ byte: UInt8) {
    extend(1).pointee = byte
  }

  @inline(__always)
  mutating func append(_ text: StaticString) {
    extend(text.utf8CodeUnitCount).update(from: text.utf8Start, count: text.utf8CodeUnitCount)
  }

  mutating func append(_ bytes: Span<UInt8>) {
    let room = extend(bytes.count)
    for index in bytes.indices { room[index] = bytes[index] }
  }

  /// Appends bytes that the buffer already holds.
  mutating func append(copyOf range: Range<Int>) {
    precondition(range.upperBound <= count)
    extend(range.count).update(from: start + range.lowerBound, count: range.count)
  }

  mutating func append(decimal number: UInt64) {
    var digits = 1
    var limit: UInt64 = 10
    // The largest power of ten in 64 bits is 10^19, a number of 20 digits.
    while digits < 20, number >= limit {
      digits += 1
      limit &*= 10
    }
    let room = extend(digits)
    var rest = number
    var index = digits
    while index > 0 {
      index &-= 1
      room[index] = UInt8(ascii: "0") &+ UInt8(truncatingIfNeeded: rest % 10)
      rest /= 10
    }
  }
}

extension UnsafeMutablePointer<UInt8> {
  /// Writes two decimal digits of a number below 100.
  @inline(__always)
  func writePair(_ number: UInt64, at offset: Int) {
    self[offset] = UInt8(ascii: "0") &+ UInt8(truncatingIfNeeded: number / 10)
    self[offset &+ 1] = UInt8(ascii: "0") &+ UInt8(truncatingIfNeeded: number % 10)
  }
}
