import CLinux
import Flow
import Glibc
import Linux
import NIOHTTP1
import NIOPosix
import Synchronization

/// `marker top` in a terminal: waits for keys, signals, answers and time, and draws.
final class TopScreen {
  /// How it came to its end.
  struct End {
    /// The signal that ended it; 0 for none.
    var signal: Int32 = 0
    var problem: APIError?
  }

  /// All that would leave the terminal as it is, or has to do with it.
  private static let signals = [SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGCONT, SIGWINCH]

  private var state: TopState
  private let asker: TopAsker
  private let interval: Double
  private var terminal: Terminal
  private let signals: Descriptor
  private var nextAsk = MonotonicTime.now()
  private var isAsking = false
  private var shown: Terminal.Size?

  private init(
    _ state: TopState, interval: Double, _ signals: consuming Descriptor, _ terminal: consuming Terminal,
    _ asker: TopAsker
  ) {
    self.state = state
    self.interval = interval
    self.signals = signals
    self.terminal = terminal
    self.asker = asker
  }

  /// Shows flows until a key or a signal ends it, or the daemon does not answer.
  static func run(_ state: TopState, _ client: APIClient, interval: Double) throws(SystemError) -> End {
    let signals = try Descriptor("pipe2") { clinux_signal_pipe(Self.signals, Int32(Self.signals.count)) }
    let terminal = try Terminal()
    let asker = try TopAsker(client)
    return TopScreen(state, interval: interval, signals, terminal, asker).run()
  }

  private func run() -> End {
    terminal.enter()
    while true {
      if !isAsking, !state.isPaused, nextAsk <= .now() { ask() }
      draw()
      var ready = [STDIN_FILENO, signals.raw, asker.descriptor].map {
        pollfd(fd: $0, events: Int16(POLLIN), revents: 0)
      }
      let wait = nextAsk.microseconds(since: .now()) / 1000 + 1
      poll(&ready, 3, isAsking || state.isPaused ? -1 : Int32(clamping: wait))
      if ready[1].revents != 0, let signal = takeSignals() { return end(End(signal: signal)) }
      if ready[2].revents != 0, let problem = takeAnswer() { return end(End(problem: problem)) }
      if ready[0].revents != 0, !takeKeys() { return end(End()) }
    }
  }

  private func end(_ end: End) -> End {
    terminal.leave()
    return end
  }

  private func ask() {
    isAsking = true
    asker.ask(state.path(limit: min(max(terminal.size.rows, 1), APIRoutes.topLimit)))
  }

  private func draw() {
    let size = terminal.size
    terminal.draw(
      state.lines(width: size.columns, rows: size.rows), highlighted: 2, clearing: shown != size)
    shown = size
  }

  /// - Returns: the signal that ends it.
  private func takeSignals() -> Int32? {
    while case let signal = clinux_next_signal(signals.raw), signal != 0 {
      switch signal {
      case SIGWINCH: shown = nil
      case SIGCONT: again()
      case SIGTSTP:
        terminal.leave()
        clinux_suspend()
        again()
      default: return signal
      }
    }
    return nil
  }

  /// The shell had the terminal meanwhile.
  private func again() {
    terminal.leave()
    terminal.enter()
    shown = nil
  }

  private func takeAnswer() -> APIError? {
    guard let answer = asker.take() else { return nil }
    isAsking = false
    nextAsk = MonotonicTime.now().advanced(milliseconds: Int64(interval * 1000))
    switch answer {
    case .success(let answer): state.take(answer)
    // A daemon that restarts is back in a moment.
    case .failure(let error):
      guard state.page != nil else { return error }
      state.message = "no answer, it is tried again: \(error.reason)"
    }
    return nil
  }

  /// - Returns: false where it is to end.
  private func takeKeys() -> Bool {
    var keys = [UInt8](repeating: 0, count: 64)
    let count = read(STDIN_FILENO, &keys, keys.count)
    guard count > 0 else { return count < 0 && (errno == EINTR || errno == EAGAIN) }
    // Arrows and the like, which begin with Esc, are no keys of ours.
    if count > 1, keys[0] == 0x1b { return true }
    for key in keys[..<count] {
      switch state.press(key) {
      case .quit: return false
      case .ask: nextAsk = .now()
      case .redraw: if key == 0x0c { shown = nil }
      case .nothing: break
      }
    }
    return true
  }
}

/// Asks the daemon on a thread of its own: a daemon that hangs must not keep keys and signals waiting.
final class TopAsker: Sendable {
  private let client: APIClient
  private let pool = NIOThreadPool(numberOfThreads: 1)
  private let answer = Mutex<Result<APIClient.Answer, APIError>?>(nil)
  private let signal: EventCounter

  init(_ client: APIClient) throws(SystemError) {
    self.client = client
    signal = try EventCounter()
    pool.start()
  }

  /// Readable once an answer is there.
  var descriptor: Int32 { signal.descriptor }

  func ask(_ path: String) {
    pool.submit { [self] _ in
      let result: Result<APIClient.Answer, APIError>
      do throws(APIError) { result = .success(try client.ask(.GET, path)) } catch { result = .failure(error) }
      answer.withLock { $0 = result }
      signal.signal()
    }
  }

  func take() -> Result<APIClient.Answer, APIError>? {
    signal.clear()
    return answer.withLock { answer in
      defer { answer = nil }
      return answer
    }
  }
}
