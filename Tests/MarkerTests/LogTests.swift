import Flow
import Lab
import Linux
import Logging
import Testing

@testable import Marker

@Suite struct LogFormatTests {
  private let time = WallClockTime(microseconds: 1_700_000_000_123_456)
  private let metadata: Logger.Metadata = ["b": "two words", "a": "1", "msg": "theirs", "none": ""]

  @Test func keyValue() {
    #expect(
      LogFormat.keyValue.line(.warning, "a \"b\" \\ c", metadata, at: time)
        == #"time=2023-11-14T22:13:20.123456+00:00 level=warning msg="a \"b\" \\ c" a=1 b="two words" msg_=theirs none="""#
    )
    #expect(LogFormat.keyValue.line(.info, "ready", [:], at: nil) == "level=info msg=ready")
  }

  @Test func json() throws {
    let line = LogFormat.json.line(.error, "a \"b\"\n", metadata, at: time)
    let value = try JSONValue(line)
    #expect(value.fields.map(\.key) == ["time", "level", "msg", "a", "b", "msg_", "none"])
    #expect(value["msg"].text == "a \"b\"\\n" && value["b"].text == "two words" && !line.contains("\n"))
  }

  /// What others send cannot write lines of its own, nor move the cursor or turn text round.
  @Test(arguments: ["\u{1b}[31m", "\n<0>fake", "\r", "\u{9b}2J", "\u{7f}", "\u{2028}", "\u{202e}", "\0"])
  func foreignText(text: String) {
    for format in LogFormat.allCases {
      let line = format.line(.info, "heard", ["from": "\(text)x"], at: nil)
      #expect(
        !text.unicodeScalars.contains { $0.value != 0x5b && !$0.isASCII && line.unicodeScalars.contains($0) })
      #expect(
        line.unicodeScalars.allSatisfy { $0.value >= 0x20 && $0.value != 0x7f }, "\(line.debugDescription)")
      #expect(line.contains("\\"), "\(line)")
    }
  }
}

@Suite struct LogRepeatsTests {
  private func second(_ second: Int) -> MonotonicTime {
    MonotonicTime(nanoseconds: UInt64(second) * 1_000_000_000)
  }

  @Test func repeatsAreCounted() {
    var repeats = LogRepeats(at: second(0))
    let admitted = (0..<50).map { _ in repeats.admit(.warning, "again", at: second(1)) }
    #expect(admitted.count { $0 } == 20)
    let others = [
      repeats.admit(.warning, "another", at: second(1)), repeats.admit(.error, "again", at: second(1)),
    ]
    #expect(others == [true, true])
    let settled = [5, 11, 30].map { repeats.settle(at: second($0)) }
    #expect(settled == [[], [.init(level: .warning, message: "again", count: 30)], []])
    let later = repeats.admit(.warning, "again", at: second(31))
    #expect(later)
  }

  @Test func theEndTellsOfAll() {
    var repeats = LogRepeats(at: second(0))
    for _ in 0..<21 { _ = repeats.admit(.error, "again", at: second(1)) }
    let told = repeats.settle(at: second(2), all: true)
    #expect(told == [.init(level: .error, message: "again", count: 1)])
  }

  @Test func debuggingIsNotKeptBack() {
    var repeats = LogRepeats(at: second(0))
    let admitted = (0..<1000).map { _ in repeats.admit(.debug, "again", at: second(1)) }
    #expect(admitted.allSatisfy { $0 })
  }
}
