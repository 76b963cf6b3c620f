internal import CTable
public import Flow
internal import Glibc
public import Linux

/// Marks packets in the kernel as they leave an interface: a BPF program at tcx or clsact egress.
public final class TCPath: MarkingPath {
  public let kind = PathKind.tc
  public var families = AddressFamilies.all

  let programs: TCPrograms
  let control: ControlBlock
  private var map: FlowMap
  private var ports = PortFilter()
  var attachments = AttachmentList()
  /// Whether attachments stay when the path goes.
  let life = MarkLife()
  /// Where what outlives the process is pinned; nil for nowhere.
  let pins: BPFFolder?
  /// Another path of this process has taken over what is pinned.
  var isFollowed = false
  /// Where earlier processes have pinned what attaching takes over.
  private let heirlooms: [BPFFolder]
  private let hook: TCHook?
  private let order: TCXOrder
  private var ipv6Flows = 0
  private var ipv4Flows = 0
  private var scope: ScopeMarks?
  /// Programs at TCP's events enter flows into the table.
  public var isWatched = false { didSet { updateActive() } }
  private let excluded: NetworkMap

  /// Loads the programs; nothing is attached yet.
  ///
  /// - Parameters:
  ///   - maxFlows: the most flows that the kernel's table takes.
  ///   - hook: the only hook to use, nil for the best that the kernel has.
  ///   - insertsHeaders: whether marks with extension headers are to be had; these programs are larger.
  ///   - pins: where `keepMarks` pins.
  ///   - order: where in tcx's chains.
  ///   - adopts: attaching swaps the programs of an earlier process for these, so that no packet passes between them;
  ///     all flows have to be marked before. Else these programs run beside those of others.
  public init(
    maxFlows: Int, hook: TCHook? = nil, order: TCXOrder = .first, insertsHeaders: Bool = false,
    pins: BPFFolder? = nil, adopts: Bool = false
  ) throws(BPFError) {
    self.pins = pins
    self.order = order
    heirlooms = adopts ? pins.map { [$0] + $0.otherVersions.reversed() } ?? [] : []
    // Until it is known that all is well: the marks that were there must not go with a start that fails.
    life.outlivesProcess = adopts
    let programs = try TCPrograms(maxFlows: maxFlows, insertsHeaders: insertsHeaders)
    let flows = try programs.map("flows")
    let control = try ControlBlock(map: programs.map(".bss"))
    self.programs = programs
    self.control = control
    map = FlowMap(map: flows)
    excluded = try NetworkMap(map: programs.map("excluded"))
    self.hook = hook
  }

  /// Attaches to an interface; one that is attached already stays so, and its MTU is taken over.
  ///
  /// - Returns: the hook that was taken.
  @discardableResult
  public func attach(to interface: Interface) throws(BPFError) -> TCHook {
    try attach(to: interface, hook: hook)
  }

  func attach(to interface: Interface, hook: TCHook?) throws(BPFError) -> TCHook {
    try programs.setMTU(interface.mtu, ofInterface: interface.index)
    if let hook = attachments.hook(on: interface.index) { return hook }
    let pinned = heirlooms.map { $0.pin(Self.pin(ofLinkOn: interface.index)) }
    let ownsQdisc = (pins.map { [$0] + $0.olderVersions } ?? []).contains {
      access($0.pin(Self.pin(ofQdiscOn: interface.index)), F_OK) == 0
    }
    let attachment = try TCAttachment(
      programs: programs, interface: interface, hook: hook, order: order, pinned: pinned,
      ownsQdisc: ownsQdisc,
      life: life)
    let taken = attachment.hook
    attachments.append(attachment, interface.index)
    return taken
  }

  /// The hook that an interface is attached by; nil where it is not.
  public func hook(on index: UInt32) -> TCHook? { attachments.hook(on: index) }

  /// Whether the program that this one was to be beside is not at an interface's tcx, so that this one runs first.
  public func isMisplaced(on index: UInt32) -> Bool { attachments.isMisplaced(on: index) }

  /// Detaches from an interface; one that is gone has taken the attachment with it.
  public func detach(fromInterface index: UInt32) {
    attachments.remove(index)
    if !isFollowed { pins?.remove(Self.pin(ofQdiscOn: index)) }
    programs.forgetMTU(ofInterface: index)
  }

  /// Takes over the MTU of an attached interface, which bounds the packets that get an extension header. Until it is
  /// called, packets are judged by the MTU from before.
  public func setMTU(of interface: Interface) throws(BPFError) {
    try programs.setMTU(interface.mtu, ofInterface: interface.index)
  }

