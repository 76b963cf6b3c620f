import Foundation

/// A JSON value, as Foundation's parser reads it.
enum JSON: Equatable {
  case object([String: JSON])
  case array([JSON])
  case string(String)
  case integer(Decimal)
  case fraction(Double)
  case boolean(Bool)
  case null

  init(_ text: String) throws {
    self.init(any: try JSONSerialization.jsonObject(with: Data(text.utf8)))
  }

  private init(any: Any) {
    switch any {
    case let object as [String: Any]: self = .object(object.mapValues { JSON(any: $0) })
    case let array as [Any]: self = .array(array.map { JSON(any: $0) })
    case let text as String: self = .string(text)
    case let number as NSNumber:
      // Foundation keeps booleans as characters.
      if String(cString: number.objCType) == "c" {
        self = .boolean(number.boolValue)
      } else if let decimal = Decimal(string: "\(number)"), decimal.isWhole {
        self = .integer(decimal)
      } else {
        self = .fraction(number.doubleValue)
      }
    default: self = .null
    }
  }

  subscript(key: String) -> JSON? {
    if case .object(let members) = self { members[key] } else { nil }
  }

  var integer: Int? {
    if case .integer(let number) = self { NSDecimalNumber(decimal: number).intValue } else { nil }
  }

  var string: String? {
    if case .string(let text) = self { text } else { nil }
  }
}

extension Decimal {
  fileprivate var isWhole: Bool {
    var value = self
    var rounded = Decimal()
    NSDecimalRound(&rounded, &value, 0, .plain)
    return rounded == self
  }
}
