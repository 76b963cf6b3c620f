public import Flow
public import Linux

extension TCPath {
  /// Loads the real program, attaches it to a veth pair in a throw-away network namespace by one hook, sends packets
  /// and reads the marks back at the other end. Nothing of the host changes.
  ///
  public static func probe(_ hook: TCHook, _ stamps: [Stamp] = Stamp.allCases) -> [Stamp: Finding] {
    do throws(SystemError) {
      return try inPrivateNamespace { () throws(SystemError) in
        var link = try PrivateLink()
        let rewritten = try findings(hook, stamps.filter { $0.headers == nil }, insertsHeaders: false, &link)
        let inserted = try findings(hook, stamps.filter { $0.headers != nil }, insertsHeaders: true, &link)
        return rewritten.merging(inserted) { first, _ in first }
      }
    } catch {
      return findings(stamps, .untried("\(error)", needs: PrivateLink.need(error.code)))
    }
  }

  private static func findings(
    _ hook: TCHook, _ stamps: [Stamp], insertsHeaders: Bool, _ link: inout PrivateLink
  ) throws(SystemError) -> [Stamp: Finding] {
    if stamps.isEmpty { return [:] }
    let path: TCPath
    do throws(BPFError) {
      path = try TCPath(maxFlows: stamps.count, hook: hook, insertsHeaders: insertsHeaders)
      try path.attach(to: link.near)
    } catch {
      return findings(
        stamps, .no("\(error)", needs: hook == .tcx ? "Linux 6.6 for tcx; clsact works before" : ""))
    }
    var findings: [Stamp: Finding] = [:]
    for stamp in stamps { findings[stamp] = try link.finding(of: stamp, by: path) }
    path.detach(fromInterface: link.near.index)
    return findings
  }

  private static func findings(_ stamps: [Stamp], _ finding: Finding) -> [Stamp: Finding] {
    Dictionary(stamps.map { ($0, finding) }) { first, _ in first }
  }
}
