import BenchReport
import Flow
import Glibc
import Lab
import Linux
import NFT
import XDP

/// A veth pair whose near end marks by one path, or by none.
private struct Lane {
  let name: String
  let pair: VethPair
  let path: (any MarkingPath)?

  static func without() throws -> Lane {
    Lane(name: "no table", pair: try VethPair(offloads: true), path: nil)
  }

  /// - Parameter flows: silent ones, beside those that are marked later.
  static func nft(_ name: String, flows: Int) throws -> Lane {
    let lab = try NFTLab()
    try lab.change(.mark, 0..<flows, batch: 10_000)
    return Lane(name: name, pair: lab.pair, path: lab.path)
  }

  static func tc(_ name: String, flows: Int) throws -> Lane {
    let pair = try VethPair(offloads: true)
    let path = try TCPath(maxFlows: flows + 100)
    guard let interface = try pair.near.run({ try Interface.all() }).first(where: { $0.name == "near0" })
    else {
      throw SystemError("no interface", "near0", code: ENODEV)
    }
    _ = try pair.near.run { try path.attach(to: interface) }
    path.mark((0..<flows).map(silentFlow))
    return Lane(name: name, pair: pair, path: path)
  }

  func mark(_ key: FlowKey) throws {
    let mark =
      key.isIPv4 ? Mark(codePoint: CodePoint(11).map { CodePointStamp($0, onlyIfUnset: true) }) : benchMark(1)
    var batch = ChangeBatch()
    batch.changes.append(ChangeBatch.Change(.mark, key, mark))
    path?.apply(&batch)
    guard batch.changes[0].failure == nil else {
      throw SystemError("a mark was refused", "\(key)", code: EIO)
    }
  }
}

/// TCP through a marking host against one that does nothing; rounds alternate, and each is compared with its own.
func benchThroughput(_ recorder: Recorder) throws {
  recorder.heading("TCP over veth, the stream itself marked, against no table (ratio of each round)")
  for ipv4 in [false, true] {
    let lanes = try [
      Lane.without(), Lane.nft("nft, 1 flow", flows: 0), Lane.nft("nft, 100,001 flows", flows: 100_000),
      Lane.tc("tc, 1 flow", flows: 0), Lane.tc("tc, 100,001 flows", flows: 100_000),
    ]
    let streams = try lanes.map { lane in
      let stream = try Stream(lane.pair, ipv4: ipv4)
      try lane.mark(stream.key)
      return stream
    }
    var ratios = [Samples](repeating: Samples(), count: lanes.count)
    var base = Samples()
    for _ in 0..<15 {
      let rates = try streams.map { try $0.gigabits() }
      base.add(rates[0])
      for index in lanes.indices { ratios[index].add(rates[index] / rates[0]) }
    }
    let what = ipv4 ? "IPv4 DSCP" : "IPv6 label"
    try recorder.figure("\(what), no table", base, "Gb/s", .more)
    for index in lanes.indices.dropFirst() {
      let goal = lanes[index].name.hasPrefix("nft") ? 0.97 : nil
      try recorder.figure("\(what), \(lanes[index].name)", ratios[index], "", .more, goal: goal)
    }
  }
}

/// Small UDP packets: what the path adds to the sender's processor time for each.
func benchPackets(_ recorder: Recorder) throws {
  recorder.heading(
    "small UDP packets over veth, processor time of the sender a packet, more than with no table")
  let lanes = try [
    Lane.without(), Lane.nft("nft, 1 flow", flows: 0), Lane.nft("nft, 100,001 flows", flows: 100_000),
    Lane.tc("tc, 1 flow", flows: 0), Lane.tc("tc, 100,001 flows", flows: 100_000),
  ]
  for (what, local, remote) in [
    ("IPv6 label", VethPair.near6, VethPair.far6), ("IPv4 DSCP", VethPair.near4, VethPair.far4),
  ] {
    guard let local = Address(local), let remote = Address(remote) else { return }
    let matching = FlowKey(local: Endpoint(local, 5000), remote: Endpoint(remote, 6000), transport: .udp)
    let other = FlowKey(local: Endpoint(local, 5001), remote: Endpoint(remote, 6000), transport: .udp)
    for lane in lanes.dropFirst() { try lane.mark(matching) }
    var match = [Samples](repeating: Samples(), count: lanes.count)
    var miss = [Samples](repeating: Samples(), count: lanes.count)
    var base = Samples()
    for _ in 0..<9 {
      let none = try blast(lanes[0].pair, matching)
      base.add(none)
      for index in lanes.indices.dropFirst() {
        match[index].add(try blast(lanes[index].pair, matching) - none)
        miss[index].add(try blast(lanes[index].pair, other) - none)
      }
    }
    try recorder.figure("\(what), a packet with no table", base, "ns", .less)
    for index in lanes.indices.dropFirst() {
      let name = "\(what), \(lanes[index].name)"
      let isDetail = lanes[index].name.hasSuffix(", 1 flow")
      try recorder.figure("\(name), not matching", miss[index], "ns", .less, isDetail: isDetail)
      try recorder.figure("\(name), matching", match[index], "ns", .less, isDetail: isDetail)
    }
  }
}

/// Nanoseconds of processor time that one small datagram takes in the sending thread. The far end's work, which
/// includes refusing the datagram, is in the figure of every lane alike.
private func blast(_ pair: VethPair, _ key: FlowKey) throws -> Double {
  let socket = try LabSocket(.udp, in: pair.near, bound: key.local)
  try socket.connect(to: key.remote)
  let bytes = [UInt8](repeating: 0, count: 64)
  let count = 50_000
  let start = cpuTime()
  for _ in 0..<count {
    _ = bytes.withUnsafeBytes { send(socket.descriptor.raw, $0.baseAddress, $0.count, 0) }
  }
  return (cpuTime() - start) * 1e9 / Double(count)
}
