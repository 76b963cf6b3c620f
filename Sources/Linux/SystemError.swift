public import Glibc

/// A system call that failed: which, on what, and the kernel's answer.
public struct SystemError: Error, Equatable, Sendable {
  public let call: String
  /// What the call was about, a path or an interface; empty where the call says it all.
  public let subject: String
  /// errno.
  public let code: Int32

  public init(_ call: String, _ subject: String = "", code: Int32 = errno) {
    self.call = call
    self.subject = subject
    self.code = code
  }
}

extension SystemError {
  /// The same call may work later: the host was short of something, or busy.
  public var mayPass: Bool {
    [ENOMEM, EMFILE, ENFILE, ENOBUFS, EAGAIN, EINTR, EBUSY, ENOSPC].contains(code)
  }
}

extension SystemError: CustomStringConvertible {
  public var description: String {
    "\(call)\(subject.isEmpty ? "" : " \(subject)"): \(String(cString: strerror(code)))"
  }
}

/// Runs a call that returns -1 and sets errno, again for as long as a signal interrupts it.
@discardableResult
public func system(
  _ call: String, _ subject: @autoclosure () -> String = "", _ body: () -> Int
) throws(SystemError) -> Int {
  while true {
    let result = body()
    if result >= 0 { return result }
    guard errno == EINTR else { throw SystemError(call, subject()) }
  }
}

/// The same for calls whose result is a C int.
@discardableResult
public func system(
  _ call: String, _ subject: @autoclosure () -> String = "", _ body: () -> Int32
) throws(SystemError) -> Int32 {
  while true {
    let result = body()
    if result >= 0 { return result }
    guard errno == EINTR else { throw SystemError(call, subject()) }
  }
}
