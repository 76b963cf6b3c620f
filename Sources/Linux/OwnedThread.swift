internal import CLinux
internal import Glibc

/// A thread that is joined before its owner goes. What it runs has to be told to end by other means.
public final class OwnedThread: Sendable {
  // A pthread_t is a number here, which any thread may join, once.
  private let thread: pthread_t

  /// - Parameter name: up to 15 bytes, as `ps -L` and `top -H` show it.
  public init(named name: String, _ body: sending @escaping () -> Void) throws(SystemError) {
    var thread = pthread_t()
    let job = Unmanaged.passRetained(OwnedJob(name, body))
    let status = pthread_create(
      &thread, nil,
      { argument in
        if let argument { Unmanaged<OwnedJob>.fromOpaque(argument).takeRetainedValue().run() }
        return nil
      }, job.toOpaque())
    guard status == 0 else {
      job.release()
      throw SystemError("pthread_create", name, code: status)
    }
    self.thread = thread
  }

  deinit { pthread_join(thread, nil) }
}

private final class OwnedJob {
  private let name: String
  private let body: () -> Void

  init(_ name: String, _ body: @escaping () -> Void) {
    self.name = name
    self.body = body
  }

  func run() {
    clinux_set_thread_name(name)
    body()
  }
}
