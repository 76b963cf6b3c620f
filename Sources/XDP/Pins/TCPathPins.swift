internal import CBPF
public import Flow
internal import Glibc
public import Linux

/// What of the tc path outlives the process: its links and its table of flows.
extension TCPath {
  private static let flowsPin = "flows"
  private static let linkPrefix = "link-"

  static func pin(ofLinkOn interface: UInt32) -> String { "\(linkPrefix)\(interface)" }

  /// Has the marks outlive the process, however it ends, on all interfaces that are attached now.
  ///
  /// - Throws: what could not be pinned; those marks go with the process.
  public func keepMarks() throws(PathError) {
    guard let pins else { return }
    life.outlivesProcess = true
    do throws(BPFError) {
      let flows = try programs.map("flows")
      do throws(SystemError) { try PinnedMap.pin(flows, pins.pin(Self.flowsPin)) } catch { throw .map(error) }
      try attachments.keep { pins.pin(Self.pin(ofLinkOn: $0)) }
    } catch {
      throw PathError(.tc, "marks will not outlast this process: \(error)")
    }
  }

  /// Goes and leaves the marks, for so long at the most.
  ///
  /// - Parameter seconds: then they end by themselves, if no other process has taken over.
  public func leaveMarks(for seconds: Int) {
    var now = timespec()
    // The clock of bpf_ktime_get_ns.
    clock_gettime(CLOCK_MONOTONIC, &now)
    control.expires = UInt64(now.tv_sec + seconds) * 1_000_000_000 + UInt64(now.tv_nsec)
  }

  /// Has the marks go with the path.
  public func dropMarks() {
    life.outlivesProcess = false
    pins?.remove(Self.flowsPin)
  }

  /// Reads what the table that an earlier process left has counted.
  public static func left(in pins: BPFFolder, _ body: (FlowKey, Usage) -> Void) throws(PathError) {
    let fd = bpf_obj_get(pins.pin(flowsPin))
    guard fd >= 0 else {
      guard fd == -ENOENT else {
        throw PathError(.tc, "\(SystemError("bpf_obj_get", pins.pin(flowsPin), code: -fd))")
      }
      return
    }
    let left = Descriptor(owning: fd)
    guard FlowMap.isOne(left.raw) else { return }
    do throws(SystemError) {
      var map = FlowMap(map: left.raw)
      try map.readAll { key, usage in
        if let usage { body(key, usage) }
      }
    } catch {
      throw PathError(.tc, "cannot read what was counted before: \(error)")
    }
  }

  /// Whether all that is pinned in a folder belongs to interfaces that have gone.
  public static func isOrphaned(_ folder: String) -> Bool {
    let links = BPFFolder.names(in: folder).filter { $0.hasPrefix(linkPrefix) }
    return !links.isEmpty
      && links.allSatisfy { name in
        let fd = bpf_obj_get("\(folder)/\(name)")
        guard fd >= 0 else { return false }
        let link = Descriptor(owning: fd)
        return TCXLink.interfaceIndex(ofLink: link.raw) == 0
      }
  }

  /// Takes away the links that earlier processes left on interfaces, but for some.
  ///
  /// - Returns: how many there were.
  @discardableResult
  public static func removeLeft(in pins: BPFFolder, except kept: [UInt32] = []) -> Int {
    var removed = 0
    for name in pins.names where name.hasPrefix(linkPrefix) {
      if let index = UInt32(name.dropFirst(linkPrefix.count)), kept.contains(index) { continue }
      pins.remove(name)
      removed += 1
    }
    return removed
  }

  /// Takes away the clsact filters that earlier processes left.
  ///
  /// - Returns: how many there were.
  public static func removeFilters(on interfaces: [Interface]) throws(PathError) -> Int {
    LibbpfLog.install()
    var removed = 0
    do throws(SystemError) {
      for interface in interfaces {
        guard let header = interface.linkHeader, try TrafficFilters.exist(on: interface) else { continue }
        removed += ClsactFilter.removeLeft(on: interface, programName: TCPrograms.name(of: header))
      }
    } catch {
      throw PathError(.tc, "\(error)")
    }
    return removed
  }
}
