import Firefly
import Flow

@testable import Marker

extension FuzzTarget {
  /// What a pipe delivers: the first byte says in which chunks. Chunks change nothing.
  static var pipe: FuzzTarget {
    FuzzTarget(name: "pipe") { input in
      guard let first = input.first else { return }
      let bytes = UnsafeRawBufferPointer(rebasing: input.dropFirst())
      let whole = lines(of: bytes, chunk: 1 << 16)
      require(lines(of: bytes, chunk: Int(first) + 1) == whole, "chunks change nothing")
      let parser = PipeLineParser()
      for line in whole where line.count < LineBuffer.longestLine {
        do throws(PipeLineError) {
          let event = try parser.parse(line.span)
          if let event {
            require(
              event.flow.source.address.isIPv4 == event.flow.destination.address.isIPv4, "one address family")
          }
        } catch {
          require(!"\(error)".isEmpty, "the error says something")
        }
      }
    }
  }

  private static func lines(of bytes: UnsafeRawBufferPointer, chunk: Int) -> [[UInt8]] {
    var buffer = LineBuffer()
    var lines: [[UInt8]] = []
    func take(_ piece: LineBuffer.Piece, _ line: Span<UInt8>) {
      switch piece {
      case .line: lines.append(line.withUnsafeBufferPointer { Array($0) })
      // How much of it is handed out depends on the chunks.
      case .tooLong: lines.append([UInt8](repeating: 0, count: LineBuffer.longestLine))
      }
    }
    var offset = 0
    while offset < bytes.count {
      let room = buffer.free
      let count = min(chunk, room.count, bytes.count - offset)
      require(count > 0, "there is always room")
      room.copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + count]))
      buffer.append(count, take)
      offset += count
    }
    buffer.finish(take)
    return lines
  }

  /// Configurations, marker's and flowd-go's. What is accepted is written so that it is read as the same.
  static var yaml: FuzzTarget {
    FuzzTarget(name: "yaml") { input in
      let bytes = Array(input.bindMemory(to: UInt8.self))
      do throws(ConfigurationError) {
        let configuration = try Configuration(text: bytes, file: "fuzz.yaml")
        let written = configuration.text
        do throws(ConfigurationError) {
          let again = try Configuration(text: Array(written.utf8), file: "again.yaml")
          require(again.settings == configuration.settings, "written and read it is the same:\n\(written)")
        } catch {
          fatalError("what was written is refused: \(error)\n\(written)")
        }
        var reviewed = configuration
        do { try reviewed.review() } catch { require(!"\(error)".isEmpty, "the error says something") }
      } catch {
        require(!"\(error)".isEmpty, "the error says something")
      }
    }
  }

  /// Bodies of requests. The first byte chooses the form.
  static var http: FuzzTarget {
    FuzzTarget(name: "http") { input in
      guard let first = input.first else { return }
      let body = UnsafeRawBufferPointer(rebasing: input.dropFirst())
      let names = ApplicationNames(own: "own")
      do throws(JSONProblem) {
        if first & 1 == 0 {
          let reading = try FlowBody(applications: names).read(body, first & 2 == 0 ? .start : .end)
          require(reading.isArray || reading.events.count == 1, "one body, one flow")
          for (index, problem) in reading.problems {
            require(index >= 0 && !"\(problem)".isEmpty, "each problem names its item")
            require((0...body.count).contains(problem.offset), "the problem lies in the body")
          }
        } else {
          _ = try FlowdGoFlowBody(applications: names).read(body)
        }
        require(problem(in: body) == nil, "a body that is accepted is JSON")
      } catch {
        require((0...body.count).contains(error.offset), "the problem lies in the body")
        require(!error.reason.isEmpty, "the problem says something")
      }
    }
  }

  /// JSON of any kind.
  static var json: FuzzTarget {
    FuzzTarget(name: "json") { input in
      if let found = problem(in: input) {
        require((0...input.count).contains(found.offset), "the problem lies in the text")
        return
      }
      // A text that JSON is quoted in is JSON and reads as what it was.
      let text = String(decoding: input, as: UTF8.self)
      let quoted = Array(JSONText.quoted(text).utf8)
      quoted.withUnsafeBytes { quoted in
        var reader = JSONReader(quoted)
        do throws(JSONProblem) {
          require(try reader.string() == text, "quoted and read it is the same")
          try reader.end()
        } catch {
          fatalError("what was quoted is refused: \(error)")
        }
      }
    }
  }

  private static func problem(in bytes: UnsafeRawBufferPointer) -> JSONProblem? {
    var reader = JSONReader(bytes)
    do throws(JSONProblem) {
      try reader.skip()
      try reader.end()
      return nil
    } catch {
      return error
    }
  }
}
