import Flow
import Glibc
import Lab
import Linux
import Testing

@testable import Marker

/// Capture files that this program writes, and those of others that it reads.
@Suite struct CaptureFileTests {
  /// A folder that goes with the test.
  final class Folder {
    let path: String
    init() throws { path = try shell("mktemp -d /tmp/marker-capture-XXXXXX").filter { $0 != "\n" } }
    deinit { _ = try? shell("rm -rf \(path)") }
  }

  struct Read: Equatable {
    var frame: [UInt8]
    var length: Int
    var time: Int64
    var interface: Int
    var direction: CapturedPacket.Direction?
  }

  static let labelled =
    PacketBuilder.ethernet(0x86dd)
    + PacketBuilder.ipv6(trafficClass: 0x2d, label: 0xb0138, next: 6, PacketBuilder.tcp(34567, 1094))
  static let ipv4 =
    PacketBuilder.ethernet(0x0800) + PacketBuilder.ipv4(tos: 15 << 2, protocol: 17, PacketBuilder.udp(5, 6))

  static func write(_ path: String, link: LinkType = .ethernet, _ frames: [[UInt8]] = [labelled, ipv4]) throws
  {
    var writer = try PcapngWriter(path)
    try writer.add(
      CaptureInterface(name: "eth7", link: link.rawValue, snapLength: 256, ticksPerSecond: 1_000_000_000))
    for (number, frame) in frames.enumerated() {
      try frame.withUnsafeBytes { bytes in
        try writer.write(
          CapturedPacket(
            frame: bytes, length: frame.count + 10, time: 1_764_111_600_123_456_789 + Int64(number),
            interface: 0,
            direction: number % 2 == 0 ? .outgoing : .incoming), comment: "packet \(number)")
      }
    }
    try writer.write(received: 12, dropped: 2, interface: 0, at: 1_764_111_601_000_000_000)
    try writer.flush()
  }

  /// All packets, and why it ended where that was no end.
  static func read(_ bytes: [UInt8], piece: Int = 7) throws -> (packets: [Read], problem: CaptureError?) {
    var place = 0
    var packets: [Read] = []
    do throws(CaptureError) {
      var reader = try CaptureReader("test") { room in
        let count = min(piece, room.count, bytes.count - place)
        room.copyBytes(from: bytes[place..<place + count])
        place += count
        return count
      }
      while let packet = try reader.next() {
        packets.append(
          Read(
            frame: Array(packet.frame), length: packet.length, time: packet.time, interface: packet.interface,
            direction: packet.direction))
      }
    } catch {
      return (packets, error)
    }
    return (packets, nil)
  }

  private func bytes(_ path: String) throws -> [UInt8] { try contents(of: path, limit: 1 << 20) }

  @Test func whatIsWrittenIsRead() throws {
    let folder = try Folder()
    let path = "\(folder.path)/a.pcapng"
    try Self.write(path)
    let (packets, problem) = try Self.read(try bytes(path))
    #expect(problem == nil)
    #expect(packets.map(\.frame) == [Self.labelled, Self.ipv4])
    #expect(packets.map(\.length) == [Self.labelled.count + 10, Self.ipv4.count + 10])
    #expect(packets.map(\.time) == [1_764_111_600_123_456_789, 1_764_111_600_123_456_790])
    #expect(packets.map(\.direction) == [.outgoing, .incoming])
  }

