import ArgumentParser
import Flow
import Glibc
import Linux

/// Says what something means that carries a tag.
struct Decode: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Say what a flow label, a SciTag, a DSCP, a firefly or a capture means.",
    discussion: """
      Each argument is a number (0x30038, 196664, 20 binary digits), a tag (3/14, cms/"Analysis Input"), a firefly, or a file: a \
      capture (pcapng or pcap), or fireflies, one a line. `-` reads a file's contents from standard input. A number that can \
      be several things is shown as each; --as chooses. Exits with 1 where something cannot be decoded.

      Examples:
        marker decode 0xb0138
        marker decode --as dscp 15
        marker decode cms/"Analysis Input"
        nc -ulp 10514 | marker decode -
        marker decode marks.pcapng
      """)

  @Argument(help: ArgumentHelp("What to decode.", valueName: "thing"))
  var things: [String]

  @Option(
    name: .customLong("as"), help: "Read numbers and texts as this: `label`, `scitag`, `dscp` or `firefly`.")
  var kind: Decoding.Kind?

  @Flag(help: "Print JSON, an object a line.")
  var json = false

  @OptionGroup var tags: TagOptions

  func run() throws {
    let names = try tags.names()
    var map = tags.dscpMap ?? CodePointMap()
    map.preset = tags.dscpPreset
    let decoding = Decoding(names: names, map: map, kind: kind)
    var hasFailed = false
    for thing in things {
      do {
        if thing == "-" || (kind == nil && access(thing, F_OK) == 0 && !thing.contains("{")) {
          if try !file(thing, decoding) { hasFailed = true }
        } else {
          for reading in try decoding.readings(thing) { show(reading) }
        }
      } catch {
        StandardError.print("\(error)")
        hasFailed = true
      }
    }
    if hasFailed { throw ExitCode.failure }
  }

  private func show(_ reading: Decoding.Reading) { print(json ? reading.json : reading.text) }

  /// The longest line: a firefly is a datagram.
  private static let longestLine = 1 << 16

  /// - Returns: false where a part of it could not be decoded, which was told.
  private func file(_ path: String, _ decoding: Decoding) throws -> Bool {
    let name = path == "-" ? "standard input" : path
    let file = try OpenFile(path)
    let start = try file.read(4)
    if CaptureReader.recognises(start) { return try capture(file, start, name, decoding) }
    var isWhole = true
    var lines = LineSplitter(file, start, longest: Self.longestLine)
    while let line = try lines.next() {
      let text = String(decoding: line.bytes, as: UTF8.self).withoutOuterSpace
      if text.isEmpty { continue }
      do throws(Decoding.Refusal) {
        guard !line.isCut else {
          throw Decoding.Refusal(description: "longer than \(Self.longestLine) bytes")
        }
        if decoding.kind == nil, line.bytes.contains(UInt8(ascii: "{")) {
          show(try decoding.firefly(line.bytes))
        } else {
          for reading in try decoding.readings(text) { show(reading) }
        }
      } catch {
        StandardError.print("\(name), line \(line.number): \(error)")
        isWhole = false
      }
      fflush(nil)
    }
    return isWhole
  }

  private func capture(
    _ file: OpenFile, _ start: [UInt8], _ name: String, _ decoding: Decoding
  ) throws -> Bool {
    var rest = start[...]
    var reader = try CaptureReader(name) { room throws(SystemError) in
      guard rest.isEmpty else {
        let count = min(rest.count, room.count)
        room.copyBytes(from: rest.prefix(count))
        rest = rest.dropFirst(count)
        return count
      }
      return try system("read", name) { read(file.raw, room.baseAddress, room.count) }
    }
    var sniffer = Sniffer(decoding.names, SniffFilter(), json ? .json : .lines, nil, nil)
    var isWhole = true
    do throws(CaptureError) {
      while let packet = try reader.next() {
        do throws(SystemError) { try sniffer.take(packet, reader.interfaces) } catch {
          throw CaptureError(name: name, offset: 0, reason: "\(error)")
        }
      }
    } catch {
      StandardError.print("\(error)")
      isWhole = false
    }
    fflush(nil)
    StandardError.print(sniffer.totals(dropped: nil))
    return isWhole
  }
}

extension Decoding.Kind: ExpressibleByArgument {}

extension OpenFile {
  /// So many bytes, fewer only at the end.
  func read(_ count: Int) throws(SystemError) -> [UInt8] {
    var bytes: [UInt8] = []
    var room = [UInt8](repeating: 0, count: count)
    while bytes.count < count {
      let taken = try system("read") { Glibc.read(raw, &room, count - bytes.count) }
      if taken == 0 { break }
      bytes += room[..<taken]
    }
    return bytes
  }
}

/// The lines of a file or a pipe as they come.
struct LineSplitter {
  struct Line {
    /// From 1.
    let number: Int
    let bytes: [UInt8]
    /// It was longer; the rest was passed over.
    let isCut: Bool
  }

  private let file: OpenFile
  private let longest: Int
  private var waiting: [UInt8]
  private var number = 0
  private var hasEnded = false
  private var room = [UInt8](repeating: 0, count: 1 << 16)

  init(_ file: OpenFile, _ start: [UInt8], longest: Int) {
    self.file = file
    self.longest = longest
    waiting = start
  }

  mutating func next() throws(SystemError) -> Line? {
    var isCut = false
    var searched = 0
    while true {
      if let end = waiting[searched...].firstIndex(of: UInt8(ascii: "\n")) {
        number += 1
        let line = Line(number: number, bytes: Array(waiting[..<end]), isCut: isCut)
        waiting.removeSubrange(...end)
        return line
      }
      if waiting.count > longest {
        isCut = true
        waiting.removeAll(keepingCapacity: true)
      }
      searched = waiting.count
      if hasEnded { break }
      let count = try system("read") { Glibc.read(file.raw, &room, room.count) }
      hasEnded = count == 0
      waiting += room[..<count]
    }
    guard !waiting.isEmpty || isCut else { return nil }
    defer { waiting = [] }
    number += 1
    return Line(number: number, bytes: waiting, isCut: isCut)
  }
}
