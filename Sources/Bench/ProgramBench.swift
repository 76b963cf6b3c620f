import BenchReport
import CBPF
import CTable
import Flow
import Glibc
import Lab
import Linux
import XDP

private let near = Address(high: 0x2001_0db8 << 32, low: 1)
private let far = Address(high: 0x2001_0db8 << 32, low: 2)

func labelMark() -> Mark {
  Mark(label: FlowLabel(SciTag(packed: 206), entropy: 0x4_0102).map { LabelStamp($0, .kernel) })
}

extension TCPath {
  func mark(_ keys: [FlowKey]) {
    var batch = ChangeBatch()
    for key in keys { batch.changes.append(ChangeBatch.Change(.mark, key, labelMark())) }
    apply(&batch)
  }
}

private func bit(_ local: UInt16, _ remote: UInt16) -> UInt32 {
  marker_port_bit(UInt32(local.bigEndian) | UInt32(remote.bigEndian) << 16)
}

/// The tc program on one packet over and over, less a program that only returns.
func benchProgram(_ recorder: Recorder) throws {
  recorder.heading("tc program, BPF_PROG_TEST_RUN, net of a program that only returns")
  typealias Build = PacketBuilder
  let match = Build.ethernet(0x86dd) + Build.ipv6(label: 0x12345, next: 6, Build.tcp(1094, 40000))
  let ipv4 = Build.ethernet(0x0800) + Build.ipv4(protocol: 6, Build.tcp(1094, 40000))
  for flows in [1, 100_000] {
    let path = try TCPath(maxFlows: 200_000)
    var keys = [FlowKey(local: Endpoint(near, 1094), remote: Endpoint(far, 40000), transport: .tcp)]
    for number in 1..<flows {
      let remote = Endpoint(
        Address(high: far.high, low: UInt64(number)), UInt16(truncatingIfNeeded: number &* 40_503))
      keys.append(FlowKey(local: Endpoint(near, 1094), remote: remote, transport: .tcp))
    }
    path.mark(keys)
    let program = try Program(named: "marker_ethernet")
    let noop = try Program.noop()
    let relabel = try Program.resetting(match, then: program)
    let relabelOnly = try Program.resetting(match, then: noop)
    // A port pair whose bit is not set; the others are looked up in vain.
    let used = Set(keys.map { bit($0.local.port, $0.remote.port) })
    let pairs = (1...UInt16.max).map { bit(443, $0) }
    let free = (1...UInt16.max).first { !used.contains(bit(443, $0)) } ?? 1
    let miss = Build.ethernet(0x86dd) + Build.ipv6(label: 0x12345, next: 6, Build.tcp(443, free))
    var (hit, none, four) = (Samples(), Samples(), Samples())
    for _ in 0..<9 {
      let base = try noop.time(miss)
      none.add(try program.time(miss) - base)
      four.add(try program.time(ipv4) - base)
      hit.add(try relabel.time(match) - relabelOnly.time(match))
    }
    let with = flows == 1 ? "1 flow" : "100,000 flows"
    try recorder.figure("not matching, \(with)", none, "ns", .less, goal: 5)
    let shared = Double(pairs.count { used.contains($0) }) / Double(pairs.count) * 100
    try recorder.figure(
      "port pairs that share a bit with a flow's, \(with)", Samples([shared]), "%", .less, isDetail: true)
    try recorder.figure("IPv4, \(with)", four, "ns", .less, goal: 3)
    try recorder.figure("matching and stamping TCP/IPv6, \(with)", hit, "ns", .less, goal: 45)
  }
  try benchShapes(recorder)
}

