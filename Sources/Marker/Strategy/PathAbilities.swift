import Flow
import Linux

/// What each path can stamp on this host, as far as it was tried.
struct PathAbilities: Equatable, Sendable {
  private struct Item: Hashable {
    let path: PathKind
    let stamp: Stamp
  }
  private var findings: [Item: Finding] = [:]
  /// The engines of an inline pair, the better first.
  var engines: [PathKind] = [.raw, .xdp]

  /// What was not tried is `untried`, and what no version of the path could do is a no.
  subscript(path: PathKind, stamp: Stamp) -> Finding {
    get { findings[Item(path: path, stamp: stamp)] ?? Self.given(path, stamp) }
    set { findings[Item(path: path, stamp: stamp)] = newValue }
  }

  /// Of a path whose every stamp ends the same.
  mutating func set(_ path: PathKind, to finding: Finding) {
    for stamp in Stamp.allCases where !Self.given(path, stamp).isNo { self[path, stamp] = finding }
  }

  mutating func merge(_ path: PathKind, _ findings: [Stamp: Finding]) {
    for (stamp, finding) in findings { self[path, stamp] = finding }
  }

  private static func given(_ path: PathKind, _ stamp: Stamp) -> Finding {
    switch (path, stamp) {
    case (_, .label), (_, .ipv6CodePoint), (_, .ipv4CodePoint): .untried()
    case (.tc, _): .untried()
    case (.xdp, _), (.raw, _):
      .no(
        "extension headers are not inserted between two ports", needs: "the tc path, on the hosts themselves")
    case (.sock, _): .no("a socket cannot be set to send an extension header", needs: "the tc path")
    case (.nft, _): .no("nftables rules cannot insert an extension header", needs: "the tc path")
    }
  }
}
