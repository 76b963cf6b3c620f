import CLinux
import Flow
import Glibc
public import Linux

/// An anonymous network namespace: gone with its last descriptor, also after a crash.
///
/// `setns` moves one thread, and Swift's tasks hop between threads; so everything that must happen inside
/// runs on a thread of its own. Sockets, BPF links and child processes made there belong to the namespace for
/// good and may be used from anywhere.
public final class NetworkNamespace: Sendable {
  private let descriptor: Descriptor

  public init() throws(SystemError) {
    descriptor = try onThread { () throws(SystemError) -> Descriptor in
      try system("unshare") { clinux_unshare_net() }
      return try Descriptor("open", "/proc/thread-self/ns/net") {
        open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)
      }
    }
    try shell("ip link set lo up")
  }

  /// A path that `nsenter --net=` and `ip link set … netns` take.
  public var path: String { "/proc/\(getpid())/fd/\(descriptor.raw)" }

  /// Runs the body inside.
  public func run<T: ~Copyable, E: Error>(_ body: () throws(E) -> T) throws(E) -> T {
    let fd = descriptor.raw
    return try onThread { () throws(E) -> T in
      precondition(clinux_setns_net(fd) == 0, "setns: errno \(errno)")
      return try body()
    }
  }

  /// Runs a shell command line inside.
  ///
  /// - Returns: what it printed.
  /// - Throws: `ENOEXEC` with the command and its output where it exits with another status than 0.
  @discardableResult
  public func shell(_ command: String) throws(SystemError) -> String {
    try run { () throws(SystemError) -> String in try Lab.shell(command) }
  }
}

private final class Job {
  let run: () -> Void
  init(_ run: @escaping () -> Void) { self.run = run }
}

/// Runs the body on a thread of its own and waits for it.
func onThread<T: ~Copyable, E: Error>(_ body: () throws(E) -> T) throws(E) -> T {
  var value: T?
  var failure: E?
  withoutActuallyEscaping(body) { body in
    let job = Job {
      do throws(E) { value = try body() } catch { failure = error }
    }
    var thread = pthread_t()
    let status = pthread_create(
      &thread, nil,
      { argument in
        if let argument { Unmanaged<Job>.fromOpaque(argument).takeRetainedValue().run() }
        return nil
      }, Unmanaged.passRetained(job).toOpaque())
    precondition(status == 0, "pthread_create: \(status)")
    pthread_join(thread, nil)
  }
  if let failure { throw failure }
  guard let made = value.take() else { preconditionFailure("the thread ended without a result") }
  return made
}

/// Runs the body on a thread of its own, without waiting for it.
public func startThread(_ body: sending @escaping () -> Void) {
  var thread = pthread_t()
  let status = pthread_create(
    &thread, nil,
    { argument in
      if let argument { Unmanaged<Job>.fromOpaque(argument).takeRetainedValue().run() }
      return nil
    }, Unmanaged.passRetained(Job(body)).toOpaque())
  precondition(status == 0, "pthread_create: \(status)")
  pthread_detach(thread)
}
