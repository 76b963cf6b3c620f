/// What an attempt found out about the host.
public struct Finding: Hashable, Sendable {
  public enum Verdict: String, Sendable {
    case yes, no
    /// It could not be tried; whether it works is not known.
    case untried
  }

  public var verdict: Verdict
  /// What the kernel answered, or a detail of what works; empty where there is nothing to say.
  public var answer: String
  /// What would have to be there for a yes; empty where that is not known.
  public var need: String

  private init(_ verdict: Verdict, _ answer: String, _ need: String) {
    self.verdict = verdict
    self.answer = answer
    self.need = need
  }

  public static let yes = Finding(.yes, "", "")
  public static func yes(_ detail: String) -> Finding { Finding(.yes, detail, "") }
  public static func no(_ answer: String, needs need: String = "") -> Finding { Finding(.no, answer, need) }
  public static func untried(_ answer: String = "", needs need: String = "") -> Finding {
    Finding(.untried, answer, need)
  }

  /// Does something that the kernel may refuse.
  ///
  /// - Parameters:
  ///   - need: what would help against an errno.
  ///   - body: gives a detail of what worked, or an empty string.
  public static func attempt(
    need: (Int32) -> String = { _ in "" }, _ body: () throws(SystemError) -> String
  ) -> Finding {
    do throws(SystemError) {
      return .yes(try body())
    } catch {
      return .no("\(error)", needs: need(error.code))
    }
  }

  public var isYes: Bool { verdict == .yes }
  public var isNo: Bool { verdict == .no }
}

extension Finding: CustomStringConvertible {
  /// The answer and what would help, in one line; empty for a plain yes.
  public var description: String { [answer, need].filter { !$0.isEmpty }.joined(separator: "; ") }
}

/// Something that was tried, and what came of it.
public struct Attempt: Hashable, Sendable {
  /// What was tried, in a few words that stay the same from version to version: scripts look for them.
  public let what: String
  public let finding: Finding

  public init(_ what: String, _ finding: Finding) {
    self.what = what
    self.finding = finding
  }
}
