import Glibc
import Synchronization

/// Whether this process was asked to end. A command that only looks on ends then with its totals.
///
/// The one global of the sniffer: a signal's handler reaches nothing else, and Swift's tasks may run on any thread, so that
/// blocking the signal on one would not do.
enum Interruption {
  private static let flag = Atomic<Bool>(false)

  /// From here on SIGINT and SIGTERM only set the flag; the second one ends the process.
  static func watch() {
    // Made here, so that no handler is the first to use it.
    flag.store(false, ordering: .relaxed)
    for number in [SIGINT, SIGTERM] {
      signal(number) { number in
        Interruption.flag.store(true, ordering: .relaxed)
        signal(number, SIG_DFL)
      }
    }
  }

  static var hasCome: Bool { flag.load(ordering: .relaxed) }
}
