internal import CBPF
internal import CLinux
internal import Glibc
internal import Linux

/// The gate of AF_XDP: a program at the inside's XDP hook that sends packets to the sockets of their queues.
final class XDPGate: InlineGate {
  private final class Attached {
    let link: Descriptor
    let isNative: Bool
    init(_ link: consuming Descriptor, isNative: Bool) {
      self.link = link
      self.isNative = isNative
    }
  }
  private let pair: InlinePair
  private let queues: Int
  private let zeroCopy: Bool
  private let object: BPFObject
  private let devices: InlineDevices
  private var attached: Attached?
  private var sockets: [Int32] = []
  private var isZeroCopy = false
  private var reportedOverflow = 0
  let control: InlineControl
  var stations: StationMap

  // XDP_FLAGS_… of <linux/if_link.h>.
  private static let generic: UInt32 = 1 << 1
  private static let native: UInt32 = 1 << 2
  private static let program = "marker_redirect"

  init(_ pair: InlinePair, remembers: Bool) throws(InlineError) {
    // Ethernet and two tags before the IP header.
    guard pair.inside.mtu + 22 <= FrameMemory.longest else {
      throw .frames(pair.inside, longest: FrameMemory.longest - 22)
    }
    self.pair = pair
    do throws(SystemError) {
      let details = try InterfaceDetails.all()
      let ports = details.filter { [pair.inside.index, pair.outside.index].contains($0.interface.index) }
      queues = max(1, ports.first { $0.interface.index == pair.inside.index }?.queues ?? 1)
      zeroCopy = ports.count == 2 && ports.allSatisfy { $0.xdp?.contains(.zeroCopy) == true }
    } catch {
      throw .system(error)
    }
    let map: Int32
    do throws(BPFError) {
      object = try BPFObject(.redirect, program: Self.program, mapSizes: ["sockets": UInt32(queues)])
      control = try InlineControl(map: object.map(".bss"))
      map = try object.map("stations")
    } catch {
      throw .program(error)
    }
    do throws(SystemError) {
      stations = try StationMap(map: map, outside: pair.outside)
    } catch {
      throw .system(error)
    }
    devices = try InlineDevices(pair, remembers: remembers)
    // Devices take one tag beyond their MTU (is_skb_forwardable of the kernel's net/core/dev.c).
    let longest = pair.outside.mtu == 0 ? .max : pair.outside.mtu + UInt32(ETH_HLEN) + 4
    control.setUp(inside: pair.inside.index, sink: 0, longest: min(longest, FrameMemory.longest))
  }

  deinit { close() }

  func engine(
    _ pair: InlinePair, _ counters: InlineCounters
  ) throws(SystemError) -> sending any PacketEngine {
    let made = try makeEngine(counters)
    let descriptors = made.sockets
    let map: Int32
    do throws(BPFError) { map = try object.map("sockets") } catch {
      throw SystemError("\(error)", code: ENOENT)
    }
    for (queue, socket) in descriptors.enumerated() {
      var (key, value) = (UInt32(queue), socket)
      let status = bpf_map_update_elem(map, &key, &value, UInt64(BPF_ANY))
      guard status == 0 else { throw SystemError("bpf_map_update_elem", "sockets", code: -status) }
    }
    sockets = descriptors
    return made
  }

  private func makeEngine(_ counters: InlineCounters) throws(SystemError) -> sending XDPEngine {
    if zeroCopy, attached?.isNative == true {
      do throws(SystemError) {
        let made = try XDPEngine(pair, queues: queues, zeroCopy: true, counters)
        isZeroCopy = true
        return made
      } catch {
        // The driver has it, but not for this queue or these frames: copying always works.
      }
    }
    return try XDPEngine(pair, queues: queues, zeroCopy: false, counters)
  }

  var lease: UInt64 { 1_000_000_000 }

  var words: String {
    "AF_XDP, \(attached?.isNative == true ? "native" : "generic"), \(isZeroCopy ? "zero-copy" : "copy"), "
      + "\(queues) queue\(queues == 1 ? "" : "s")"
  }

  /// A link stays until its device goes, and who has more rights than this process cannot take it away by accident.
  var isThere: Bool { attached != nil }

  func takeOverflow() -> Int {
    let now = sockets.reduce(0) { $0 + XDPSocket.overflow(of: $1) }
    defer { reportedOverflow = max(now, reportedOverflow) }
    return max(0, now - reportedOverflow)
  }

  func open() throws(InlineError) {
    var last = SystemError("attach to XDP of", pair.inside.name, code: EINVAL)
    for mode in [Self.native, Self.generic] {
      try devices.prepare(isGeneric: mode == Self.generic)
      do throws(SystemError) {
        attached = Attached(try attach(mode), isNative: mode == Self.native)
        return
      } catch {
        last = error
        if error.code == EBUSY || error.code == EEXIST { break }
      }
    }
    devices.restore()
    throw last.code == EBUSY || last.code == EEXIST ? .xdpTaken(pair.inside) : .system(last)
  }

  private func attach(_ mode: UInt32) throws(SystemError) -> Descriptor {
    let program: Int32
    do throws(BPFError) { program = try object.program(Self.program) } catch {
      throw SystemError("\(error)", code: ENOENT)
    }
    // BPF_LINK_CREATE, 28: the program, the interface, BPF_XDP, flags. libbpf's options for it carry a union.
    var attributes: [UInt32] = [UInt32(program), pair.inside.index, BPF_XDP.rawValue, mode]
    return try Descriptor("attach to XDP of", pair.inside.name) {
      clinux_bpf(28, &attributes, UInt32(attributes.count * MemoryLayout<UInt32>.size))
    }
  }

  func close() {
    sockets = []
    guard attached != nil else { return }
    attached = nil
    devices.restore()
  }
}
