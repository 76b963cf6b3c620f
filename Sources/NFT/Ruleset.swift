internal import CNFT
internal import Flow
internal import Glibc

/// The rules of our table, apart from the marks in use.
///
/// A packet's way: `out` → `keep_…` of the packet mark that it came with → `match`, which looks the flow up → the
/// chain of the mark found there, or `rest`. What is found goes into the packet mark, because that is the only scratch
/// value that a rule can both fill from a map and look up again; a map from flows straight to chains would make the
/// kernel check every element of it again at every change. The packet mark belongs to others: it is put back before
/// the packet leaves our chains, which takes a chain per value that packets come with. The values are few and fixed
/// by the host's configuration; new ones are collected in `foreign` and served from the next
/// `NFTPath.learnPacketMarks` on.
enum Ruleset {
  static let flows4 = "flows4"
  static let flows6 = "flows6"
  /// From a mark word to the chain that stamps it.
  static let marks = "marks"
  /// From the packet mark that a packet came with to the chain that puts it back.
  static let kept = "kept"
  /// Packet marks that no chain puts back yet.
  static let foreign = "foreign"
  static let interfaces = "interfaces"

  static let out = "out"
  static let match = "match"
  /// Packets that no flow matches. Empty unless everything is marked.
  static let rest = "rest"
  static let entropy = "entropy"

  /// Packet marks that can be served. A host where there are more marks by connection, and has no place for us.
  static let keptLimit = 256

  /// An interface's name as the kernel holds it: 16 bytes with a zero at the end.
  static func element(ofInterface name: String) -> Element {
    Element(key: Array(name.utf8.prefix(15)).padded(to: 16))
  }

  /// The sets and chains of an empty table.
  ///
  /// - Parameters:
  ///   - interfaces: mark only what leaves by these; nil is all.
  ///   - flowLimit: of each family's map; 0 is none.
  static func add(to batch: inout Batch, interfaces names: [String]?, flowLimit: UInt32) {
    let ports: [ElementType] = [.transport, .port, .port]
    batch.addSet(
      SetDescription(
        name: flows4, key: [.ipv4Address, .ipv4Address] + ports, data: .mark, size: flowLimit, counts: true))
    batch.addSet(
      SetDescription(
        name: flows6, key: [.ipv6Address, .ipv6Address] + ports, data: .mark, size: flowLimit, counts: true))
    batch.addSet(SetDescription(name: marks, key: [.mark], data: .verdict))
    batch.addSet(SetDescription(name: kept, key: [.mark], data: .verdict))
    batch.addSet(SetDescription(name: foreign, key: [.mark], size: UInt32(keptLimit), isDynamic: true))

    batch.addChain(rest)
    batch.addChain(match)
    batch.addRule(match, lookUp(isIPv4: false))
    batch.addRule(match, lookUp(isIPv4: true))
    batch.addRule(match, [.verdict(.goto(rest))])

    batch.addChain(out, BaseChain())
    if let names {
      batch.addSet(SetDescription(name: interfaces, key: [.interfaceName]))
      batch.add(names.map(element(ofInterface:))[...], to: interfaces)
      batch.addRule(
        out,
        [
          .loadMeta(.outputName, Stamping.a), .isNotIn(Stamping.a, set: interfaces), .verdict(.return),
        ])
    }
    // Nearly all packets come without; a comparison is cheaper than looking 0 up.
    let none = keep(0, &batch)
    batch.addRule(
      out, [.loadMeta(.mark, Stamping.a), .equal(Stamping.a, UInt32(0).bytes), .verdict(.goto(none))])
    batch.addRule(out, dispatch(kept))
    batch.addRule(out, [.loadMeta(.mark, Stamping.a), .add(Stamping.a, toSet: foreign)])
  }

  /// Serves packets that come with this packet mark.
  static func serve(_ packetMark: UInt32, _ batch: inout Batch) {
    let chain = keep(packetMark, &batch)
    batch.add([Element(key: packetMark.bytes, data: .verdict(.goto(chain)))], to: kept)
  }

  /// Makes the chain that puts a packet mark back.
  private static func keep(_ packetMark: UInt32, _ batch: inout Batch) -> String {
    let digits = String(packetMark, radix: 16)
    let chain = "keep_" + String(repeating: "0", count: 8 - digits.count) + digits
    batch.addChain(chain)
    if packetMark != 0 { batch.addRule(chain, setMark(0)) }
    batch.addRule(chain, [.verdict(.jump(match))])
    batch.addRule(chain, setMark(packetMark))
    return chain
  }

  /// meta time > TIME return: the marks end by themselves. In front of all rules, so that nothing is changed in the others
  /// and the next daemon's table, which takes this one's place, knows nothing of it.
  ///
  /// - Parameter time: nanoseconds since 1970.
  static func end(at time: UInt64, _ batch: inout Batch) {
    let limit = withUnsafeBytes(of: time.bigEndian) { Array($0) }
    batch.addRule(
      out,
      [
        .loadMeta(.time, Stamping.a), .toNetworkOrder(Stamping.a), .isGreater(Stamping.a, limit),
        .verdict(.return),
      ], isFirst: true)
  }

  /// The chain of one mark.
  static func addMark(_ word: MarkWord, _ batch: inout Batch) {
    batch.addChain(word.chain)
    for rule in Stamping.rules(word) { batch.addRule(word.chain, rule) }
    batch.add([Element(key: word.rawValue.bytes, data: .verdict(.goto(word.chain)))], to: marks)
  }

  static func removeMark(_ word: MarkWord, _ batch: inout Batch) {
    batch.delete([Element(key: word.rawValue.bytes)], from: marks)
    batch.deleteChain(word.chain)
  }

  /// meta mark vmap @SET
  private static func dispatch(_ set: String) -> [Expression] {
    [.loadMeta(.mark, Stamping.a), .lookUp(Stamping.a, set: set, into: .verdict)]
  }

  /// meta mark set …
  private static func setMark(_ packetMark: UInt32) -> [Expression] {
    [.immediate(Stamping.a, packetMark.bytes), .setMark(Stamping.a)]
  }

  /// meta mark set ip6 saddr . ip6 daddr . meta l4proto . th sport . th dport map @flows6 meta mark vmap @marks
  private static func lookUp(isIPv4: Bool) -> [Expression] {
    tuple(isIPv4: isIPv4, from: 0) + [
      .lookUp(Register(0), set: isIPv4 ? flows4 : flows6, into: Register(0)), .setMark(Register(0)),
    ] + dispatch(marks)
  }

  /// Loads a flow's key, as `FlowKey.element` has it, into the registers from `first` on.
  static func tuple(isIPv4: Bool, from first: UInt32) -> [Expression] {
    // RFC 791 and RFC 8200: the source address at 12 and 8, the destination behind it.
    let (size, source): (UInt32, UInt32) = isIPv4 ? (4, 12) : (16, 8)
    let rest = first + size / 2
    return (isIPv4 ? Stamping.isIPv4 : Stamping.isIPv6) + [
      .load(.network, at: source, count: size, Register(first)),
      .load(.network, at: source + size, count: size, Register(first + size / 4)),
      .loadMeta(.transport, Register(rest)),
      .load(.transport, at: 0, count: 2, Register(rest + 1)),
      .load(.transport, at: 2, count: 2, Register(rest + 2)),
    ]
  }
}

extension UInt32 {
  /// As a register holds it.
  var bytes: [UInt8] { withUnsafeBytes(of: self) { Array($0) } }
}

extension [UInt8] {
  func padded(to size: Int) -> [UInt8] { self + Array(repeating: 0, count: Swift.max(0, size - count)) }
}
