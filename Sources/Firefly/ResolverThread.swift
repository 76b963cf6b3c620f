import CLinux
import Glibc
import Linux

/// A thread of its own for calls that block as long as they like, such as `getaddrinfo`, which nothing can
/// interrupt: nobody ever waits for its end.
enum ResolverThread {
  private final class Body {
    let run: @Sendable () -> Void
    init(_ run: @escaping @Sendable () -> Void) { self.run = run }
  }

  /// Runs `body` on a new thread, which keeps what `body` holds alive until it returns.
  static func start(_ body: @escaping @Sendable () -> Void) throws(SystemError) {
    let context = Unmanaged.passRetained(Body(body))
    var thread = pthread_t()
    let code = pthread_create(
      &thread, nil,
      { context in
        // Signals are for the threads that wait for them.
        var signals = sigset_t()
        sigfillset(&signals)
        pthread_sigmask(SIG_BLOCK, &signals, nil)
        _ = clinux_set_thread_name("resolver")
        if let context { Unmanaged<Body>.fromOpaque(context).takeRetainedValue().run() }
        return nil
      }, context.toOpaque())
    guard code == 0 else {
      context.release()
      throw SystemError("pthread_create", "resolver", code: code)
    }
    pthread_detach(thread)
  }
}
