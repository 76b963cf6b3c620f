import Testing

@testable import Marker

/// Feeds chunks and collects what comes out: lines, and `!` before those that were too long.
private func lines(_ chunks: [String], finish: Bool = false) -> [String] {
  var buffer = LineBuffer()
  var out: [String] = []
  func take(_ piece: LineBuffer.Piece, _ line: Span<UInt8>) {
    let text = line.withUnsafeBufferPointer { String(decoding: $0, as: UTF8.self) }
    out.append(piece == .line ? text : "!\(text.count)")
  }
  for chunk in chunks {
    var rest = Array(chunk.utf8)[...]
    while !rest.isEmpty {
      let free = buffer.free
      let count = min(free.count, rest.count)
      free.copyBytes(from: rest.prefix(count))
      rest = rest.dropFirst(count)
      buffer.append(count, take)
    }
  }
  if finish { buffer.finish(take) }
  return out
}

@Suite struct LineBufferTests {
  @Test func anyChunking() {
    let text = "one\ntwo\n\nthree three\nrest"
    let whole = lines([text])
    #expect(whole == ["one", "two", "", "three three"])
    for size in 1...text.count {
      let chunks = stride(from: 0, to: text.count, by: size).map { String(text.dropFirst($0).prefix(size)) }
      #expect(lines(chunks) == whole, "chunks of \(size)")
    }
  }

  @Test func anUnfinishedLineIsALineOnceItsWriterIsGone() {
    #expect(lines(["one\ntw", "o"], finish: true) == ["one", "two"])
    #expect(lines(["one\n"], finish: true) == ["one"])
  }

  @Test func linesUpToPipeBuf() {
    let longest = String(repeating: "x", count: 4095)
    #expect(lines(["\(longest)\nnext\n"]) == [longest, "next"])
  }

  @Test(arguments: [4096, 5000, 70_000, 200_000]) func aLineThatIsTooLongCostsOnlyItself(length: Int) {
    let long = String(repeating: "x", count: length)
    let out = lines(["before\n\(long)\nafter\n"])
    #expect(out.first == "before" && out.last == "after")
    #expect(out.count == 3 && out[1].hasPrefix("!"), "reported once")
  }

  @Test func manyLinesThroughOneBuffer() {
    let text = (0..<50_000).map { "line \($0)\n" }.joined()
    #expect(lines([text]).count == 50_000)
  }
}
