import Flow
import Glibc
import Lab
import Linux
import Testing
import XDP

/// Bytes that a packet grows by.
let room: [ExtensionHeaders: Int] = [.hopByHop: 8, .destination: 8, .hopByHopDestination: 16]

private func tagMark(_ headers: ExtensionHeaders) throws -> Mark {
  Mark(headers: HeaderStamp(try #require(TagOption(SciTag(experiment: 3, activity: 14))), headers))
}

extension TCPath {
  func set(
    _ action: ChangeBatch.Change.Action, _ key: FlowKey, _ headers: ExtensionHeaders
  ) throws -> Usage? {
    var batch = ChangeBatch()
    batch.changes.append(ChangeBatch.Change(action, key, try tagMark(headers)))
    apply(&batch)
    #expect(batch.changes[0].failure == nil)
    return batch.changes[0].usage
  }
}

extension Frame {
  /// Whether it carries exactly the headers wanted, with the tag 3/14.
  func carries(_ headers: ExtensionHeaders) -> Bool {
    let option: [UInt8] = [0, 0x1e, 3, 0, 3, 14, 0]
    func header(_ type: UInt8, _ next: UInt8) -> OptionHeader {
      OptionHeader(type: type, bytes: [next] + option)
    }
    let want: [OptionHeader] =
      switch headers {
      case .hopByHop: [header(0, transport)]
      case .destination: [header(60, transport)]
      case .hopByHopDestination: [header(0, 60), header(60, transport)]
      }
    return optionHeaders == want && end == bytes.count
  }
  /// Bytes from the IP header on.
  var length: Int { end - networkOffset }
}

extension Conversation {
  /// Sends bytes that are like no others at their place, and compares what arrives.
  func compare(_ count: Int) throws {
    var random = SystemRandomNumberGenerator()
    let data = (0..<count / 8).flatMap { _ in withUnsafeBytes(of: random.next()) { Array($0) } }
    // Room for all of it: where nothing arrives, sending must not wait for ever.
    try near.set(SOL_SOCKET, Int32(SO_SNDBUFFORCE), 16 << 20)
    var arrived: [UInt8] = []
    for start in stride(from: 0, to: data.count, by: 100_000) {
      let end = min(start + 100_000, data.count)
      try near.send(Array(data[start..<end]))
      while arrived.count < end {
        arrived += try #require(try far.receive(within: 2000), "stuck behind \(arrived.count) bytes")
      }
    }
    #expect(arrived == data)
  }
}

/// A path that inserts headers, attached to the near end.
func headerPath(_ pair: VethPair, hook: TCHook? = nil) throws -> TCPath {
  let path = try TCPath(maxFlows: 100, hook: hook, insertsHeaders: true)
  _ = try pair.attach(path)
  return path
}
