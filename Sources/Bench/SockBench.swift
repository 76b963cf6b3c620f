import CBPF
import Flow
import Glibc
import Lab
import Linux
import XDP

/// What TCP costs with its packets unmarked, stamped by their sockets, and marked by tc; and what the sock path's
/// programs take where they run: at a connection's set-up, at a call back before a packet, at acknowledgements, and in a
/// search through all sockets.
enum SockBench {
  private enum Way: String, CaseIterable {
    case unmarked, sock, tc
  }

  static func run() throws {
    print("TCP over a veth pair, with the processor time of both ends; rounds alternate, the median is shown")
    print("write      way         Mb/s   ns/packet   packets")
    for size in [1, 1448, 65_536] {
      var rounds: [Way: [Sample]] = [:]
      for _ in 0..<7 {
        for way in Way.allCases { rounds[way, default: []].append(try sample(way, size)) }
      }
      for way in Way.allCases { show(way, size, rounds[way] ?? []) }
    }
    try connections()
    try acknowledgements()
    try searches()
  }

  private struct Sample {
    let nanoseconds: Double
    let wall: Double
    let packets: Double
  }

  private static func show(_ way: Way, _ size: Int, _ samples: [Sample]) {
    let sorted = samples.sorted { $0.nanoseconds / $0.packets < $1.nanoseconds / $1.packets }
    guard let median = sorted.dropFirst(sorted.count / 2).first else { return }
    let rate = Double(size) * Double(Self.writes(size)) * 8000 / median.wall
    print(
      pad("\(size)", 11) + pad(way.rawValue, 10) + pad("\(Int(rate))", 9)
        + pad("\(Int(median.nanoseconds / median.packets))", 12) + "\(Int(median.packets))")
  }

  private static func pad(_ text: String, _ width: Int) -> String {
    text + String(repeating: " ", count: max(1, width - text.count))
  }

  private static func writes(_ size: Int) -> Int { size == 65_536 ? 8_000 : 100_000 }

  private static func mark() -> Mark {
    Mark(label: FlowLabel(0x10044).map { LabelStamp($0, .kernel) })
  }

  private static func sample(_ way: Way, _ size: Int) throws -> Sample {
    let pair = try VethPair(offloads: true)
    let stream = try Stream(pair)
    var sock: SockPath?
    var tc: TCPath?
    try pair.near.run {
      switch way {
      case .unmarked: break
      case .sock:
        let path = try SockPath(maxFlows: 1000, group: ProcessGroup.folder)
        apply(.mark, stream.key, path)
        try path.reach()
        sock = path
      case .tc:
        let path = try TCPath(maxFlows: 1000)
        guard let near = try Interface.all().first(where: { $0.name == "near0" }) else {
          throw SystemError("no interface near0", code: ENODEV)
        }
        try path.attach(to: near)
        apply(.mark, stream.key, path)
        tc = path
      }
    }
    let before = try packets(pair)
    let (used, wall) = try stream.send(writes(size), of: size)
    let sent = try packets(pair) - before
    withExtendedLifetime((sock, tc)) {}
    return Sample(nanoseconds: used, wall: wall, packets: Double(sent))
  }

  private static func apply(_ action: ChangeBatch.Change.Action, _ key: FlowKey, _ path: any MarkingPath) {
    var batch = ChangeBatch()
    batch.changes.append(ChangeBatch.Change(action, key, mark()))
    path.apply(&batch)
  }

  private static func packets(_ pair: VethPair) throws -> Int {
    Int(try pair.near.shell("awk '$1 == \"near0:\" {print $11}' /proc/net/dev").filter(\.isNumber)) ?? 0
  }

  // MARK: - Where programs run

