import BenchReport
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
  private enum Way: String {
    case unmarked, sock, tc
  }

  static func run(_ recorder: Recorder) throws {
    recorder.heading(
      "TCP over veth by each way, processor time of both ends; the ways alternate on one connection")
    for size in [1, 1448, 65_536] { try compare(recorder, size) }
    recorder.heading("the sock path's programs where they run (kernel run-time statistics)")
    try connections(recorder)
    try acknowledgements(recorder)
    recorder.heading("sock path: a search through all connections of the namespace")
    try searches(recorder)
  }

  private static func compare(_ recorder: Recorder, _ size: Int) throws {
    let pair = try VethPair(offloads: true)
    let stream = try Stream(pair)
    _ = try stream.send(writes(size), of: size)
    var base = Samples()
    var (more, rates): ([Way: Samples], [Way: Samples]) = ([:], [:])
    for _ in 0..<roundCount {
      let unmarked = try sample(.unmarked, pair, stream, size)
      base.add(unmarked.nanoseconds)
      for way in [Way.sock, .tc] {
        let marked = try sample(way, pair, stream, size)
        more[way, default: Samples()].add(marked.nanoseconds - unmarked.nanoseconds)
        rates[way, default: Samples()].add(unmarked.wall / marked.wall)
      }
    }
    let write = size == 1 ? "a write of 1 byte" : "a write of \(fixed(Double(size), 0)) bytes"
    try recorder.figure("\(write), unmarked", base, "ns", .less)
    for way in [Way.sock, .tc] {
      try recorder.figure("\(write), more by \(way.rawValue)", more[way] ?? Samples(), "ns", .less)
      try recorder.figure(
        "\(write), throughput by \(way.rawValue) against unmarked", rates[way] ?? Samples(), "", .more,
        isDetail: size != 65_536)
    }
  }

  private static let roundCount = 15

  private struct Sample {
    /// Of processor time, a write.
    let nanoseconds: Double
    /// Nanoseconds by the clock, all writes.
    let wall: Double
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
    let (used, wall) = try stream.send(writes(size), of: size)
    if let sock {
      apply(.unmark, stream.key, sock)
      try pair.near.run { try sock.reach() }
      _ = try stream.send(10, of: size)
    }
    withExtendedLifetime(tc) {}
    return Sample(nanoseconds: used / Double(writes(size)), wall: wall)
  }

  private static func apply(_ action: ChangeBatch.Change.Action, _ key: FlowKey, _ path: any MarkingPath) {
    var batch = ChangeBatch()
    batch.changes.append(ChangeBatch.Change(action, key, mark()))
    path.apply(&batch)
  }

  // MARK: - Where programs run

  /// The youngest program of a name: this process's own, that was just loaded.
  private static func youngest(_ name: String) throws -> Descriptor {
    var found: UInt32 = 0
    for identifier in try held(.program, by: getpid()) {
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

  /// Nanoseconds that the youngest program of a name runs in what is done.
  private static func cost(_ name: String, _ body: () throws -> Void) throws -> Double {
    let keep = try Descriptor("bpf_enable_stats") { bpf_enable_stats(BPF_STATS_RUN_TIME) }
    let program = try youngest(name)
    let before = try information(program)
    try body()
    let after = try information(program)
    withExtendedLifetime(keep.raw) {}
    return Double(after.run_time_ns - before.run_time_ns)
  }

  private static func connections(_ recorder: Recorder) throws {
    for marked in [false, true] {
      let pair = try VethPair()
      let path = try pair.near.run { try SockPath(maxFlows: 10_000, group: ProcessGroup.folder) }
      let listener = try LabSocket(.tcp, in: pair.far, bound: Endpoint(try address(VethPair.far6), 0))
      try listener.listen()
      if !marked {
        apply(
          .mark,
          FlowKey(local: Endpoint(try address(VethPair.near6), 1), remote: listener.local, transport: .tcp),
          path)
      }
      let nanoseconds = try cost("marker_sockets") {
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
      try recorder.figure(
        marked ? "a connection of a tagged flow" : "a connection of others, beside one tagged",
        Samples([nanoseconds / 2000]), "ns", .less)
    }
  }

  private static func acknowledgements(_ recorder: Recorder) throws {
    for (what, without) in [("sockets are searched", SockPath.Without()), ("they are not", .iterator)] {
      let pair = try VethPair(offloads: true)
      let path = try pair.near.run {
        try SockPath(maxFlows: 10, group: ProcessGroup.folder, without: without)
      }
      let stream = try Stream(pair)
      try pair.near.run {
        apply(.mark, stream.key, path)
        try path.reach()
      }
      let nanoseconds = try cost("marker_sockets") { _ = try stream.send(100_000, of: 1448) }
      try recorder.figure(
        "a write of a tagged flow, \(what)", Samples([nanoseconds / 100_000]), "ns", .less)
    }
  }

  private static func searches(_ recorder: Recorder) throws {
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
      var each = Samples()
      try pair.near.run {
        for _ in 0..<20 {
          let start = MonotonicTime.now()
          apply(
            .mark,
            FlowKey(local: Endpoint(try address(VethPair.near6), 1), remote: listener.local, transport: .tcp),
            path)
          try path.reach()
          each.add(Double(MonotonicTime.now().microseconds(since: start)))
        }
      }
      try recorder.figure(
        "with \(fixed(Double(count), 0)) connections", each, "us", .less, isDetail: count == 1000)
    }
    withExtendedLifetime(kept) {}
  }

  private static func address(_ text: String) throws -> Address {
    guard let address = Address(text) else { throw SystemError("not an address: \(text)", code: EINVAL) }
    return address
  }
}
