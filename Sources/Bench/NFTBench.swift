import Flow
import Glibc
import Lab
import Linux
import NFT

/// What the nft path costs, measured in namespaces of its own. Prints one line a figure.
func benchNFT() throws {
  try benchNFTStarts()
  try benchNFTThroughput()
  try benchNFTPackets()
}

private struct PathBox: ~Copyable { let path: NFTPath }

private struct NFTLab {
  let pair: VethPair
  let path: NFTPath

  init() throws {
    pair = try VethPair(offloads: true)
    path = try pair.near.run { () throws(PathError) -> PathBox in PathBox(path: try NFTPath(seed: 1)) }.path
  }

  /// Marks or unmarks silent flows.
  func change(_ action: ChangeBatch.Change.Action, _ flows: Range<Int>, batch size: Int) throws {
    var batch = ChangeBatch()
    for start in stride(from: flows.lowerBound, to: flows.upperBound, by: size) {
      batch.removeAll()
      for number in start..<min(start + size, flows.upperBound) {
        batch.changes.append(ChangeBatch.Change(action, silentFlow(number), benchMark(number)))
      }
      path.apply(&batch)
      guard batch.changes.allSatisfy({ $0.failure == nil }) else {
        throw SystemError("nft", "a change was refused", code: EIO)
      }
    }
  }
}

private func silentFlow(_ number: Int) -> FlowKey {
  FlowKey(
    local: Endpoint(Address(high: 0x2001_0db8_0000_0000, low: 1), UInt16(1024 + number & 0xff)),
    remote: Endpoint(Address(high: 0x2001_0db8_0000_0001, low: UInt64(number >> 8)), 1094), transport: .tcp)
}

/// Labels of three tags with all their entropies: 96 different marks.
private func benchMark(_ number: Int) -> Mark {
  let tag = SciTag(packed: [129, 206, 216][number % 3])
  let label = FlowLabel(tag, entropy: UInt32(truncatingIfNeeded: number &* 0x9e37_79b1))
  return Mark(label: label.map { LabelStamp($0, .kernel) })
}

private func seconds(_ body: () throws -> Void) rethrows -> Double {
  let start = ContinuousClock.now
  try body()
  let spent = ContinuousClock.now - start
  return Double(spent.components.seconds) + Double(spent.components.attoseconds) * 1e-18
}

/// Flow starts in batches of 100, and one alone, with so many flows present.
private func benchNFTStarts() throws {
  for present in [0, 1000, 10_000, 100_000] {
    let lab = try NFTLab()
    let filling = try seconds { try lab.change(.mark, 0..<present, batch: 10_000) }
    let starts = try seconds { try lab.change(.mark, present..<(present + 5000), batch: 100) }
    let ends = try seconds { try lab.change(.unmark, present..<(present + 5000), batch: 100) }
    var singles: [Double] = []
    for number in present..<(present + 200) {
      singles.append(try seconds { try lab.change(.mark, number..<(number + 1), batch: 1) })
    }
    singles.sort()
    print(
      "nft \(present) present: starts/s in 100s \(Int(5000 / starts)), ends/s in 100s \(Int(5000 / ends)), "
        + "single start µs median \(Int(singles[100] * 1e6)) max \(Int(singles[199] * 1e6))"
        + (present > 0 ? ", filling in 10,000s \(Int(Double(present) / filling))/s" : ""))
    if present == 100_000 {
      var count = 0
      let reading = try seconds { try lab.path.readUsage { _, _ in count += 1 } }
      print("nft \(count) counters read in \(Int(reading * 1000)) ms")
      var flows: [(FlowKey, Mark)] = []
      for number in 0..<100_000 { flows.append((silentFlow(number), benchMark(number))) }
      let restoring = try seconds {
        try lab.path.restore { body in for flow in flows { body(flow.0, flow.1, nil) } }
      }
      print("nft 100000 flows restored in \(Int(restoring * 1000)) ms")
    }
  }
}

