/// A number as JSON writes it (RFC 8259 §6), exactly: `digits` × 10^`exponent`.
struct JSONNumber {
  private(set) var isNegative = false
  private var digits: UInt64 = 0
  private var exponent = 0
  /// Digits other than 0 had no room.
  private var isCut = false

  /// Exponents beyond this are all alike: no number of 64 bits has one.
  private static let exponentLimit = 10_000

  init() {}

  /// The number without what is behind its decimal point; nil for negative numbers and beyond 64 bits.
  var whole: UInt64? { value?.whole }

  /// The number, where it has nothing behind its decimal point: `1.0` and `6.4e6` are integers.
  var integer: UInt64? { value.flatMap { $0.isExact ? $0.whole : nil } }

  private var value: (whole: UInt64, isExact: Bool)? {
    if digits == 0 { return (0, true) }
    // Digits that had no room are digits of the whole number where the exponent says so.
    guard !isNegative, !isCut || exponent <= 0 else { return nil }
    var whole = digits
    var isExact = !isCut
    for _ in 0..<max(0, exponent) {
      let (product, overflow) = whole.multipliedReportingOverflow(by: 10)
      guard !overflow else { return nil }
      whole = product
    }
    var divisions = max(0, -exponent)
    while divisions > 0, whole > 0 {
      if whole % 10 != 0 { isExact = false }
      whole /= 10
      divisions -= 1
    }
    return (whole, isExact)
  }

  mutating func negate() { isNegative = true }

  /// - Parameter isFraction: behind the decimal point.
  mutating func append(_ digit: UInt8, isFraction: Bool) {
    let (tens, overflow) = digits.multipliedReportingOverflow(by: 10)
    let (sum, carry) = tens.addingReportingOverflow(UInt64(digit))
    if overflow || carry || exponent > 0 {
      if digit != 0 { isCut = true }
      if !isFraction { exponent += 1 }
    } else {
      digits = sum
      if isFraction { exponent -= 1 }
    }
  }

  mutating func scale(by power: Int, isNegative: Bool) {
    let power = min(power, Self.exponentLimit)
    exponent += isNegative ? -power : power
  }

  /// What a power of ten grows to by one more digit; it stops growing where it does not matter any more.
  static func power(_ power: Int, _ digit: UInt8) -> Int { min(power * 10 + Int(digit), exponentLimit) }
}
