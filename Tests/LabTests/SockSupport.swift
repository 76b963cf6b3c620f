import Flow
import Glibc
import Lab
import Linux
import Testing
import XDP

/// What is stamped in a test.
enum SockCase: String, CaseIterable, CustomTestStringConvertible {
  case label, ipv6CodePoint, labelAndCodePoint, ipv4CodePoint

  var testDescription: String { rawValue }
  var isIPv4: Bool { self == .ipv4CodePoint }
  var hasLabel: Bool { self == .label || self == .labelAndCodePoint }
  static let tag = 0x10044
  static let codePoint = 46

  func mark(_ tag: Int = tag, _ codePoint: Int = codePoint, onlyIfUnset: Bool = false) throws -> Mark {
    let label = try #require(FlowLabel(tag))
    let stamp = CodePointStamp(try #require(CodePoint(codePoint)), onlyIfUnset: onlyIfUnset)
    return Mark(
      label: hasLabel ? LabelStamp(label, .kernel) : nil, codePoint: self == .label ? nil : stamp)
  }

  /// Whether a packet has all of a mark.
  func fits(_ frame: Frame, _ tag: Int = tag, _ codePoint: Int = codePoint) -> Bool {
    (!hasLabel || frame.flowLabel & ~FlowLabel.entropyMask == UInt32(tag))
      && (self == .label || frame.dscp == UInt8(codePoint))
  }
}

/// The packets of one flow that the far side saw in one phase of its life.
struct SockPhase {
  let frames: [Frame]
  let sock: SockCase

  /// With the right tag.
  var right: Int { frames.count { sock.fits($0) } }
  /// With another label or DSCP than the tag's or the one that the socket had by itself.
  func wrong(_ own: Frame?) -> Int {
    frames.count { frame in
      !sock.fits(frame) && !(own.map { $0.flowLabel == frame.flowLabel && $0.dscp == frame.dscp } ?? false)
    }
  }
  /// Whether all that is checked of every packet of a phase in which the flow is marked holds.
  var isAllRight: Bool { !frames.isEmpty && right == frames.count }

  /// TCP's flags (RFC 9293 §3.1).
  func flags(_ frame: Frame) -> UInt8 { frame.bytes[frame.transportOffset + 13] }
  var synchronising: [Frame] { frames.filter { flags($0) & 2 != 0 } }
  var finishing: [Frame] { frames.filter { flags($0) & 1 != 0 } }
  var resetting: [Frame] { frames.filter { flags($0) & 4 != 0 } }
  /// Those that repeat a sequence number that carried data before.
  var repeated: [Frame] {
    var seen: Set<UInt32> = []
    return frames.filter { frame in
      let payload = frame.end - frame.transportOffset - Int(frame.bytes[frame.transportOffset + 12] >> 4) * 4
      let sequence = (4..<8).reduce(UInt32(0)) { $0 << 8 | UInt32(frame.bytes[frame.transportOffset + $1]) }
      return payload > 0 && !seen.insert(sequence).inserted
    }
  }
}

extension SockPath {
  /// Marks or unmarks a flow, and looks for its socket.
  func change(_ action: ChangeBatch.Change.Action, _ key: FlowKey, _ mark: Mark) throws {
    var batch = ChangeBatch()
    batch.changes.append(ChangeBatch.Change(action, key, mark))
    apply(&batch)
    #expect(batch.changes[0].failure == nil)
    try reach()
  }
}

/// A veth pair whose near end's sockets a sock path sets.
struct SockLab {
  let pair: VethPair
  let sock: SockPath

  init(on pair: VethPair? = nil, without: SockPath.Without = [], settings: String = "") throws {
    let pair = try pair ?? VethPair()
    self.pair = pair
    if !settings.isEmpty { try pair.near.shell("sysctl -qw \(settings)") }
    sock = try pair.near.run { try SockPath(maxFlows: 10_000, group: ProcessGroup.folder, without: without) }
  }

  static func end(_ isNear: Bool, _ isIPv4: Bool, _ port: UInt16) throws -> Endpoint {
    let (six, four) = isNear ? (VethPair.near6, VethPair.near4) : (VethPair.far6, VethPair.far4)
    return Endpoint(try Conversation.address(isIPv4 ? four : six), port)
  }

  /// Runs what is done to the path in the namespace: the iterator is of the thread's.
  func run(_ body: () throws -> Void) throws { try pair.near.run(body) }

  /// What a flow sent while the body ran.
  func phase(_ sock: SockCase, _ key: FlowKey, quiet: Int32 = 100, _ body: () throws -> Void) throws
    -> SockPhase
  {
    let capture = try Capture("far0", in: pair.far)
    try body()
    let frames = try capture.frames(quiet: quiet).of(key)
    #expect(try capture.dropped() == 0)
    return SockPhase(frames: frames, sock: sock)
  }

  /// Has the far end drop what comes for so long, in milliseconds, after it was captured.
  func lose(_ milliseconds: UInt32, _ body: () throws -> Void) throws {
    try pair.far.shell(
      "nft 'add table netdev loss; add chain netdev loss in { type filter hook ingress device far0 priority 0; policy drop; }'"
    )
    try body()
    usleep(milliseconds * 1000)
    try pair.far.shell("nft delete table netdev loss")
  }
}
