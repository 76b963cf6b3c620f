import Flow
import Glibc
import Linux
import Logging
import Synchronization

/// What became of the lines of all pipes; read by any thread.
final class PipeCounts: Sendable {
  /// Lines that are events.
  let lines = Atomic<UInt64>(0)
  /// Lines that are not.
  let malformed = Atomic<UInt64>(0)
}

/// An open pipe, and the line in it that is not finished yet. Used by the pipes' thread only.
final class PipeReader {
  let pipe: SharedPipe
  fileprivate var buffer = LineBuffer()

  init(_ pipe: SharedPipe) { self.pipe = pipe }
}

/// Reads pipes and hands on what their lines say, many at a time.
struct PipeReaders: ~Copyable {
  private let counts: PipeCounts
  private let parser = PipeLineParser()
  private var batch: ContiguousArray<FlowEvent> = []
  private var complaints = ComplaintLimit()
  private let batchSize: Int
  /// Reads of one pipe before others have their turn, each of up to 64 KiB.
  private static let share = 8

  init(batchSize: Int, counts: PipeCounts) {
    self.counts = counts
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
    _ reader: PipeReader, into inbox: BoundedQueue<FlowEvent>, _ log: Logger
  ) throws(SystemError) -> Reading {
    let path = reader.pipe.path
    for _ in 0..<Self.share {
      let free = reader.buffer.free
      let count = read(reader.pipe.descriptor, free.baseAddress, free.count)
      if count > 0 {
        reader.buffer.append(count) { take($0, $1, path, log) }
      } else if count == 0 {
        reader.buffer.finish { take($0, $1, path, log) }
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
      guard let event = try parser.parse(line) else { return }
      counts.lines.wrappingAdd(1, ordering: .relaxed)
      batch.append(event)
    } catch {
      counts.malformed.wrappingAdd(1, ordering: .relaxed)
      complaints.report(log, "a pipe line is not a flow", ["pipe": "\(path)", "error": "\(error)"])
    }
  }
}
