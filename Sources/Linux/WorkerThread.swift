internal import CLinux
internal import Glibc

/// Runs a blocking loop on a thread of its own and returns when the loop does: blocking work must not sit on the
/// threads that Swift's tasks share.
///
/// - Parameter name: up to 15 bytes, as `ps -L` and `top -H` show it.
public func runOnThread<E: Error>(
  named name: String, _ body: sending @escaping () throws(E) -> Void
) async throws(E) {
  let result: Result<Void, E> = await withCheckedContinuation { continuation in
    let job = ThreadJob(name) {
      do throws(E) {
        try body()
        continuation.resume(returning: .success(()))
      } catch {
        continuation.resume(returning: .failure(error))
      }
    }
    var thread = pthread_t()
    let status = pthread_create(
      &thread, nil,
      { argument in
        if let argument { Unmanaged<ThreadJob>.fromOpaque(argument).takeRetainedValue().run() }
        return nil
      }, Unmanaged.passRetained(job).toOpaque())
    precondition(status == 0, "pthread_create for \(name): \(String(cString: strerror(status)))")
    pthread_detach(thread)
  }
  try result.get()
}

private final class ThreadJob {
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
