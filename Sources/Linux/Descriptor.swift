internal import Glibc

/// Owns a file descriptor and closes it exactly once.
public struct Descriptor: ~Copyable, Sendable {
  public let raw: Int32

  /// Takes over an open descriptor.
  public init(owning raw: Int32) { self.raw = raw }

  /// Takes over what a call returned.
  ///
  /// - Throws: errno of the call, where it returned -1.
  public init(
    _ call: String, _ subject: @autoclosure () -> String = "", _ open: () -> Int32
  ) throws(SystemError) {
    raw = try system(call, subject(), open)
  }

  deinit { close(raw) }

  /// Hands the descriptor out; somebody else closes it.
  public consuming func take() -> Int32 {
    let raw = raw
    discard self
    return raw
  }
}