  @Test func tsharkOpensIt() throws {
    let folder = try Folder()
    let path = "\(folder.path)/a.pcapng"
    try Self.write(path)
    let fields =
      "-e frame.interface_name -e frame.time_epoch -e frame.comment -e frame.len -e frame.cap_len -e ipv6.flow -e ip.dsfield.dscp"
    let lines = try shell("tshark -r \(path) -T fields -E separator='|' \(fields) 2>/dev/null").split(
      separator: "\n")
    #expect(lines.count == 2)
    let first = lines[0].split(separator: "|", omittingEmptySubsequences: false)
    #expect(
      first[0] == "eth7" && first[1].hasPrefix("1764111600.123456789") && first[2] == "packet 0",
      "\(lines[0])")
    #expect(Int(first[3]) == Self.labelled.count + 10 && Int(first[4]) == Self.labelled.count)
    #expect(first[5].hasSuffix("b0138"), "\(first[5])")
    #expect(lines[1].hasSuffix("|15"), "\(lines[1])")
    let about = try shell("capinfos -c -u -t \(path) 2>&1")
    #expect(about.contains("pcapng") && about.contains("2"), "\(about)")
  }

  /// What others write from the same packets, in their formats.
  @Test(arguments: ["pcap", "nsecpcap", "pcapng", "modpcap"]) func readsWhatOthersWrite(format: String) throws
  {
    let folder = try Folder()
    let path = "\(folder.path)/a.pcapng"
    try Self.write(path)
    try shell("editcap -F \(format) \(path) \(folder.path)/b 2>&1")
    let (packets, problem) = try Self.read(try bytes("\(folder.path)/b"))
    if format == "modpcap" {
      #expect(problem?.offset == 0 && packets.isEmpty)
      return
    }
    #expect(problem == nil, "\(problem.map { "\($0)" } ?? "")")
    #expect(packets.map(\.frame) == [Self.labelled, Self.ipv4])
    let times: [Int64] =
      format == "pcap"
      ? [1_764_111_600_123_456_000, 1_764_111_600_123_456_000]
      : [1_764_111_600_123_456_789, 1_764_111_600_123_456_790]
    #expect(packets.map(\.time) == times)
  }

  /// A file of the other byte order, by hand from the specification.
  @Test func readsTheOtherByteOrder() throws {
    func big(_ words: UInt32...) -> [UInt8] {
      words.flatMap { word in withUnsafeBytes(of: word.bigEndian) { Array($0) } }
    }
    let section = big(0x0a0d_0d0a, 28, 0x1a2b_3c4d, 0x0001_0000, 0xffff_ffff, 0xffff_ffff, 28)
    // if_tsresol 2^-10: code 9, length 1, value 0x8a.
    let interface = big(1, 32, 0x0065_0000, 100, 0x0009_0001, 0x8a00_0000, 0, 32)
    let packet = big(6, 36, 0, 0, 2048 + 512, 4, 40, 0x6000_0000, 36)
    let simple = big(3, 20, 60, 0x6000_0001, 20)
    let unknown = big(0x0bad, 16, 7, 16)
    let (packets, problem) = try Self.read(section + interface + unknown + packet + simple)
    #expect(problem == nil)
    #expect(
      packets == [
        Read(frame: [0x60, 0, 0, 0], length: 40, time: 2_500_000_000, interface: 0, direction: nil),
        Read(frame: [0x60, 0, 0, 1], length: 60, time: 0, interface: 0, direction: nil),
      ])
    let pcap = big(0xa1b2_c3d4, 0x0002_0004, 0, 0, 100, 101) + big(5, 6, 4, 40, 0x6000_0000)
    #expect(
      try Self.read(pcap).packets == [
        Read(frame: [0x60, 0, 0, 0], length: 40, time: 5_000_006_000, interface: 0, direction: nil)
      ])
    // A second section numbers its interfaces anew.
    let twice = try Self.read(section + interface + packet + section + interface + packet)
    #expect(twice.packets.map(\.interface) == [0, 1] && twice.problem == nil)
    #expect(
      try Self.read(section + interface + section + packet).problem?.reason.contains("does not describe")
        == true)
  }

  @Test func aFileThatIsCutGivesWhatIsWhole() throws {
    let folder = try Folder()
    let path = "\(folder.path)/a.pcapng"
    try Self.write(path)
    let whole = try bytes(path)
    let packets = try Self.read(whole).packets
    var ends = 0
    for count in 0..<whole.count {
      let (found, problem) = try Self.read(Array(whole[..<count]))
      #expect(found == Array(packets.prefix(found.count)))
      if problem == nil { ends += 1 } else { #expect(problem?.offset ?? .max <= UInt64(count)) }
    }
    // Behind the section, the interface, and each packet; the statistics block is the last.
    #expect(ends == 4)
  }

  /// Damaged files end in an error or an end, whatever is in them.
  @Test func aDamagedFileIsRefusedOrRead() throws {
    let folder = try Folder()
    let path = "\(folder.path)/a.pcapng"
    try Self.write(path)
    try shell("editcap -F pcap \(path) \(folder.path)/b 2>&1")
    var random = SplitMix(state: 0x5eed)
    var refused = 0
    for original in [try bytes(path), try bytes("\(folder.path)/b")] {
      for _ in 0..<4000 {
        var damaged = original
        for _ in 0..<Int.random(in: 1...4, using: &random) {
          let place = Int.random(in: 0..<damaged.count, using: &random)
          switch Int.random(in: 0..<4, using: &random) {
          case 0: damaged[place] = UInt8.random(in: 0...255, using: &random)
          case 1: damaged[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
          case 2: damaged[place] = [0, 0x7f, 0x80, 0xff].randomElement(using: &random) ?? 0
          default:
            damaged.removeSubrange(place..<min(damaged.count, place + Int.random(in: 1...9, using: &random)))
          }
          if damaged.isEmpty { damaged = [0] }
        }
        let (packets, problem) = try Self.read(damaged, piece: Int.random(in: 1...64, using: &random))
        if let problem {
          refused += 1
          #expect(problem.offset <= UInt64(damaged.count))
        }
        #expect(packets.reduce(0) { $0 + $1.frame.count } <= damaged.count)
        // And what it says is decoded, whatever it is.
        for packet in packets {
          packet.frame.withUnsafeBytes { bytes in
            for link in [LinkType.ethernet, .raw, .cooked, .cooked2, .null] {
              _ = MarkedPacket(
                CapturedPacket(frame: bytes, length: packet.length, time: 0, interface: 0), link)
            }
          }
        }
      }
    }
    #expect(refused > 1000)
  }

  /// The rest of a clock's range: times that no one means.
  @Test func timesDoNotOverflow() {
    var interface = CaptureInterface(name: "", link: 1, snapLength: 0)
    for ticks in [1, 1_000, 1_000_000_000, 1 << 63, 10_000_000_000_000_000_000] as [UInt64] {
      for offset in [0, 1, -1, Int64.max, .min] {
        (interface.ticksPerSecond, interface.offset) = (ticks, offset)
        for time in [0, 1, UInt64.max, 1 << 63] { _ = interface.nanoseconds(time) }
      }
    }
    (interface.ticksPerSecond, interface.offset) = (1_000_000, 3)
    #expect(interface.nanoseconds(2_000_001) == 5_000_001_000)
  }
}

/// A generator whose numbers are the same at each run (SplitMix64).
struct SplitMix: RandomNumberGenerator {
  var state: UInt64
  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var word = state
    word = (word ^ word >> 30) &* 0xbf58_476d_1ce4_e5b9
    word = (word ^ word >> 27) &* 0x94d0_49bb_1331_11eb
    return word ^ word >> 31
  }
}
