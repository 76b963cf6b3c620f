public import Flow
public import Linux

extension InlinePath {
  /// Takes packets over between two ports of a bridge in a throw-away network namespace, by one engine, and reads their
  /// marks at the other side. Nothing of the host changes.
  ///
  /// - Parameter kind: `.raw` or `.xdp`.
  public static func probe(_ kind: PathKind) -> [Stamp: Finding] {
    do throws(SystemError) {
      return try inPrivateNamespace { () throws(SystemError) in
        var link = try PrivateLink(isBridged: true)
        let path = InlinePath(kind, maxFlows: 16, remembers: false)
        do throws(InlineError) {
          try path.open(InlinePair.find(inside: "far", outside: "outside"))
        } catch {
          let needs =
            kind == .xdp
            ? "AF_XDP of Linux 5.10, and 16 MiB to lock (ulimit -l)" : "tc, and /dev/net/tun"
          return all(.no("\(error)", needs: needs))
        }
        defer { path.close() }
        var findings: [Stamp: Finding] = [:]
        for stamp in Stamp.rewriting { findings[stamp] = try link.finding(of: stamp, by: path) }
        return findings
      }
    } catch {
      return all(.untried("\(error)", needs: PrivateLink.need(error.code)))
    }
  }

  private static func all(_ finding: Finding) -> [Stamp: Finding] {
    Dictionary(Stamp.rewriting.map { ($0, finding) }) { first, _ in first }
  }
}
