internal import CBPF
public import Flow
internal import Glibc
public import Linux

/// What of the tc path outlives the process: its links and its table of flows.
extension TCPath {
  private static let flowsPin = "flows"
  private static let linkPrefix = "link-"

  private static let qdiscPrefix = "qdisc-"

  /// Whether a pin of that name is a link's.
  public static func isLink(_ name: String) -> Bool { name.hasPrefix(linkPrefix) }

  static func pin(ofLinkOn interface: UInt32) -> String { "\(linkPrefix)\(interface)" }

  /// Says that the interface's clsact qdisc was made by marker.
  static func pin(ofQdiscOn interface: UInt32) -> String { "\(qdiscPrefix)\(interface)" }

  /// Has the marks outlive the process, however it ends, on all interfaces that are attached now.
  ///
  /// - Throws: what could not be pinned; those marks go with the process.
  public func keepMarks() throws(PathError) {
    life.outlivesProcess = true
    guard let pins else {
      guard attachedInterfaces.contains(where: { hook(on: $0) == .tcx }) else { return }
      throw PathError(
        .tc, "marks will not outlast this process: there is no BPF file system to keep links in")
    }
    do throws(BPFError) {
      // Links first: without the table marks stay, and only what was counted is lost.
      try attachments.keep { (pins.pin(Self.pin(ofLinkOn: $0)), pins.pin(Self.pin(ofQdiscOn: $0))) }
      let flows = try programs.map("flows")
      do throws(SystemError) { try PinnedMap.pin(flows, pins.pin(Self.flowsPin)) } catch { throw .map(error) }
    } catch {
      throw PathError(.tc, "marks will not outlast this process: \(error)")
    }
  }

  /// Whether there is anywhere to pin.
  public var hasPlaceForPins: Bool { pins != nil }

  /// Goes and leaves the marks, for so long at the most.
  ///
  /// - Parameter seconds: then they end by themselves, if no other process has taken over.
  public func leaveMarks(for seconds: Int) {
    control.expires = BPFClock.now() + UInt64(seconds) * 1_000_000_000
  }

  /// Has the marks go with the path.
  ///
  /// - Parameter isFollowed: another path of this process has pinned its own table in this one's place.
  public func dropMarks(isFollowed: Bool = false) {
    life.outlivesProcess = false
    self.isFollowed = isFollowed
    if !isFollowed { pins?.remove(Self.flowsPin) }
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

  /// Whether all links that are pinned in a folder have lost their interfaces.
  public static func isOrphaned(_ folder: String) throws(SystemError) -> Bool {
    try BPFFolder.names(in: folder).filter { $0.hasPrefix(linkPrefix) }.allSatisfy { name in
      let fd = bpf_obj_get("\(folder)/\(name)")
      guard fd >= 0 else { return false }
      let link = Descriptor(owning: fd)
      return TCXLink.interfaceIndex(ofLink: link.raw) == 0
    }
  }

  /// Takes away the links that earlier processes left on interfaces, but for those that this path has by itself.
  ///
  /// - Parameters:
  ///   - path: nil where no such path marks any more.
  ///   - keepsMarks: a link of its that it could not pin at a place of its own stays pinned where it was.
  /// - Returns: how many there were.
  @discardableResult
  public static func removeLeft(
    in pins: BPFFolder, except path: TCPath? = nil, keepsMarks: Bool = false
  ) throws(SystemError) -> Int {
    var removed = 0
    for folder in [pins] + pins.otherVersions {
      for name in try folder.names where name.hasPrefix(linkPrefix) {
        let index = UInt32(name.dropFirst(linkPrefix.count))
        // In its own folder it has pinned them again.
        if folder.path == pins.path, let index, path?.hook(on: index) == .tcx { continue }
        if keepsMarks, let index, path?.attachments.pin(on: index) == folder.pin(name) { continue }
        folder.remove(name)
        removed += 1
      }
    }
    return removed
  }

  /// Takes away the clsact qdiscs that earlier processes made, unless others have come to use them.
  ///
  /// - Parameter path: whose qdiscs stay.
  public static func removeQdiscs(
    of pins: BPFFolder, on interfaces: [Interface], except path: TCPath? = nil
  ) throws(SystemError) {
    for folder in [pins] + pins.olderVersions {
      for name in try folder.names where name.hasPrefix(qdiscPrefix) {
        let index = UInt32(name.dropFirst(qdiscPrefix.count))
        if let index, path?.hook(on: index) == .clsact { continue }
        if let interface = interfaces.first(where: { $0.index == index }) {
          ClsactFilter.removeQdiscIfUnused(interface)
        }
        folder.remove(name)
      }
    }
  }

  /// Whether an earlier process has left a clsact filter.
  public static func hasLeftFilters(on interfaces: [Interface]) throws(SystemError) -> Bool {
    LibbpfLog.install()
    let withQdisc = try TrafficFilters.interfacesWithQdisc()
    return interfaces.contains { interface in
      guard withQdisc.contains(interface.index), let header = interface.linkHeader else { return false }
      return ClsactFilter.isLeft(on: interface, programName: TCPrograms.name(of: header))
    }
  }

  /// Takes away the clsact filters that earlier processes left.
  ///
  /// - Parameter path: whose filters stay.
  /// - Returns: how many there were.
  @discardableResult
  public static func removeFilters(
    on interfaces: [Interface], except path: TCPath? = nil
  ) throws(PathError) -> Int {
    LibbpfLog.install()
    var removed = 0
    do throws(SystemError) {
      let withQdisc = try TrafficFilters.interfacesWithQdisc()
      for interface in interfaces
      where withQdisc.contains(interface.index) && path?.hook(on: interface.index) != .clsact {
        guard let header = interface.linkHeader, try TrafficFilters.exist(on: interface) else { continue }
        removed += ClsactFilter.removeLeft(on: interface, programName: TCPrograms.name(of: header))
      }
    } catch {
      throw PathError(.tc, "\(error)")
    }
    return removed
  }
}
