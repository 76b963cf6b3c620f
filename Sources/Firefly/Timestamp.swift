public import Flow

/// Times as fireflies write them: RFC 3339 in UTC with microseconds, `2026-01-15T09:12:33.500000+00:00`.
public enum Timestamp {
  /// The bytes of every timestamp.
  static let size = 32

  /// 0000-01-01T00:00:00.000000Z and 9999-12-31T23:59:59.999999Z, in microseconds since 1970: RFC 3339 §1
  /// writes years in four digits.
  static let range: ClosedRange<Int64> = -62_167_219_200_000_000...253_402_300_799_999_999

  /// Writes `size` bytes; a time out of range is written as the range's end.
  static func write(_ time: WallClockTime, to room: UnsafeMutablePointer<UInt8>) {
    let clamped = min(max(time.microseconds, range.lowerBound), range.upperBound)
    let microseconds = UInt64(bitPattern: clamped &- range.lowerBound)
    let seconds = microseconds / 1_000_000
    let fraction = microseconds % 1_000_000
    let second = seconds % 86_400
    writeDate(seconds / 86_400, to: room)
    room[10] = UInt8(ascii: "T")
    room.writePair(second / 3600, at: 11)
    room[13] = UInt8(ascii: ":")
    room.writePair(second / 60 % 60, at: 14)
    room[16] = UInt8(ascii: ":")
    room.writePair(second % 60, at: 17)
    room[19] = UInt8(ascii: ".")
    room.writePair(fraction / 10_000, at: 20)
    room.writePair(fraction / 100 % 100, at: 22)
    room.writePair(fraction % 100, at: 24)
    let utc: StaticString = "+00:00"
    (room + 26).update(from: utc.utf8Start, count: 6)
  }

  /// `size` characters.
  public static func text(_ time: WallClockTime) -> String {
    String(unsafeUninitializedCapacity: size) { room in
      if let start = room.baseAddress { write(time, to: start) }
      return size
    }
  }

  /// Writes `YYYY-MM-DD` of a day counted from 0000-01-01 in the Gregorian calendar.
  private static func writeDate(_ day: UInt64, to room: UnsafeMutablePointer<UInt8>) {
    // Years that begin on 1 March end with the leap day, so that a month's length follows from its place in
    // the year alone. 400 of them, an era, have 146,097 days. Day 0 lies 60 days before an era; counting one
    // era more keeps the numbers unsigned.
    let shifted = day + 146_097 - 60
    let era = shifted / 146_097
    let dayOfEra = shifted % 146_097
    let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let monthFromMarch = (5 * dayOfYear + 2) / 153
    let dayOfMonth = dayOfYear - (153 * monthFromMarch + 2) / 5 + 1
    let month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
    let year = era * 400 + yearOfEra + (month <= 2 ? 1 : 0) - 400
    room.writePair(year / 100, at: 0)
    room.writePair(year % 100, at: 2)
    room[4] = UInt8(ascii: "-")
    room.writePair(month, at: 5)
    room[7] = UInt8(ascii: "-")
    room.writePair(dayOfMonth, at: 8)
  }
}

extension ByteWriter {
  mutating func append(_ time: WallClockTime) {
    Timestamp.write(time, to: extend(Timestamp.size))
  }
}
