import Flow
import Testing

@testable import Firefly

private func read(_ text: String) -> Int64? { Timestamp.read(Array(text.utf8).span)?.microseconds }

/// Times as peers write them. The seconds are those of `date -u -d TIME +%s`.
struct TimestampReaderTests {
  @Test(
    arguments: [
      ("2026-01-15T09:12:33.5Z", 1_768_468_353_500_000), ("2026-01-15T09:12:33Z", 1_768_468_353_000_000),
      ("2026-01-15T09:12:33.Z", 1_768_468_353_000_000),
      ("2026-01-15T09:12:33.123456789Z", 1_768_468_353_123_456),
      ("2026-01-15T09:12:33.000001+00:00", 1_768_468_353_000_001),
      ("2026-01-15T09:12:33+0000", 1_768_468_353_000_000), ("2026-01-15t09:12:33z", 1_768_468_353_000_000),
      ("2026-01-15 10:12:33+01:00", 1_768_468_353_000_000),
      ("2026-01-15T03:42:33-0530", 1_768_468_353_000_000),
      ("2026-01-15T10:12:33+01", 1_768_468_353_000_000), ("2026-01-15T09:12:33", 1_768_468_353_000_000),
      ("2016-12-31T23:59:60Z", 1_483_228_800_000_000), ("2024-02-29T00:00:00Z", 1_709_164_800_000_000),
      ("2000-02-29T12:00:00Z", 951_825_600_000_000), ("1970-01-01T00:00:00Z", 0),
      ("1969-12-31T23:59:59.999999Z", -1), ("0001-01-01T00:00:00Z", -62_135_596_800_000_000),
      ("0000-01-01T00:00:00+23:59", -62_167_219_200_000_000),
      ("9999-12-31T23:59:59-23:59", 253_402_300_799_999_999),
    ] as [(String, Int64)])
  func times(text: String, microseconds: Int64) { #expect(read(text) == microseconds) }

  @Test(arguments: [
    "", "now", "2026-13-01T00:00:00Z", "2026-00-01T00:00:00Z", "2026-02-29T00:00:00Z", "1900-02-29T00:00:00Z",
    "2026-04-31T00:00:00Z", "2026-01-00T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T00:60:00Z",
    "2026-01-01T00:00:61Z", "2026-01-01", "2026-01-01T00:00Z", "20260101T000000Z", "2026-01-01T00:00:00ZZ",
    "2026-01-01T00:00:00+24:00", "2026-01-01T00:00:00+1", "2026-01-01T00:00:00+01:0", "+2026-01-01T00:00:00Z",
    "1768468353",
  ])
  func noTimes(text: String) { #expect(read(text) == nil) }

  @Test func whatIsWrittenIsReadAgain() {
    var generator = SystemRandomNumberGenerator()
    for _ in 0..<20_000 {
      let time = Int64.random(in: Timestamp.range, using: &generator)
      let text = [UInt8](unsafeUninitializedCapacity: Timestamp.size) { buffer, count in
        if let room = buffer.baseAddress { Timestamp.write(WallClockTime(microseconds: time), to: room) }
        count = Timestamp.size
      }
      #expect(Timestamp.read(text.span)?.microseconds == time, "\(time)")
    }
  }
}
