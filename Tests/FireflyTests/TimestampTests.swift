import Flow
import Testing

@testable import Firefly

struct TimestampTests {
  /// Seconds since 1970 as `date -u -d … +%s` gives them.
  @Test(arguments: [
    (0, 0, "1970-01-01T00:00:00.000000+00:00"),
    (0, -1, "1969-12-31T23:59:59.999999+00:00"),
    (951_782_399, 999_999, "2000-02-28T23:59:59.999999+00:00"),
    (951_782_400, 0, "2000-02-29T00:00:00.000000+00:00"),
    (951_868_800, 1, "2000-03-01T00:00:00.000001+00:00"),
    (1_709_164_800, 0, "2024-02-29T00:00:00.000000+00:00"),
    (1_740_787_200, 0, "2025-03-01T00:00:00.000000+00:00"),
    (4_107_542_400, 0, "2100-03-01T00:00:00.000000+00:00"),
    (4_107_542_399, 0, "2100-02-28T23:59:59.000000+00:00"),
    (1_768_468_353, 500_000, "2026-01-15T09:12:33.500000+00:00"),
    (-2_208_988_800, 0, "1900-01-01T00:00:00.000000+00:00"),
    (253_402_300_799, 999_999, "9999-12-31T23:59:59.999999+00:00"),
    (-62_167_219_200, 0, "0000-01-01T00:00:00.000000+00:00"),
    (-62_162_035_201, 0, "0000-02-29T23:59:59.000000+00:00"),
    (-62_162_035_200, 0, "0000-03-01T00:00:00.000000+00:00"),
  ])
  func text(seconds: Int64, microseconds: Int64, expected: String) {
    #expect(Self.text(seconds * 1_000_000 + microseconds) == expected)
  }

  @Test func outOfRangeIsTheRangesEnd() {
    #expect(Self.text(.max) == "9999-12-31T23:59:59.999999+00:00")
    #expect(Self.text(.min) == "0000-01-01T00:00:00.000000+00:00")
  }

  /// Counts the days from 1970 to 2400 by the calendar's rule.
  @Test func everyDay() {
    let lengths = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
    var day: Int64 = 0
    for year in 1970..<2400 {
      let isLeap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
      for month in 1...12 {
        for date in 1...(lengths[month - 1] + (month == 2 && isLeap ? 1 : 0)) {
          let text = Self.text(day * 86_400_000_000)
          if text != "\(year)-\(Self.pad(month))-\(Self.pad(date))T00:00:00.000000+00:00" {
            Issue.record("day \(day) is \(text)")
            return
          }
          day += 1
        }
      }
    }
  }

  private static func pad(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }

  private static func text(_ microseconds: Int64) -> String {
    var writer = ByteWriter(capacity: Timestamp.size)
    writer.append(WallClockTime(microseconds: microseconds))
    return String(decoding: UnsafeBufferPointer(start: writer.start, count: writer.count), as: UTF8.self)
  }
}