  /// The indexes of interfaces whose attachment somebody else has removed, with their clsact qdisc for example.
  public var lostInterfaces: [UInt32] { attachments.lost }

  /// The indexes of the interfaces that are attached.
  public var attachedInterfaces: [UInt32] { attachments.indexes }

  /// Packets that were to be stamped and left as they were, because the kernel could not make them writable, or because
  /// they had extension headers of their own where one was to be inserted.
  public var unwritablePackets: UInt64 { control.unwritable }

  /// Packets that were to get an extension header and left as they were, because they would not have fitted the link or
  /// path.
  public var tooBigPackets: UInt64 { control.tooBig }

  /// What the mark-all scope has stamped.
  public var scopeUsage: Usage { control.scopeUsage }

  public func markAll(_ marks: ScopeMarks?) throws(PathError) {
    let marks = marks?.of(families)
    if let mark = marks?.ipv6, !canCarry(mark) {
      throw PathError(.tc, "these programs do not insert extension headers")
    }
    try exclude(marks?.exclusions ?? .none, from: scope?.exclusions ?? .none)
    scope = marks
    control.setScope(
      ipv6: marks?.ipv6.map { marker_value($0) } ?? marker_value(),
      ipv4: marks?.ipv4.map { marker_value($0) } ?? marker_value())
    updateActive()
  }

  /// Packets that were excluded and still are stay so meanwhile.
  private func exclude(_ new: Exclusions, from old: Exclusions) throws(PathError) {
    guard new != old else { return }
    let (wanted, present) = (Set(new.networks), Set(old.networks))
    do throws(SystemError) {
      for network in wanted.subtracting(present) { try excluded.insert(network) }
      for network in present.subtracting(wanted) { try excluded.remove(network) }
    } catch {
      // The old ones stay in force.
      for network in wanted.subtracting(present) { try? excluded.remove(network) }
      throw PathError(.tc, "cannot exclude networks from mark-all: \(error)")
    }
    control.setExcludedPorts(new.ports)
    var excludes: Int32 = 0
    if !new.networks.isEmpty { excludes |= MARKER_EXCLUDE_NETWORKS }
    if !new.ports.isEmpty { excludes |= MARKER_EXCLUDE_PORTS }
    control.excludes = UInt32(excludes)
  }

  public func apply(_ batch: inout ChangeBatch) {
    batch.withChanges(of: families) { batch in carry(&batch) }
    updateActive()
  }

  private func carry(_ batch: inout ChangeBatch) {
    var index = 0
    while index < batch.changes.count {
      if batch.changes[index].action != .unmark, !canCarry(batch.changes[index].mark) {
        batch.changes[index].failure = PathFailure(.tc, code: EOPNOTSUPP)
        index += 1
        continue
      }
      switch batch.changes[index].action {
      case .mark where batch.changes[index].isEntered:
        confirm(index, &batch)
        index += 1
      case .mark:
        var end = index + 1
        while end < batch.changes.count, end - index < FlowMap.batchSize, batch.changes[end].action == .mark,
          !batch.changes[end].isEntered, canCarry(batch.changes[end].mark)
        {
          end += 1
        }
        mark(index..<end, &batch)
        index = end
      case .remark:
        remark(index, &batch)
        index += 1
      case .unmark:
        unmark(index, &batch)
        index += 1
      }
    }
  }

  /// Marks flows that another path marked until now, and counts on from there.
  public func takeOver(_ flows: (_ body: (FlowKey, Mark, Usage?) -> Void) -> Void) throws(PathError) {
    var failure: SystemError?
    flows { key, mark, usage in
      guard families.contains(key) else { return }
      do throws(SystemError) {
        guard canCarry(mark) else {
          throw SystemError("insert extension headers", "\(key)", code: EOPNOTSUPP)
        }
        try map.set(key, mark, counted: usage ?? Usage())
        enter(key)
      } catch {
        failure = error
      }
    }
    updateActive()
    if let failure { throw PathError(.tc, "cannot take over all flows: \(failure)") }
  }

  public func readUsage(_ body: (FlowKey, Usage) -> Void) throws(PathError) {
    try readTable { key, usage in
      if let usage { body(key, usage) }
    }
  }

  /// Reports every flow in the kernel's table, with the count of those that this path counts.
  public func readTable(_ body: (FlowKey, Usage?) -> Void) throws(PathError) {
    do throws(SystemError) {
      try map.readAll { key, usage in
        // A program that enters a flow at the same moment may have written over the bit.
        let bit = PortFilter.bit(of: key)
        if isWatched, ports.isTaken(bit) { control.setPortBit(bit, true) }
        body(key, usage)
      }
    } catch {
      throw PathError(.tc, "cannot read the flows' counters: \(error)")
    }
  }

