import Glibc
import Linux

/// What an exit status other than 0 says, by the numbers of sysexits.h, so that whoever starts marker knows whether
/// starting it again can help.
enum ExitStatus: Int32, CaseIterable {
  case failure = 1
  case usage = 64
  case unavailable = 69
  case system = 71
  case temporary = 75
  case permission = 77
  case configuration = 78

  /// As the manual has it.
  var meaning: String {
    switch self {
    case .failure: "What was asked for was not done, or a check was not passed; the message says what."
    case .usage: "The command line is wrong."
    case .unavailable: "A path that was named does not work on this host."
    case .system: "The kernel refused something; the message has its answer."
    case .temporary:
      "An address or this network namespace has another daemon; once that has ended, a start works."
    case .permission: "A right is missing, such as a capability or the access to a file."
    case .configuration: "The configuration is wrong; the message has the line and what would be right."
    }
  }

  /// Nil for errors that the command line's parser knows best.
  init?(_ error: any Error) {
    switch error {
    case is ConfigurationError: self = .configuration
    case let error as PlanError:
      if case .pinned = error { self = .unavailable } else { self = .configuration }
    case is AnotherDaemon, is APIError: self = .temporary
    case let error as SystemError:
      switch error.code {
      case EPERM, EACCES: self = .permission
      case EWOULDBLOCK, EADDRINUSE: self = .temporary
      default: self = .system
      }
    default: return nil
    }
  }
}
