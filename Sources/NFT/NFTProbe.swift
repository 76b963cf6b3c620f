public import Flow
public import Linux

extension NFTPath {
  /// Loads the real rules in a throw-away network namespace, sends a packet through them over a veth pair and reads
  /// the mark back at the other end: there are kernels where a rule loads and does nothing. Nothing of the host
  /// changes. Takes milliseconds where it works, and most of a second where packets are lost.
  ///
  /// - Parameter stamps: no extension headers: rules cannot insert them.
  public static func probe(_ stamps: [Stamp] = Stamp.rewriting) -> [Stamp: Finding] {
    do throws(SystemError) {
      return try inPrivateNamespace { () throws(SystemError) in try findings(stamps) }
    } catch {
      return findings(stamps, .untried("\(error)", needs: PrivateLink.need(error.code)))
    }
  }

  /// In the calling thread's namespace, which must be private.
  private static func findings(_ stamps: [Stamp]) throws(SystemError) -> [Stamp: Finding] {
    var link = try PrivateLink()
    let path: NFTPath
    do throws(PathError) {
      path = try NFTPath(seed: 0)
    } catch {
      return findings(stamps, .no(error.reason))
    }
    var findings: [Stamp: Finding] = [:]
    for stamp in stamps { findings[stamp] = try link.finding(of: stamp, by: path) }
    return findings
  }

  private static func findings(_ stamps: [Stamp], _ finding: Finding) -> [Stamp: Finding] {
    Dictionary(stamps.map { ($0, finding) }) { first, _ in first }
  }
}