  /// Runs and nanoseconds of a loaded program, while the kernel keeps them.
  private static func statistics(_ name: String) throws -> (runs: UInt64, nanoseconds: UInt64) {
    var identifier: UInt32 = 0
    var total: (runs: UInt64, nanoseconds: UInt64) = (0, 0)
    while bpf_prog_get_next_id(identifier, &identifier) == 0 {
      let raw = bpf_prog_get_fd_by_id(identifier)
      guard raw >= 0 else { continue }
      let program = Descriptor(owning: raw)
      var info = bpf_prog_info()
      var size = UInt32(MemoryLayout<bpf_prog_info>.size)
      guard bpf_obj_get_info_by_fd(program.raw, &info, &size) == 0 else { continue }
      let text = withUnsafeBytes(of: info.name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
      if text == name { total = (total.runs + info.run_cnt, total.nanoseconds + info.run_time_ns) }
    }
    return total
  }

  private static func report(_ what: String, _ name: String, _ body: () throws -> Void) throws {
    let keep = try Descriptor("bpf_enable_stats") { bpf_enable_stats(BPF_STATS_RUN_TIME) }
    let before = try statistics(name)
    try body()
    let after = try statistics(name)
    let runs = after.runs - before.runs
    let each = runs > 0 ? (after.nanoseconds - before.nanoseconds) / runs : 0
    print("\(what): \(runs) runs, \(each) ns each (kernel.bpf_stats_enabled, which adds its own clock reading)")
    withExtendedLifetime(keep.raw) {}
  }

  private static func connections() throws {
    for marked in [false, true] {
      let pair = try VethPair()
      let path = try pair.near.run { try SockPath(maxFlows: 10_000, group: ProcessGroup.folder) }
      let listener = try LabSocket(.tcp, in: pair.far, bound: Endpoint(try address(VethPair.far6), 0))
      try listener.listen()
      let what = marked ? "connections of tagged flows" : "connections of others, beside one tagged"
      if !marked {
        apply(
          .mark,
          FlowKey(local: Endpoint(try address(VethPair.near6), 1), remote: listener.local, transport: .tcp), path)
      }
      try report("at the events of 2000 \(what)", "marker_sockets") {
        for round in 0..<2000 {
          let near = try LabSocket(
            .tcp, in: pair.near, bound: Endpoint(try address(VethPair.near6), UInt16(20_000 + round)))
          if marked { apply(.mark, FlowKey(local: near.local, remote: listener.local, transport: .tcp), path) }
          try near.connect(to: listener.local)
          _ = try listener.accept()
        }
      }
    }
  }

  private static func acknowledgements() throws {
    for (what, without) in [("sockets are found", SockPath.Without()), ("they are not", .iterator)] {
      let pair = try VethPair(offloads: true)
      let path = try pair.near.run {
        try SockPath(maxFlows: 10, group: ProcessGroup.folder, without: without)
      }
      let stream = try Stream(pair)
      try pair.near.run {
        apply(.mark, stream.key, path)
        try path.reach()
      }
      try report("100,000 writes of a tagged flow, where \(what)", "marker_sockets") {
        _ = try stream.send(100_000, of: 1448)
      }
    }
  }

  private static func searches() throws {
    let pair = try VethPair()
    let path = try pair.near.run { try SockPath(maxFlows: 10, group: ProcessGroup.folder) }
    let listener = try LabSocket(.tcp, in: pair.far, bound: Endpoint(try address(VethPair.far6), 0))
    try listener.listen()
    var kept: [LabSocket] = []
    for count in [0, 1000, 4000] {
      while kept.count < count * 2 {
        let near = try LabSocket(.tcp, in: pair.near, bound: Endpoint(try address(VethPair.near6), 0))
        try near.connect(to: listener.local)
        kept.append(near)
        kept.append(try listener.accept())
      }
      let start = MonotonicTime.now()
      try pair.near.run {
        for _ in 0..<20 {
          apply(
            .mark,
            FlowKey(local: Endpoint(try address(VethPair.near6), 1), remote: listener.local, transport: .tcp),
            path)
          try path.reach()
        }
      }
      let each = MonotonicTime.now().microseconds(since: start) / 20
      print("a search with \(count) connections in the namespace: \(each) us")
    }
    withExtendedLifetime(kept) {}
  }

  private static func address(_ text: String) throws -> Address {
    guard let address = Address(text) else { throw SystemError("not an address: \(text)", code: EINVAL) }
    return address
  }
}
