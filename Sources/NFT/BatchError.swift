internal import Glibc
public import Linux

/// Why a batch is not in the kernel, or may not be.
public enum BatchError: Error, Equatable, Sendable {
  /// One object that the kernel refused. Nothing of the batch took effect.
  public struct Refusal: Equatable, Sendable {
    /// The message's place in the batch; -1 is the transaction as a whole.
    public let message: Int
    public let subject: BatchSubject
    /// errno.
    public let code: Int32
  }

  case refused([Refusal])
  /// The answer was lost: the batch is in the kernel whole or not at all, and only reading it back tells which.
  case unanswered(SystemError)
  /// The batch was never sent, or a question was not answered.
  case system(SystemError)
}

extension BatchError: CustomStringConvertible {
  public var description: String {
    switch self {
    case .refused(let refusals):
      let first = refusals.first.map { "\($0.subject): \(String(cString: strerror($0.code)))" } ?? ""
      return "nf_tables refused \(first)" + (refusals.count > 1 ? " and \(refusals.count - 1) more" : "")
    case .unanswered(let error): return "the answer of nf_tables was lost: \(error)"
    case .system(let error): return "nf_tables: \(error)"
    }
  }

  /// The errno that says most about it.
  public var code: Int32 {
    switch self {
    case .refused(let refusals): refusals.first?.code ?? EINVAL
    case .unanswered(let error), .system(let error): error.code
    }
  }
}
