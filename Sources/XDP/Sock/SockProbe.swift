public import Flow
public import Linux

extension SockPath {
  /// What this path can do on this host.
  public struct Abilities: Sendable {
    /// Read back from the first packet of a connection.
    public var stamps: [Stamp: Finding]
    /// Whether connections that were there before can be set.
    public var findsSockets: Finding
    /// Whether a label stays when the kernel would draw another.
    public var fixesHash: Finding

    init(_ finding: Finding, _ stamps: [Stamp]) {
      self.stamps = Dictionary(stamps.map { ($0, finding) }) { first, _ in first }
      (findsSockets, fixesHash) = (finding, finding)
    }

    /// As rows of a report.
    public var attempts: [Attempt] {
      [
        Attempt("sock: connections that are there already", findsSockets),
        Attempt("sock: labels that stay through retransmissions", fixesHash),
      ]
    }
  }

  /// Loads the real programs, attaches them to the group that this process is in for as long as it takes, opens
  /// connections over a veth pair in a throw-away network namespace, and reads the marks of their first packets. Sockets
  /// of other namespaces are passed over, or before Linux 5.15 those with other addresses.
  ///
  /// - Parameter stamps: of `Stamp.rewriting`.
  public static func probe(_ stamps: [Stamp] = Stamp.rewriting) -> Abilities {
    do throws(SystemError) {
      guard let group = try ControlGroup.own() else {
        return Abilities(
          .no("this process's group is in no cgroup2 that is mounted", needs: "cgroup2, mounted"), stamps)
      }
      return try inPrivateNamespace { () throws(SystemError) in try probe(stamps, group) }
    } catch {
      return Abilities(.untried("\(error)", needs: PrivateLink.need(error.code)), stamps)
    }
  }

  private static func probe(_ stamps: [Stamp], _ group: String) throws(SystemError) -> Abilities {
    var link = try PrivateLink()
    let path: SockPath
    do throws(BPFError) {
      path = try SockPath(maxFlows: stamps.count, group: group)
    } catch {
      return Abilities(.no("\(error)", needs: "sock_ops programs with links, Linux 5.7"), stamps)
    }
    var abilities = Abilities(.untried("no label was tried"), [])
    for stamp in stamps { abilities.stamps[stamp] = try link.finding(of: stamp, by: path, on: .tcp) }
    abilities.findsSockets =
      path.noIterator.map { .no("\($0)", needs: "Linux 6.12 with BTF; without, tc marks those") } ?? .yes
    if stamps.contains(.label), abilities.stamps[.label]?.isYes == true {
      abilities.fixesHash =
        path.counts.rehashing == 0
        ? .yes
        : .no("SO_TXREHASH cannot be set by programs", needs: "Linux 6.1; without, it is put back each time")
    }
    return abilities
  }
}
