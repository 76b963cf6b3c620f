import Flow

/// Which packets are shown. What is empty or nil lets all through.
struct SniffFilter {
  enum Wanted { case all, marked, unmarked, missing }
  var experiment: UInt16?
  var activity: UInt8?
  /// Either end lies in one of them.
  var networks: [Network] = []
  /// Either end has one of them.
  var ports: [PortRange] = []
  var transport: UInt8?
  var families: AddressFamilies = [.ipv4, .ipv6]
  var wanted = Wanted.all

  func lets(_ packet: MarkedPacket, _ marks: ReadMarks, _ verdict: ExpectedMarks.Verdict) -> Bool {
    guard families.contains(packet.isIPv6 ? .ipv6 : .ipv4) else { return false }
    if let transport, packet.transport != transport { return false }
    if !networks.isEmpty {
      var isWithin = false
      for network in networks
      where network.contains(packet.source.address) || network.contains(packet.destination.address) {
        isWithin = true
      }
      guard isWithin else { return false }
    }
    if !ports.isEmpty {
      var isAmong = false
      for range in ports where range.contains(packet.source.port) || range.contains(packet.destination.port) {
        isAmong = true
      }
      guard isAmong else { return false }
    }
    switch wanted {
    case .all: break
    case .marked: guard marks.isMarked || verdict.isRight else { return false }
    case .unmarked: guard !marks.isMarked, !verdict.isRight else { return false }
    case .missing: guard verdict.isMissing else { return false }
    }
    return fits(marks, verdict)
  }

  /// Whether the tag asked for is one that the packet has, or should have.
  private func fits(_ marks: ReadMarks, _ verdict: ExpectedMarks.Verdict) -> Bool {
    if experiment == nil, activity == nil { return true }
    if let tag = marks.option, fits(tag) { return true }
    if let tag = marks.label, fits(tag) { return true }
    if let tag = verdict.tag, fits(tag) { return true }
    guard let meaning = marks.codePoint else { return false }
    return (experiment == nil || meaning.experiment == experiment)
      && (activity == nil || meaning.activity == activity)
  }

  private func fits(_ tag: SciTag) -> Bool {
    (experiment == nil || tag.experiment == experiment) && (activity == nil || tag.activity == activity)
  }
}
