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
func benchProgram() throws {
  print("tc program, BPF_PROG_TEST_RUN, net of a program that only returns")
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
    let relabel = try Program.relabelling(then: program)
    let relabelOnly = try Program.relabelling(then: noop)
    // A port pair whose bit is not set; the others are looked up in vain.
    let used = Set(keys.map { bit($0.local.port, $0.remote.port) })
    let pairs = (1...UInt16.max).map { bit(443, $0) }
    let free = (1...UInt16.max).first { !used.contains(bit(443, $0)) } ?? 1
    let miss = Build.ethernet(0x86dd) + Build.ipv6(label: 0x12345, next: 6, Build.tcp(443, free))
    var (hit, none, four) = (Figures(), Figures(), Figures())
    for _ in 0..<9 {
      let base = try noop.time(miss)
      none.add(try program.time(miss) - base)
      four.add(try program.time(ipv4) - base)
      hit.add(try relabel.time(match) - relabelOnly.time(match))
    }
    let with = flows == 1 ? "1 flow" : "100,000 flows"
    report("not matching, \(with)", none.text("ns"), goal: "<= 5")
    report(
      "  port pairs that share a bit with a flow's",
      "\(fixed(Double(pairs.count { used.contains($0) }) / Double(pairs.count) * 100, 1)) %")
    report("IPv4, \(with)", four.text("ns"), goal: "<= 3")
    report("matching and stamping TCP/IPv6, \(with)", hit.text("ns"), goal: "<= 45")
  }
}

/// The tc program in real TCP traffic, by the kernel's run-time statistics, less a program that only returns.
func benchTraffic() throws {
  print(
    "tc program in TCP traffic over veth (kernel run-time statistics), net of a program that only returns")
  let statistics = try Descriptor("bpf_enable_stats") { bpf_enable_stats(BPF_STATS_RUN_TIME) }
  defer { _ = statistics.raw }
  let pair = try VethPair(offloads: true)
  let matching = try Stream(pair)
  let other = try Stream(pair)
  let ipv4 = try Stream(pair, ipv4: true)
  var (hit, none, four) = (Figures(), Figures(), Figures())
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
  report("other IPv6 flow", none.text("ns"), goal: "<= 45")
  report("IPv4", four.text("ns"), goal: "<= 25")
  report("matching and stamping", hit.text("ns"), goal: "<= 170")
}
