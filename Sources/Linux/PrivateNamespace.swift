internal import CLinux
internal import Glibc

/// Runs the body on a thread of its own in a network namespace of its own, and waits for it.
///
/// The namespace is empty but for a loopback device that is down, and is gone with everything in it once the body has
/// returned and its sockets are closed. Nothing of the host's network changes.
///
/// - Throws: `EPERM` where the process lacks CAP_SYS_ADMIN, and what the body throws.
public func inPrivateNamespace<T: ~Copyable>(
  _ body: () throws(SystemError) -> T
) throws(SystemError) -> T {
  try onOwnThread { () throws(SystemError) -> T in
    try system("unshare", "network namespace") { clinux_unshare_net() }
    return try body()
  }
}

/// Runs the body on a thread of its own in another network namespace, and waits for it.
///
/// - Parameter namespace: a descriptor of it.
/// - Throws: `EPERM` where the process lacks CAP_SYS_ADMIN, and what the body throws.
public func inNamespace<T: ~Copyable>(
  _ namespace: Int32, _ body: () throws(SystemError) -> T
) throws(SystemError) -> T {
  try onOwnThread { () throws(SystemError) -> T in
    try system("setns", "network namespace") { clinux_setns_net(namespace) }
    return try body()
  }
}

private final class Job {
  let run: () -> Void
  init(_ run: @escaping () -> Void) { self.run = run }
}

private func onOwnThread<T: ~Copyable>(_ body: () throws(SystemError) -> T) throws(SystemError) -> T {
  var value: T?
  var failure: SystemError?
  withoutActuallyEscaping(body) { body in
    let job = Job {
      do throws(SystemError) { value = try body() } catch { failure = error }
    }
    var thread = pthread_t()
    let handle = Unmanaged.passRetained(job)
    let status = pthread_create(
      &thread, nil,
      { argument in
        if let argument { Unmanaged<Job>.fromOpaque(argument).takeRetainedValue().run() }
        return nil
      }, handle.toOpaque())
    guard status == 0 else {
      handle.release()
      failure = SystemError("pthread_create", code: status)
      return
    }
    pthread_join(thread, nil)
  }
  if let failure { throw failure }
  guard let made = value.take() else { throw SystemError("pthread_join", code: ECHILD) }
  return made
}
