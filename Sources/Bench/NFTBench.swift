import BenchReport
import Flow
import Glibc
import Lab
import Linux
import NFT

private struct PathBox: ~Copyable { let path: NFTPath }

/// A veth pair whose near end has the nft table.
struct NFTLab {
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

func silentFlow(_ number: Int) -> FlowKey {
  FlowKey(
    local: Endpoint(Address(high: 0x2001_0db8_0000_0000, low: 1), UInt16(1024 + number & 0xff)),
    remote: Endpoint(Address(high: 0x2001_0db8_0000_0001, low: UInt64(number >> 8)), 1094), transport: .tcp)
}

/// Labels of three tags with all their entropies: 96 different marks.
func benchMark(_ number: Int) -> Mark {
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
func benchNFT(_ recorder: Recorder) throws {
  recorder.heading("nft path, flows into the kernel")
  for present in [1000, 10_000, 100_000] {
    var (starts, ends, single, reading, restoring) = (Samples(), Samples(), Samples(), Samples(), Samples())
    for _ in 0..<5 {
      let lab = try NFTLab()
      try lab.change(.mark, 0..<present, batch: 10_000)
      let many = present..<(present + 5000)
      starts.add(try 5000 / seconds { try lab.change(.mark, many, batch: 100) })
      ends.add(try 5000 / seconds { try lab.change(.unmark, many, batch: 100) })
      for number in present..<(present + 50) {
        single.add(try seconds { try lab.change(.mark, number..<(number + 1), batch: 1) } * 1e6)
      }
      var count = 0
      reading.add(try seconds { try lab.path.readUsage { _, _ in count += 1 } } * 1000)
      guard count == present + 50 else {
        throw SystemError("read \(count) counters of \(present + 50)", code: EIO)
      }
      let flows = (0..<present).map { (silentFlow($0), benchMark($0)) }
      restoring.add(
        try seconds { try lab.path.restore { body in for flow in flows { body(flow.0, flow.1, nil) } } }
          * 1000)
    }
    let here = "\(fixed(Double(present), 0)) present"
    try recorder.figure(
      "starts, 100 a commit, \(here)", starts, "/s", .more, goal: present == 100_000 ? 6500 : 45_000)
    try recorder.figure("ends, 100 a commit, \(here)", ends, "/s", .more, isDetail: true)
    try recorder.figure(
      "one start alone, \(here)", single, "us", .less, goal: present == 10_000 ? 15_000 : nil,
      isDetail: present != 10_000)
    try recorder.figure("all counters read, \(here)", reading, "ms", .less, isDetail: present != 100_000)
    try recorder.figure("table made again, \(here)", restoring, "ms", .less, isDetail: present != 100_000)
  }
}
