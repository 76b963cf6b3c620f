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
    print(
      "TCP over a veth pair, with the processor time of both ends; ways alternate on one connection, medians")
    print("write      way         Mb/s   ns/write   ns/packet   packets")
    for size in [1, 1448, 65_536] {
      let pair = try VethPair(offloads: true)
      let stream = try Stream(pair)
      _ = try stream.send(writes(size), of: size)
      var rounds: [Way: [Sample]] = [:]
      for _ in 0..<roundCount {
        for way in Way.allCases { rounds[way, default: []].append(try sample(way, pair, stream, size)) }
      }
      for way in Way.allCases { show(way, size, rounds[way] ?? []) }
    }
    try connections()
    try acknowledgements()
    try searches()
  }

  private static let roundCount = 15

  private struct Sample {
    let nanoseconds: Double
    let wall: Double
    let packets: Double
  }

  private static func show(_ way: Way, _ size: Int, _ samples: [Sample]) {
    let sorted = samples.sorted { $0.nanoseconds < $1.nanoseconds }
    guard let median = sorted.dropFirst(sorted.count / 2).first else { return }
    let rate = Double(size) * Double(writes(size)) * 8000 / median.wall
    let columns = [
      rate, median.nanoseconds / Double(writes(size)), median.nanoseconds / median.packets, median.packets,
    ]
    print(
      pad("\(size)", 11) + pad(way.rawValue, 10)
        + zip(columns, [9, 11, 12, 0]).map { pad("\(Int($0))", $1) }.joined())
  }

  private static func pad(_ text: String, _ width: Int) -> String {
    text + String(repeating: " ", count: max(1, width - text.count))
  }

  private static func writes(_ size: Int) -> Int { size == 65_536 ? 4_000 : 50_000 }

  private static func mark() -> Mark {
    Mark(label: FlowLabel(0x10044).map { LabelStamp($0, .kernel) })
  }

  private static func sample(
    _ way: Way, _ pair: VethPair, _ stream: Stream, _ size: Int
  ) throws -> Sample {
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
          throw SystemError("no interface", "near0", code: ENODEV)
        }
        try path.attach(to: near)
        apply(.mark, stream.key, path)
        tc = path
      }
    }
    _ = try stream.send(10, of: size)
    let before = try packets(pair)
    let (used, wall) = try stream.send(writes(size), of: size)
    let sent = try packets(pair) - before
    if let sock {
      apply(.unmark, stream.key, sock)
      try pair.near.run { try sock.reach() }
      _ = try stream.send(10, of: size)
    }
    withExtendedLifetime(tc) {}
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

  /// The youngest program of a name: this process's own, that was just loaded.
  private static func youngest(_ name: String) throws -> Descriptor {
    var (identifier, found): (UInt32, UInt32) = (0, 0)
    while bpf_prog_get_next_id(identifier, &identifier) == 0 {
      let raw = bpf_prog_get_fd_by_id(identifier)
      guard raw >= 0 else { continue }
      let text = try withUnsafeBytes(of: information(Descriptor(owning: raw)).name) {
        String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
      }
      if text == name { found = identifier }
    }
    return try Descriptor("bpf_prog_get_fd_by_id", name) { bpf_prog_get_fd_by_id(found) }
  }

  private static func information(_ program: borrowing Descriptor) throws -> bpf_prog_info {
    var info = bpf_prog_info()
    var size = UInt32(MemoryLayout<bpf_prog_info>.size)
    try system("bpf_obj_get_info_by_fd") { bpf_obj_get_info_by_fd(program.raw, &info, &size) }
    return info
  }

  private static func report(_ what: String, _ name: String, _ body: () throws -> Void) throws {
    let keep = try Descriptor("bpf_enable_stats") { bpf_enable_stats(BPF_STATS_RUN_TIME) }
    let program = try youngest(name)
    let before = try information(program)
    try body()
    let after = try information(program)
    let runs = after.run_cnt - before.run_cnt
    let total = after.run_time_ns - before.run_time_ns
    print(
      "\(what): \(runs) runs, \(runs > 0 ? total / runs : 0) ns each, \(total / 1000) us in all (BPF statistics)"
    )
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
          FlowKey(local: Endpoint(try address(VethPair.near6), 1), remote: listener.local, transport: .tcp),
          path)
      }
      try report("at the events of 2000 \(what)", "marker_sockets") {
        for round in 0..<2000 {
          let near = try LabSocket(
            .tcp, in: pair.near, bound: Endpoint(try address(VethPair.near6), UInt16(20_000 + round)))
          if marked {
            apply(.mark, FlowKey(local: near.local, remote: listener.local, transport: .tcp), path)
          }
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