/// What stamping costs by the packet's shape.
private func benchShapes(_ recorder: Recorder) throws {
  recorder.heading(
    "tc program, BPF_PROG_TEST_RUN, matching and stamping by shape, net of a program that only returns")
  typealias Build = PacketBuilder
  let path = try TCPath(maxFlows: 1000)
  let (near4, far4) = (Address(ipv4: 0xc000_0201), Address(ipv4: 0xc000_0202))  // as PacketBuilder has them
  let ports = (local: 1094 as UInt16, remote: 40_000 as UInt16)
  path.mark(
    [.tcp, .udp].map {
      FlowKey(local: Endpoint(near, ports.local), remote: Endpoint(far, ports.remote), transport: $0)
    })
  var batch = ChangeBatch()
  batch.changes.append(
    ChangeBatch.Change(
      .mark,
      FlowKey(local: Endpoint(near4, ports.local), remote: Endpoint(far4, ports.remote), transport: .tcp),
      Mark(codePoint: CodePoint(11).map { CodePointStamp($0, onlyIfUnset: true) })))
  path.apply(&batch)
  let tcp = Build.tcp(ports.local, ports.remote)
  let label = 0x12345 as UInt32
  let shapes: [(name: String, packet: [UInt8], offset: Int)] = [
    (
      "UDP/IPv6",
      Build.ethernet(0x86dd) + Build.ipv6(label: label, next: 17, Build.udp(ports.local, ports.remote)), 14
    ),
    (
      "TCP/IPv6 behind an inline VLAN tag",
      Build.ethernet(0x86dd, tags: [(0x8100, 7)]) + Build.ipv6(label: label, next: 6, tcp), 18
    ),
    (
      "TCP/IPv6 behind a hop-by-hop header",
      Build.ethernet(0x86dd) + Build.ipv6(label: label, next: 0, Build.options(next: 6) + tcp), 14
    ),
    ("TCP/IPv4, DSCP", Build.ethernet(0x0800) + Build.ipv4(protocol: 6, tcp), 14),
  ]
  let program = try Program(named: "marker_ethernet")
  let noop = try Program.noop()
  for shape in shapes {
    guard try program.output(of: shape.packet) != shape.packet else {
      throw SystemError("the program does not stamp", shape.name, code: EIO)
    }
    let stamp = try Program.resetting(shape.packet, at: shape.offset, then: program)
    let base = try Program.resetting(shape.packet, at: shape.offset, then: noop)
    var cost = Samples()
    for _ in 0..<9 {
      let without = try base.time(shape.packet)
      cost.add(try stamp.time(shape.packet) - without)
    }
    try recorder.figure(shape.name, cost, "ns", .less)
  }
  withExtendedLifetime(path) {}
}

/// The tc program in real TCP traffic, by the kernel's run-time statistics, less a program that only returns.
func benchTraffic(_ recorder: Recorder) throws {
  recorder.heading(
    "tc program in TCP traffic over veth (kernel run-time statistics), net of a program that only returns")
  let statistics = try Descriptor("bpf_enable_stats") { bpf_enable_stats(BPF_STATS_RUN_TIME) }
  defer { _ = statistics.raw }
  let pair = try VethPair(offloads: true)
  let matching = try Stream(pair)
  let other = try Stream(pair)
  let ipv4 = try Stream(pair, ipv4: true)
  var (hit, none, four) = (Samples(), Samples(), Samples())
  for _ in 0..<7 {
    let base = try {
      let noop = try Program.noop()
      let link = try pair.near.run { () throws(SystemError) in
        try Descriptor("bpf_link_create") {
          bpf_link_create(
            noop.descriptor.raw, Int32(if_nametoindex("near0")), bpf_attach_type(rawValue: 47), nil)
        }
      }
      defer { _ = link.raw }
      return try (matching.cost(of: noop), ipv4.cost(of: noop))
    }()
    let path = try TCPath(maxFlows: 1000)
    guard let interface = try pair.near.run({ try Interface.all() }).first(where: { $0.name == "near0" })
    else { return }
    _ = try pair.near.run { try path.attach(to: interface) }
    path.mark([matching.key])
    let program = try Program(named: "marker_ethernet")
    hit.add(try matching.cost(of: program) - base.0)
    none.add(try other.cost(of: program) - base.0)
    four.add(try ipv4.cost(of: program) - base.1)
  }
  try recorder.figure("other IPv6 flow", none, "ns", .less, goal: 45)
  try recorder.figure("IPv4", four, "ns", .less, goal: 25)
  try recorder.figure("matching and stamping", hit, "ns", .less, goal: 170)
}
