import Flow
import Glibc
import Lab
import Linux
import Testing

private let far = "2001:db8::2"

/// A daemon with rules on the near end of a pair, told of connections in a control group of its own, and a collector on
/// the far end.
struct RuledLab {
  let pair: VethPair
  let group: LabGroup
  let marker: MarkerProcess
  let ear: LabSocket
  let wire: Capture

  /// - Parameters:
  ///   - group: `GROUP` in all texts stands for the test's own.
  ///   - before: is there before the daemon.
  init(
    _ rules: String, sockets: String = "cgroup: GROUP, period: 1s", more: String = "", path: String = "auto",
    fireflies period: String = "none",
    before: (VethPair, LabGroup) throws -> Void = { _, _ in }
  ) throws {
    pair = try VethPair()
    group = try LabGroup()
    ear = try LabSocket(.udp, in: pair.far, bound: Endpoint(try Conversation.address(far), 10514))
    try ear.set(SOL_SOCKET, Int32(SO_RCVBUFFORCE), 256 << 20)
    try before(pair, group)
    marker = try MarkerProcess(
      "run --config CONFIG", configuration: Self.configuration(rules, sockets, more, path, group, period),
      in: pair.near)
    wire = try Capture("far0", in: pair.far)
  }

  private static func configuration(
    _ rules: String, _ sockets: String, _ more: String, _ path: String, _ group: LabGroup,
    _ period: String = "none"
  ) -> String {
    """
    interfaces: [near0]
    path: \(path)
    pipes: [PIPE]
    fireflies: {collectors: ["[\(far)]:10514"], remoteEnds: false, period: \(period)}
    rules: \(rules)
    sockets: {\(sockets)}
    \(more)
    """.replacing("GROUPPATH", with: group.path).replacing("GROUP", with: group.folder)
  }

  func configure(
    _ rules: String, sockets: String = "cgroup: GROUP, period: 1s", more: String = "", path: String = "auto"
  ) throws {
    try marker.configure(Self.configuration(rules, sockets, more, path, group))
  }

  /// What was heard until so many fireflies came, and no more for a while; with 0, what comes in all of the time.
  func heard(_ count: Int, within seconds: Int = 20) throws -> [Heard] {
    var heard: [Heard] = []
    let start = MonotonicTime.now()
    while MonotonicTime.now().microseconds(since: start) < Int64(seconds) * 1_000_000 {
      guard let datagram = try ear.receive(within: heard.count < count ? 1000 : 300) else {
        if count > 0, heard.count >= count { break }
        continue
      }
      heard.append(try Heard(datagram))
    }
    return heard
  }

  /// A connection whose socket was made in the group.
  func connect(ipv4: Bool = false, to port: UInt16 = 0, from local: UInt16 = 0) throws -> Conversation {
    let listener = try LabSocket(
      .tcp, in: pair.far, bound: Endpoint(try Conversation.address(ipv4 ? VethPair.far4 : far), port))
    try listener.listen()
    return try group.run {
      let near = try LabSocket(
        .tcp, in: pair.near,
        bound: Endpoint(try Conversation.address(ipv4 ? VethPair.near4 : "2001:db8::1"), local))
      try near.connect(to: listener.local)
      return Conversation(
        near: near, far: try listener.accept(),
        key: FlowKey(local: near.local, remote: listener.local, transport: .tcp))
    }
  }

  /// A connection from afar to a listener that was made in the group.
  func accept(on port: UInt16) throws -> Conversation {
    let listener = try group.run {
      let listener = try LabSocket(
        .tcp, in: pair.near, bound: Endpoint(try Conversation.address("2001:db8::1"), port))
      try listener.listen()
      return listener
    }
    let peer = try LabSocket(.tcp, in: pair.far, bound: Endpoint(try Conversation.address(far), 0))
    try peer.connect(to: listener.local)
    return Conversation(
      near: try listener.accept(), far: peer,
      key: FlowKey(local: listener.local, remote: peer.local, transport: .tcp))
  }

  /// A process in the group that holds a connection to a port of the far end until it is killed.
  ///
  /// - Parameters:
  ///   - name: what it is called.
  ///   - user: whose it is.
  func holder(of port: UInt16, called name: String = "labholder", user: Int = 0) throws -> Holder {
    let folder = "\(marker.folder)/\(port)"
    try shell(
      "mkdir \(folder) && cp /bin/bash \(folder)/\(name) && chmod 755 \(marker.folder) \(folder)/\(name)")
    let command =
      "exec setpriv --reuid=\(user) --clear-groups \(folder)/\(name) -c "
      + "'exec 3<>/dev/tcp/\(far)/\(port); while :; do read -t 1000 <&3 || exit; done'"
    return Holder(
      pid: try group.run { try pair.near.run { () throws(SystemError) in try startShell(command) } })
  }

  /// Ends with its value.
  final class Holder {
    private let pid: pid_t
    init(pid: pid_t) { self.pid = pid }
    deinit {
      kill(pid, SIGKILL)
      waitpid(pid, nil, 0)
    }
  }

  func listen(_ port: UInt16) throws -> LabSocket {
    let listener = try LabSocket(.tcp, in: pair.far, bound: Endpoint(try Conversation.address(far), port))
    try listener.listen()
    return listener
  }

  func line(_ state: String, _ key: FlowKey, _ tag: String = "3 14") -> String {
    "\(state) \(key.transport.name) \(key.local.address) \(key.local.port) \(key.remote.address) \(key.remote.port) \(tag)\n"
  }

  /// The tags of a flow's packets, in their order; nil for one without.
  func tags(_ key: FlowKey, _ frames: [Frame]) -> [SciTag?] {
    frames.of(key).map { frame in
      frame.flowLabel == 0 ? nil : FlowLabel(Int(frame.flowLabel))?.sciTag
    }
  }
}
