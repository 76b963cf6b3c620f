import Flow
import Glibc
import Linux
import Logging

/// What the pipes' thread keeps between reads: the unfinished line of each pipe, and the events to hand on.
struct PipeReaders: ~Copyable {
  private final class Lines {
    var buffer = LineBuffer()
  }
  private let lines: [Lines]
  private let parser = PipeLineParser()
  private var batch: ContiguousArray<FlowEvent> = []
  private var complaints = ComplaintLimit()
  private let batchSize: Int
  /// Reads of one pipe before others have their turn, each of up to 64 KiB.
  private static let share = 8

  init(count: Int, batchSize: Int) {
    lines = (0..<count).map { _ in Lines() }
    self.batchSize = batchSize
    batch.reserveCapacity(batchSize)
  }

  /// What reading a pipe came to.
  enum Reading {
    /// Nothing is left in it: the next edge tells.
    case empty
    /// Its share is used up; more may be in it.
    case more
    /// The inbox takes nothing any more.
    case closed
  }

  /// Reads a pipe until nothing is left in it, but not for ever: a writer that never stops must not keep the others
  /// waiting.
  mutating func drain(
    _ number: Int, _ fd: Int32, _ path: String, into inbox: BoundedQueue<FlowEvent>, _ log: Logger
  ) throws(SystemError) -> Reading {
    let lines = lines[number]
    for _ in 0..<Self.share {
      let free = lines.buffer.free
      let count = read(fd, free.baseAddress, free.count)
      if count > 0 {
        lines.buffer.append(count) { take($0, $1, path, log) }
      } else if count == 0 {
        lines.buffer.finish { take($0, $1, path, log) }
      } else if errno != EINTR, errno != EAGAIN {
        throw SystemError("read", path)
      }
      let isEmpty = count == 0 || count < 0 && errno == EAGAIN
      if isEmpty || batch.count >= batchSize {
        guard inbox.add(batch) else { return .closed }
        batch.removeAll(keepingCapacity: true)
      }
      if isEmpty { return .empty }
    }
    return .more
  }

  private mutating func take(_ piece: LineBuffer.Piece, _ line: Span<UInt8>, _ path: String, _ log: Logger) {
    do throws(PipeLineError) {
      guard piece == .line else {
        throw PipeLineError(
          line, LineBuffer.longestLine, "a line shorter than \(LineBuffer.longestLine) bytes")
      }
      if let event = try parser.parse(line) { batch.append(event) }
    } catch {
      complaints.report(log, "a pipe line is not a flow", ["pipe": "\(path)", "error": "\(error)"])
    }
  }
}