  /// The descriptor of the program for a kind of interface, for tests that run it on packets of their own.
  func program(for header: Interface.LinkHeader) throws(BPFError) -> Int32 {
    try programs.program(for: header)
  }

  /// What is known of a flow's socket; nil where the flow is not there.
  func reach(of key: FlowKey) -> SocketReach? { map.reach(key) }

  /// Whether this path marks what the sock path does not reach. It then counts no flow that that one does.
  public var isComplement: Bool {
    get { map.leavesOutReached }
    set { map.leavesOutReached = newValue }
  }

  func canCarry(_ mark: Mark) -> Bool { mark.headers == nil || programs.insertsHeaders }

  private func mark(_ range: Range<Int>, _ batch: inout ChangeBatch) {
    let first = range.lowerBound
    let changes = batch.changes
    var refusals: [(place: Int, code: Int32)] = []
    map.set(
      count: range.count, { (changes[first + $0].key, changes[first + $0].mark) },
      refused: { refusals.append(($0, $1)) })
    for refusal in refusals {
      batch.changes[first + refusal.place].failure = PathFailure(.tc, code: refusal.code)
    }
    for index in range where batch.changes[index].failure == nil { enter(batch.changes[index].key) }
  }

  /// Takes over a flow that a program at TCP's events entered; its counters go on.
  private func confirm(_ index: Int, _ batch: inout ChangeBatch) {
    do throws(SystemError) {
      try map.add(batch.changes[index].key, batch.changes[index].mark)
      enter(batch.changes[index].key)
    } catch {
      batch.changes[index].failure = PathFailure(.tc, code: error.code)
    }
  }

  private func remark(_ index: Int, _ batch: inout ChangeBatch) {
    do throws(SystemError) {
      try map.change(batch.changes[index].key, batch.changes[index].mark)
    } catch {
      // The kernel refused the flow when it was first marked; it may have room now.
      if error.code == ENOENT { return mark(index..<index + 1, &batch) }
      batch.changes[index].failure = PathFailure(.tc, code: error.code)
    }
  }

  private func unmark(_ index: Int, _ batch: inout ChangeBatch) {
    let key = batch.changes[index].key
    do throws(SystemError) {
      // A flow whose mark was refused is not there and has no share in the port filter.
      let isElsewhere = isComplement && map.reach(key) == .reached
      guard let usage = try map.take(key) else { return }
      if !isElsewhere { batch.changes[index].usage = usage }
      leave(key)
    } catch {
      batch.changes[index].failure = PathFailure(.tc, code: error.code)
    }
  }

  private func enter(_ key: FlowKey) {
    let bit = PortFilter.bit(of: key)
    _ = ports.insert(bit)
    control.setPortBit(bit, true)
    if key.isIPv4 { ipv4Flows += 1 } else { ipv6Flows += 1 }
  }

  private func leave(_ key: FlowKey) {
    let bit = PortFilter.bit(of: key)
    if ports.remove(bit) { control.setPortBit(bit, false) }
    if key.isIPv4 { ipv4Flows -= 1 } else { ipv6Flows -= 1 }
  }

  /// The descriptors of the maps that programs at TCP's events share with this path.
  func sharedMaps() throws(BPFError) -> [String: Int32] {
    ["flows": try programs.map("flows"), ".bss": try programs.map(".bss")]
  }

  /// Removes a flow that a program at TCP's events entered and the table does not have.
  public func forget(_ key: FlowKey) throws(PathError) {
    do throws(SystemError) { _ = try map.take(key) } catch {
      throw PathError(.tc, "cannot remove \(key): \(error)")
    }
    closePorts(of: key)
  }

  /// Takes note that such a program removed a flow itself.
  public func closePorts(of key: FlowKey) {
    let bit = PortFilter.bit(of: key)
    if !ports.isTaken(bit) { control.setPortBit(bit, false) }
  }

  private func updateActive() {
    var active: Int32 = 0
    if ipv6Flows > 0 || isWatched { active |= MARKER_FLOWS_IPV6 }
    if ipv4Flows > 0 || isWatched { active |= MARKER_FLOWS_IPV4 }
    if scope?.ipv6 != nil { active |= MARKER_ALL_IPV6 }
    if scope?.ipv4 != nil { active |= MARKER_ALL_IPV4 }
    control.active = UInt32(active)
  }
}
