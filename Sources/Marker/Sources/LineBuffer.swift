/// Cuts what a pipe delivers into lines, whatever the chunks.
///
/// The kernel keeps a write of up to PIPE_BUF bytes in one piece (pipe(7)), so a longer line may be mixed with those
/// of other writers and is refused.
struct LineBuffer: ~Copyable {
  /// PIPE_BUF of <linux/limits.h>, with its newline.
  static let longestLine = 4096
  private static let capacity = 1 << 16

  private let bytes: UnsafeMutablePointer<UInt8>
  private var count = 0
  /// Inside a line that is too long, whose rest is to be passed over.
  private var isSkipping = false

  enum Piece { case line, tooLong }

  init() { bytes = .allocate(capacity: Self.capacity) }
  deinit { bytes.deallocate() }

  /// Where the next chunk is to be read to: never empty.
  var free: UnsafeMutableRawBufferPointer {
    UnsafeMutableRawBufferPointer(start: bytes + count, count: Self.capacity - count)
  }

  /// Takes the bytes that were read into `free` and hands out the lines that they complete, without their newlines.
  /// Of a line that is too long the first part is handed out, once.
  mutating func append(_ length: Int, _ body: (Piece, Span<UInt8>) -> Void) {
    let end = count + length
    var first = 0
    var scanned = count
    while scanned < end {
      guard bytes[scanned] == UInt8(ascii: "\n") else {
        scanned += 1
        continue
      }
      if !isSkipping { hand(first..<scanned, body) }
      isSkipping = false
      scanned += 1
      first = scanned
    }
    if isSkipping {
      first = end
    } else if end - first >= Self.longestLine {
      hand(first..<end, body)
      isSkipping = true
      first = end
    }
    count = end - first
    if first > 0, count > 0 { bytes.update(from: bytes + first, count: count) }
  }

  /// Hands out the line that has no newline yet: its writer has gone.
  mutating func finish(_ body: (Piece, Span<UInt8>) -> Void) {
    if count > 0 { hand(0..<count, body) }
    count = 0
    isSkipping = false
  }

  private func hand(_ range: Range<Int>, _ body: (Piece, Span<UInt8>) -> Void) {
    let line = UnsafeBufferPointer(start: bytes + range.lowerBound, count: range.count).span
    body(range.count < Self.longestLine ? .line : .tooLong, line)
  }
}
