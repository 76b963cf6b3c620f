import ServiceLifecycle

/// Tells of suppressed repeats when nothing else is logged any more, and at the end.
struct LogTail: Service {
  let output: LogOutput

  func run() async throws {
    await cancelWhenGracefulShutdown {
      while true {
        // Cancelled where the daemon stops.
        do { try await Task.sleep(for: .seconds(5)) } catch { return }
        output.settle()
      }
    }
    output.settle(all: true)
    // The group may come to this service last, and one that ends by itself counts as failed.
    try await gracefulShutdown()
  }
}
