public import Flow

extension Timestamp {
  /// Reads a time as peers write it: RFC 3339 §5.6 with any number of fraction digits, and besides a blank or a lower
  /// case letter for `T` and `Z`, an offset without its colon or its minutes, and none at all, which is taken for UTC.
  ///
  /// - Returns: nil for what is no time. A second 60 is the next minute's first, because these times know no leap
  ///   seconds; what lies before or after the years of four digits is the nearest that does not.
  public static func read(_ text: Span<UInt8>) -> WallClockTime? {
    var reader = Reader()
    guard let year = reader.number(text, digits: 4), reader.skip("-", text),
      let month = reader.number(text, digits: 2), (1...12).contains(month), reader.skip("-", text),
      let day = reader.number(text, digits: 2), day >= 1, day <= days(of: month, year),
      reader.skipSeparator(text),
      let hour = reader.number(text, digits: 2), hour <= 23, reader.skip(":", text),
      let minute = reader.number(text, digits: 2), minute <= 59, reader.skip(":", text),
      let second = reader.number(text, digits: 2), second <= 60
    else { return nil }
    let fraction = reader.fraction(text)
    guard let offset = reader.offset(text), reader.isAtEnd(text) else { return nil }
    let seconds = (number(ofDay: year, month, day) * 1440 + hour * 60 + minute - offset) * 60 + second
    let microseconds = seconds * 1_000_000 + fraction + range.lowerBound
    return WallClockTime(microseconds: min(max(microseconds, range.lowerBound), range.upperBound))
  }

  private static func days(of month: Int64, _ year: Int64) -> Int64 {
    switch month {
    case 2: year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28
    case 4, 6, 9, 11: 30
    default: 31
    }
  }

  /// The day's number from 0000-01-01 on, in the Gregorian calendar; the inverse of `writeDate`.
  private static func number(ofDay year: Int64, _ month: Int64, _ day: Int64) -> Int64 {
    // One era more keeps January of the year 0, which belongs to the year before when years begin in March, positive.
    let shifted = (month <= 2 ? year - 1 : year) + 400
    let yearOfEra = shifted % 400
    let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
    let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
    return shifted / 400 * 146_097 + dayOfEra - 146_097 + 60
  }

  private struct Reader {
    private var index = 0

    func isAtEnd(_ text: Span<UInt8>) -> Bool { index == text.count }

    mutating func number(_ text: Span<UInt8>, digits: Int) -> Int64? {
      guard text.count - index >= digits else { return nil }
      var number: Int64 = 0
      for _ in 0..<digits {
        guard let digit = digit(text) else { return nil }
        number = number * 10 + digit
      }
      return number
    }

    mutating func skip(_ character: Unicode.Scalar, _ text: Span<UInt8>) -> Bool {
      guard index < text.count, UInt32(text[index]) == character.value else { return false }
      index += 1
      return true
    }

    mutating func skipSeparator(_ text: Span<UInt8>) -> Bool {
      skip("T", text) || skip("t", text) || skip(" ", text)
    }

    /// Microseconds; further digits are dropped.
    mutating func fraction(_ text: Span<UInt8>) -> Int64 {
      guard skip(".", text) || skip(",", text) else { return 0 }
      var value: Int64 = 0
      var unit: Int64 = 100_000
      while let digit = digit(text) {
        value += digit * unit
        unit /= 10
      }
      return value
    }

    /// Minutes east of Greenwich.
    mutating func offset(_ text: Span<UInt8>) -> Int64? {
      if isAtEnd(text) || skip("Z", text) || skip("z", text) { return 0 }
      let isWest = skip("-", text)
      guard isWest || skip("+", text), let hours = number(text, digits: 2), hours <= 23 else { return nil }
      var minutes: Int64 = 0
      if !isAtEnd(text) {
        _ = skip(":", text)
        guard let number = number(text, digits: 2), number <= 59 else { return nil }
        minutes = number
      }
      return (hours * 60 + minutes) * (isWest ? -1 : 1)
    }

    private mutating func digit(_ text: Span<UInt8>) -> Int64? {
      guard index < text.count else { return nil }
      let digit = text[index] &- UInt8(ascii: "0")
      guard digit < 10 else { return nil }
      index += 1
      return Int64(digit)
    }
  }
}
