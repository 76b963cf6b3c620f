import Flow
import Linux
import NFT
import XDP

/// What each path did to real packets on this kernel.
struct SelfTestReport {
  /// One way to mark, tried on one kind of flow.
  struct Trial {
    /// `tcx`, `clsact`, `nft`, `sock`, `raw`, `xdp`.
    let way: String
    let stamp: Stamp
    let transport: TransportProtocol
    let finding: Finding
  }

  private(set) var trials: [Trial] = []

  static let ways = ["tcx", "clsact", "nft", "sock", "raw", "xdp"]

  init(_ wanted: Set<String>) {
    for way in Self.ways where wanted.isEmpty || wanted.contains(way) { trials += Self.trials(way) }
  }

  /// Each way has namespaces of its own, which are gone when it is done.
  private static func trials(_ way: String) -> [Trial] {
    var done: [Trial] = []
    do throws(SystemError) {
      done = try inPrivateNamespace { () throws(SystemError) -> [Trial] in
        let isInline = way == "raw" || way == "xdp"
        let pair = try PrivatePair(isBridged: isInline)
        let path: OpenPath
        do { path = try OpenPath(way, pair) } catch {
          return all(way, .no("\(error)", needs: OpenPath.need(way)))
        }
        defer { path.close() }
        var trials: [Trial] = []
        for (stamp, transport) in kinds {
          trials.append(
            Trial(
              way: way, stamp: stamp, transport: transport, finding: try path.finding(stamp, transport, pair))
          )
        }
        return trials
      }
    } catch {
      done = all(way, .untried("\(error)", needs: PrivateLink.need(error.code)))
    }
    return done
  }

  private static var kinds: [(Stamp, TransportProtocol)] {
    Stamp.rewriting.flatMap { stamp in [TransportProtocol.tcp, .udp].map { (stamp, $0) } }
  }

  private static func all(_ way: String, _ finding: Finding) -> [Trial] {
    kinds.map { Trial(way: way, stamp: $0.0, transport: $0.1, finding: finding) }
  }

  /// Whether some way marks each kind of flow, the label on IPv6 and the DSCP on IPv4: what `--strategy auto` wants.
  var isSound: Bool {
    [Stamp.label, .ipv4CodePoint].allSatisfy { stamp in
      [TransportProtocol.tcp, .udp].allSatisfy { transport in
        trials.contains { $0.stamp == stamp && $0.transport == transport && $0.finding.isYes }
      }
    }
  }

  /// Whether nothing could be tried at all.
  var isUntried: Bool { trials.allSatisfy { $0.finding.verdict == .untried } }
}

/// A path that is loaded and attached on a private pair.
private struct OpenPath {
  private let way: String
  private let path: any MarkingPath

  init(_ way: String, _ pair: PrivatePair) throws {
    self.way = way
    switch way {
    case "tcx", "clsact":
      let tc = try TCPath(maxFlows: 64, hook: way == "tcx" ? .tcx : .clsact)
      try tc.attach(to: pair.near)
      path = tc
    case "nft": path = try NFTPath(seed: 0)
    case "sock":
      guard let group = try ControlGroup.own() else {
        throw PathError(.sock, "this process's group is in no cgroup2 that is mounted")
      }
      path = try SockPath(maxFlows: 64, group: group)
    default:
      guard let ports = pair.ports else { throw PathError(.raw, "there is no bridge") }
      let inline = InlinePath(way == "xdp" ? .xdp : .raw, maxFlows: 64, remembers: false)
      try inline.open(InlinePair.find(inside: ports.inside, outside: ports.outside))
      path = inline
    }
  }

  func finding(
    _ stamp: Stamp, _ transport: TransportProtocol, _ pair: PrivatePair
  ) throws(SystemError) -> Finding {
    if way == "sock", transport != .tcp { return .untried("sockets of TCP only", needs: "another path") }
    return try pair.finding(of: stamp, by: path, on: transport)
  }

  func close() { (path as? InlinePath)?.close() }

  /// What helps where it cannot be had.
  static func need(_ way: String) -> String {
    switch way {
    case "tcx": "Linux 6.6 for tcx; clsact works before"
    case "sock": "cgroup2, mounted, and sock_ops programs with links, Linux 5.7"
    case "xdp": "AF_XDP of Linux 5.10, and 16 MiB to lock (ulimit -l)"
    case "raw": "tc, and /dev/net/tun"
    default: ""
    }
  }
}
