import Flow
import Glibc
import Lab
import Linux
import Logging
import Testing

@testable import Marker

/// The writer's desk in a namespace, without threads and pipes around it.
@Suite(.enabled(if: geteuid() == 0, "needs root")) struct ReconfigurationLabTests {
  private let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

  private func settings(_ strategy: Strategy, _ path: PathChoice = .auto) -> Settings {
    var settings = Settings(
      interfaces: InterfaceSelection(names: ["near0"]), strategy: strategy, path: path, pipes: [],
      collectors: [],
      limits: FlowTable.Limits(maxFlows: 1000))
    settings.sockets.group = .folder(ProcessGroup.folder)
    return settings
  }

  private func desk(_ settings: Settings) throws -> TableWriter.Desk {
    let network = try NetworkKeeper(settings.interfaces, log: log)
    var start = PathStart(settings, interfaces: network.selected, log: log)
    let (plan, keepers) = try start.start()
    return TableWriter.Desk(
      table: FlowTable(policy: settings.policy(plan), limits: settings.limits, seed: 7), keepers: keepers,
      network: network, sockets: nil, settings: settings, plan: plan)
  }

  /// From one way of marking to another while packets leave: each has the old mark or the new one, none has neither.
  @Test func noPacketIsUnmarkedBetweenSettings() throws {
    let pair = try VethPair()
    let six = try Conversation.udp(pair)
    let four = try Conversation.udp(pair, ipv4: true)
    let (tcp6, tcp4) = (try Conversation.tcp(pair), try Conversation.tcp(pair, ipv4: true))
    for flow in [tcp6, tcp4] {
      // Thousands of small packets, that nobody reads.
      try flow.far.set(SOL_SOCKET, Int32(SO_RCVBUFFORCE), 64 << 20)
      try flow.near.set(Int32(IPPROTO_TCP), TCP_NODELAY, 1)
    }
    let steps: [(Settings, label: Bool, dscp: Bool)] = [
      (settings(.label, .nft), true, false), (settings(.label, .tc), true, false),
      (settings(.auto), true, true), (settings(.label, .sock), true, false),
      (settings(.auto, .sock), true, true),
      (settings(.auto, .nft), true, true), (settings(.auto, .tc), true, true), (settings(.dscp), false, true),
      (settings(.label), true, false),
    ]
    try pair.near.run {
      var desk = try desk(settings(.label))
      var batch = ChangeBatch()
      let now = Moment.now()
      for key in [six.key, four.key, tcp6.key, tcp4.key] {
        desk.table.apply(
          FlowEvent(.start, AnnouncedFlow(key, .outbound), SciTag(packed: 145), from: .pipe), at: now,
          localAddresses: desk.network.localAddresses, into: &batch)
      }
      desk.keepers.carry(&batch)
      var (hadLabel, hadDSCP, hadUDP) = (true, false, true)
      for step in steps {
        let capture = try Capture("far0", in: pair.far)
        let blast = try Blast([six.near, four.near, tcp6.near, tcp4.near])
        try desk.reconfigure(step.0, log: log)
        blast.stop()
        let frames = try capture.frames()
        let labels = frames.of(six.key).map { $0.flowLabel & ~FlowLabel.entropyMask == 0x10044 }
        let codePoints = frames.of(four.key).map { $0.dscp == 11 }
        #expect(labels.count >= 50 && codePoints.count >= 50)
        let (bySocket6, bySocket4) = (frames.of(tcp6.key), frames.of(tcp4.key))
        #expect(bySocket6.count >= 50 && bySocket4.count >= 50)
        let sixes = bySocket6.map { $0.flowLabel & ~FlowLabel.entropyMask == 0x10044 }
        let fours = bySocket4.map { $0.dscp == 11 }
        let what = "\(step.0.strategy) \(step.0.path)"
        // Of UDP, path sock marks nothing.
        let marksUDP = step.0.path != .sock
        if hadUDP && marksUDP && hadLabel && step.label {
          #expect(!labels.contains(false), "\(what): an unlabelled packet")
        }
        if hadUDP && marksUDP && hadDSCP && step.dscp {
          #expect(!codePoints.contains(false), "\(what): a packet without its DSCP")
        }
        if hadLabel && step.label { #expect(!sixes.contains(false), "\(what): TCP without its label") }
        if hadDSCP && step.dscp { #expect(!fours.contains(false), "\(what): TCP without its DSCP") }
        #expect(sixes.last == step.label && fours.last == step.dscp, "\(what): what holds for TCP afterwards")
        #expect(labels.last == (step.label && marksUDP), "\(what): what holds afterwards")
        #expect(codePoints.last == (step.dscp && marksUDP), "\(what): what holds afterwards")
        (hadLabel, hadDSCP, hadUDP) = (step.label, step.dscp, marksUDP)
      }
      for keeper in desk.keepers { keeper.finish(successors: []) }
    }
    #expect(try pair.near.shell("nft list tables") == "")
  }

  @Test func whatCannotBeHadLeavesAllAsItWas() throws {
    let pair = try VethPair()
    let six = try Conversation.udp(pair)
    try pair.near.run {
      var desk = try desk(settings(.label))
      var batch = ChangeBatch()
      desk.table.apply(
        FlowEvent(.start, AnnouncedFlow(six.key, .outbound), SciTag(packed: 145), from: .pipe), at: .now(),
        localAddresses: desk.network.localAddresses, into: &batch)
      for keeper in desk.keepers { keeper.path.apply(&batch) }
      var wrong = settings(.label, .xdp)
      do {
        try desk.reconfigure(wrong, log: log)
        Issue.record("path xdp was taken")
      } catch {}
      wrong = settings(.auto)
      wrong.interfaces = InterfaceSelection(names: ["far7"])
      wrong.path = .raw
      do {
        try desk.reconfigure(wrong, log: log)
        Issue.record("path raw was taken")
      } catch {}
      #expect(desk.settings == settings(.label))
      let capture = try Capture("far0", in: pair.far)
      try six.near.send([1])
      #expect(try capture.frames().of(six.key).map { $0.flowLabel & ~FlowLabel.entropyMask } == [0x10044])
      for keeper in desk.keepers { keeper.finish(successors: []) }
    }
  }
}