/// TCP over the pair by iperf3, its flow marked, against no table; rounds alternate.
private func benchNFTThroughput() throws {
  let without = try VethPair(offloads: true)
  let few = try NFTLab()
  let many = try NFTLab()
  try many.change(.mark, 0..<100_000, batch: 10_000)
  var rates: [[Double]] = [[], [], []]
  let cases = [(without, NFTPath?.none), (few.pair, few.path), (many.pair, many.path)]
  for round in 0..<5 {
    for (index, (pair, path)) in cases.enumerated() {
      let key = FlowKey(
        local: Endpoint(Address(high: 0x2001_0db8_0000_0000, low: 1), UInt16(20_000 + round)),
        remote: Endpoint(Address(high: 0x2001_0db8_0000_0000, low: 2), 5201), transport: .tcp)
      var batch = ChangeBatch()
      batch.changes.append(ChangeBatch.Change(.mark, key, benchMark(1)))
      path?.apply(&batch)
      try pair.far.shell("iperf3 -s -1 -D")
      let output = try pair.near.shell(
        "sleep 0.2; iperf3 -6 -c \(VethPair.far6) --cport \(20_000 + round) -t 2 -f m | grep receiver")
      let words = output.split(separator: " ")
      if let unit = words.firstIndex(of: "Mbits/sec"), let rate = Double(words[unit - 1]) {
        rates[index].append(rate)
      }
    }
  }
  let medians = rates.map { $0.sorted()[$0.count / 2] }
  print(
    "nft TCP Mb/s: no table \(Int(medians[0])), 1 flow \(Int(medians[1])) (\(ratio(medians[1], medians[0]))), "
      + "100,001 flows \(Int(medians[2])) (\(ratio(medians[2], medians[0])))")
}

private func ratio(_ a: Double, _ b: Double) -> Double { (a / b * 1000).rounded() / 1000 }

/// Small UDP packets over the pair: CPU time of the sender a packet, the best of seven rounds that alternate.
private func benchNFTPackets() throws {
  func lab(isMarked: Bool, flows: Int) throws -> (VethPair, NFTPath) {
    let lab = try NFTLab()
    try lab.change(.mark, 0..<flows, batch: 10_000)
    if isMarked {
      var batch = ChangeBatch()
      for family in [VethPair.far6, VethPair.far4] {
        let key = try blastKey(family)
        let mark =
          key.isIPv4
          ? Mark(codePoint: CodePoint(11).map { CodePointStamp($0, onlyIfUnset: true) }) : benchMark(1)
        batch.changes.append(ChangeBatch.Change(.mark, key, mark))
      }
      lab.path.apply(&batch)
    }
    return (lab.pair, lab.path)
  }
  let none = try VethPair(offloads: true)
  let cases: [(String, VethPair, NFTPath?)] = try [
    ("no table", none, nil),
    { ("no match of 100,000", $0.0, $0.1) }(lab(isMarked: false, flows: 100_000)),
    { ("match of 1", $0.0, $0.1) }(lab(isMarked: true, flows: 0)),
    { ("match of 100,000", $0.0, $0.1) }(lab(isMarked: true, flows: 100_000)),
  ]
  for (name, remote) in [("IPv6 label", VethPair.far6), ("IPv4 DSCP", VethPair.far4)] {
    var best = [Double](repeating: .infinity, count: cases.count)
    for _ in 0..<7 {
      for (index, item) in cases.enumerated() {
        best[index] = min(best[index], try blast(item.1, try blastKey(remote)))
      }
    }
    for (index, item) in cases.enumerated() {
      print("nft \(name), \(item.0): \(Int(best[index])) ns a packet, +\(Int(best[index] - best[0]))")
    }
  }
}

private func blastKey(_ remote: String) throws -> FlowKey {
  let local = remote == VethPair.far6 ? VethPair.near6 : VethPair.near4
  guard let local = Address(local), let remote = Address(remote) else {
    throw SystemError("address", remote, code: EINVAL)
  }
  return FlowKey(local: Endpoint(local, 5000), remote: Endpoint(remote, 6000), transport: .udp)
}

/// Nanoseconds of CPU time that one small datagram takes in the sending thread.
private func blast(_ pair: VethPair, _ key: FlowKey) throws -> Double {
  // The far end's work, which includes refusing the datagram, is in the figure of every case alike.
  let socket = try LabSocket(.udp, in: pair.near, bound: key.local)
  try socket.connect(to: key.remote)
  let bytes = [UInt8](repeating: 0, count: 64)
  let count = 50_000
  func now() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
    return Double(time.tv_sec) * 1e9 + Double(time.tv_nsec)
  }
  let start = now()
  for _ in 0..<count {
    _ = bytes.withUnsafeBytes { send(socket.descriptor.raw, $0.baseAddress, $0.count, 0) }
  }
  return (now() - start) / Double(count)
}
