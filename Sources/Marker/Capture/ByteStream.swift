import Glibc
import Linux

/// Reads a file, a pipe or memory from its start to its end, a piece at a time. A piece may be as large as it likes; the
/// room for it grows to the largest and stays.
struct ByteStream: ~Copyable {
  /// Fills at most the room given; 0 is the end.
  typealias Fill = (UnsafeMutableRawBufferPointer) throws(SystemError) -> Int

  private let fill: Fill
  private var room: UnsafeMutableRawBufferPointer
  private var start = 0
  private var end = 0
  private var hasEnded = false
  /// Bytes that were taken so far.
  private(set) var offset: UInt64 = 0

  init(_ fill: @escaping Fill) {
    self.fill = fill
    room = .allocate(byteCount: 1 << 16, alignment: 16)
  }

  deinit { room.deallocate() }

  /// Sees to it that the next bytes can be looked at.
  ///
  /// - Returns: how many there are, fewer than asked for only at the end.
  mutating func look(_ count: Int) throws(SystemError) -> Int {
    if count > room.count - start { makeRoom(count) }
    while end - start < count, !hasEnded {
      let read = try fill(UnsafeMutableRawBufferPointer(rebasing: room[end...]))
      hasEnded = read == 0
      end += read
    }
    return min(count, end - start)
  }

  /// What `look` has made sure of. Valid until the next look.
  func bytes(_ count: Int) -> UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(rebasing: room[start..<start + count])
  }

  mutating func take(_ count: Int) {
    start += count
    offset += UInt64(count)
  }

  private mutating func makeRoom(_ count: Int) {
    let left = end - start
    if count <= room.count {
      room.copyMemory(from: UnsafeRawBufferPointer(rebasing: room[start..<end]))
    } else {
      let larger = UnsafeMutableRawBufferPointer.allocate(
        byteCount: max(count, 2 * room.count), alignment: 16)
      larger.copyMemory(from: UnsafeRawBufferPointer(rebasing: room[start..<end]))
      room.deallocate()
      room = larger
    }
    (start, end) = (0, left)
  }
}

/// Numbers in a file that may have been written by a host of the other byte order.
struct FileNumbers {
  let bytes: UnsafeRawBufferPointer
  let isSwapped: Bool

  func half(_ at: Int) -> UInt16 {
    let value = bytes.loadUnaligned(fromByteOffset: at, as: UInt16.self)
    return isSwapped ? value.byteSwapped : value
  }

  func word(_ at: Int) -> UInt32 {
    let value = bytes.loadUnaligned(fromByteOffset: at, as: UInt32.self)
    return isSwapped ? value.byteSwapped : value
  }

  /// Two words, of which the higher comes first, whatever the byte order.
  func time(_ at: Int) -> UInt64 { UInt64(word(at)) << 32 | UInt64(word(at + 4)) }

  func double(_ at: Int) -> UInt64 {
    let value = bytes.loadUnaligned(fromByteOffset: at, as: UInt64.self)
    return isSwapped ? value.byteSwapped : value
  }

  /// The options of a pcapng block between two places, as far as they are whole.
  func forEachOption(_ range: Range<Int>, _ body: (UInt16, Range<Int>) -> Void) {
    var at = range.lowerBound
    while at + 4 <= range.upperBound {
      let (code, length) = (half(at), Int(half(at + 2)))
      guard code != 0, at + 4 + length <= range.upperBound else { return }
      body(code, at + 4..<at + 4 + length)
      at += 4 + (length + 3) & ~3
    }
  }
}
