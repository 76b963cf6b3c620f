internal import CLinux
internal import Flow
internal import Glibc
internal import Linux

/// What brings packets from the inside to a packet thread, and leaves all others with the bridge.
protocol InlineGate: AnyObject {
  var control: InlineControl { get }
  /// Where packets have to go to be taken over.
  var stations: StationMap { get set }
  /// How long the kernel goes on handing packets over without a word from the thread, nanoseconds.
  var lease: UInt64 { get }
  /// How it was attached, for the log.
  var words: String { get }
  /// Whether packets still pass it.
  var isThere: Bool { get }
  /// Packets that the thread was too slow for, since the last call.
  func takeOverflow() -> Int
  /// Attaches the program; no packets come as long as nothing is active.
  func open() throws(InlineError)
  /// What moves the packets that come.
  func engine(_ pair: InlinePair, _ counters: InlineCounters) throws(SystemError) -> sending any PacketEngine
  /// No more packets come; those that have come are still the engine's.
  func close()
}

/// The gate of packet sockets: a program at tc ingress that sends packets to the sink.
final class PacketSocketGate: InlineGate {
  /// The attachment, in a box because a variable of it cannot be taken away from.
  private final class Attached {
    let attachment: TCAttachment
    init(_ attachment: consuming TCAttachment) { self.attachment = attachment }
  }
  private let inside: Interface
  private let object: BPFObject
  private let filter: BPFObject
  private let sink: Sink
  private let seeing: PortSocket
  private let hook: TCHook?
  /// Whether segmentation and partial checksums are carried along.
  private let hasHeaders: Bool
  private var attached: Attached?
  let control: InlineControl
  var stations: StationMap

  private static let program = "marker_gate"
  /// Super-packets count with the kernel's overhead; this is a hundred of the largest, and ten thousand small ones.
  private static let queueBytes: Int32 = 32 << 20

  /// - Parameters:
  ///   - hook: the only hook to use, nil for the best that the kernel has.
  ///   - headers: whether to carry segmentation and partial checksums along, where the kernel knows how.
  init(_ pair: InlinePair, hook: TCHook?, headers: Bool) throws(InlineError) {
    do throws(BPFError) {
      object = try BPFObject(.inline, program: Self.program)
      let variables = try object.map(".bss")
      filter = try BPFObject(
        .inline, program: "marker_taken",
        shared: [".bss": variables, "stations": object.map("stations")])
      control = try InlineControl(map: variables)
    } catch {
      throw .program(error)
    }
    let program: Int32
    let map: Int32
    do throws(BPFError) {
      program = try filter.program("marker_taken")
      map = try object.map("stations")
    } catch {
      throw .program(error)
    }
    do throws(SystemError) {
      stations = try StationMap(map: map, outside: pair.outside)
      hasHeaders = headers ? try PortSocket.knowsHeaders : false
      sink = try Sink(hasHeaders: hasHeaders)
      seeing = try PortSocket(
        seeing: sink.name, sink.index, filter: program, memory: Self.queueBytes, hasHeaders: hasHeaders)
    } catch {
      throw .system(error)
    }
    inside = pair.inside
    self.hook = hook
    control.setUp(
      inside: pair.inside.index, sink: sink.index,
      longest: pair.outside.mtu == 0 ? .max : pair.outside.mtu + UInt32(ETH_HLEN))
  }

  func engine(
    _ pair: InlinePair, _ counters: InlineCounters
  ) throws(SystemError) -> sending any PacketEngine {
    // A full queue of the outside is waited for; what waits meanwhile is in the socket of the sink.
    let sending = try PortSocket(
      sendingBy: pair.outside.name, pair.outside.index, memory: 8 << 20, patience: 100_000,
      hasHeaders: hasHeaders)
    guard hasHeaders else { return try PacketRingEngine(seeing: seeing, sending: sending, counters) }
    return try PacketSocketEngine(seeing: seeing, sending: sending, counters)
  }

  /// A tcx link dies with the process, so the lease is for a thread that hangs. A clsact filter stays: until its lease is
  /// over, the packets of a daemon that was killed are lost.
  var lease: UInt64 { attached?.attachment.hook == .tcx ? 1_000_000_000 : 100_000_000 }
  var words: String {
    "packet sockets\(hasHeaders ? "" : " without vnet headers"), tc ingress by \(attached?.attachment.hook.rawValue ?? "nothing")"
  }
  var isThere: Bool { attached?.attachment.isThere ?? false }

  func takeOverflow() -> Int { seeing.takeDrops() }

  func open() throws(InlineError) {
    do throws(BPFError) {
      let attachment = try TCAttachment(
        program: object.program(Self.program), name: Self.program, interface: inside, .ingress, hook: hook)
      attached = Attached(attachment)
    } catch {
      throw .program(error)
    }
  }

  func close() { attached = nil }
}
