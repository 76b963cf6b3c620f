import Flow
import Testing

@testable import Firefly

/// SplitMix64, so that a failure can be had again from its seed.
private struct SeededGenerator: RandomNumberGenerator {
  private var state: UInt64
  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var bits = state
    bits = (bits ^ bits >> 30) &* 0xbf58_476d_1ce4_e5b9
    bits = (bits ^ bits >> 27) &* 0x94d0_49bb_1331_11eb
    return bits ^ bits >> 31
  }
}

/// Whatever comes, the decoder returns, and what it accepts is in range.
struct FireflyFuzzTests {
  private func seeds() throws -> [[UInt8]] {
    var texts = try ["dcache-end.txt", "dcache-start-port0.txt", "flowd-sample.txt", "xrootd-end.txt"].map(
      Heard.file)
    texts += try ["flowd-go-start.json", "flowd-go-end.json"].map {
      try Heard.file($0).replacing("3333", with: "333")
    }
    texts += try Heard.relayed().prefix(3)
    texts += [
      Heard.firefly(
        source: #""::ffff:192.0.2.1""#, destination: #""\u0031.2.3.4""#,
        application: #""\ud83d\ude00 \"é\" 😀""#,
        more: #","x":[1,-2.5e-3,null,true,{"y":[[]]}]"#)
    ]
    return texts.map { Array($0.utf8) }
  }

  private func check(_ bytes: [UInt8], _ decoder: inout FireflyDecoder, _ names: ApplicationNames) -> Bool {
    do throws(FireflyError) {
      let heard = try decoder.decode(bytes.span)
      #expect(SciTag.experiments.contains(Int(heard.tag.experiment)))
      #expect(SciTag.activities.contains(Int(heard.tag.activity)))
      #expect(heard.flow.source.address.isIPv4 == heard.flow.destination.address.isIPv4)
      for time in [heard.start, heard.end].compactMap(\.self) {
        #expect(Timestamp.range.contains(time.microseconds))
      }
      #expect(heard.json.lowerBound >= 0 && heard.json.upperBound <= bytes.count)
      #expect(
        bytes[heard.json.lowerBound] == UInt8(ascii: "{")
          && bytes[heard.json.upperBound - 1] == UInt8(ascii: "}"))
      let name = names.name(of: heard.application)
      #expect(
        name.utf8.count <= ApplicationCache.longestName && !name.unicodeScalars.contains { $0.value < 0x20 })
      return true
    } catch {
      #expect((0...bytes.count).contains(error.offset), "\(error)")
      #expect(!"\(error)".isEmpty)
      return false
    }
  }

  @Test func everyTruncation() throws {
    let names = ApplicationNames(own: "own")
    var decoder = FireflyDecoder(applications: names)
    for seed in try seeds() {
      #expect(check(seed, &decoder, names))
      let end = seed.lastIndex(of: UInt8(ascii: "}")) ?? 0
      for length in 0...end { #expect(!check(Array(seed[..<length]), &decoder, names), "cut at \(length)") }
    }
  }

  @Test func everyByteReplaced() throws {
    let names = ApplicationNames(own: "own")
    var decoder = FireflyDecoder(applications: names)
    for seed in try seeds() {
      for place in seed.indices {
        for byte in [0, 0x20, 0x22, 0x2c, 0x30, 0x39, 0x5c, 0x7b, 0x7d, 0x80, 0xc3, 0xff] as [UInt8] {
          var bytes = seed
          bytes[place] = byte
          _ = check(bytes, &decoder, names)
        }
      }
    }
  }

  @Test func randomMutations() throws {
    let number = UInt64.random(in: 0...UInt64.max)
    var generator = SeededGenerator(seed: number)
    print("seed of the mutations: \(number)")
    let names = ApplicationNames(own: "own")
    var decoder = FireflyDecoder(applications: names)
    let seeds = try seeds()
    let pieces = [
      "\"", "\\", "\\u", "{", "}", "[", "]", ",", ":", "null", "1e9", "-", ".", "\"state\":", "%", "::",
    ]
    var accepted = 0
    for _ in 0..<60_000 {
      guard var bytes = seeds.randomElement(using: &generator) else { return }
      for _ in 0..<Int.random(in: 1...4, using: &generator) where !bytes.isEmpty {
        let place = Int.random(in: bytes.indices, using: &generator)
        switch Int.random(in: 0..<5, using: &generator) {
        case 0: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
        case 1: bytes[place] = UInt8.random(in: 0...255, using: &generator)
        case 2:
          bytes.insert(contentsOf: Array((pieces.randomElement(using: &generator) ?? "").utf8), at: place)
        case 3:
          bytes.removeSubrange(place..<min(bytes.count, place + Int.random(in: 1...9, using: &generator)))
        default:
          let end = min(bytes.count, place + Int.random(in: 1...40, using: &generator))
          bytes.insert(contentsOf: bytes[place..<end], at: Int.random(in: bytes.indices, using: &generator))
        }
      }
      if check(bytes, &decoder, names) { accepted += 1 }
    }
    // Most of a firefly's bytes are in its header and in values of which several are right.
    #expect(
      accepted > 1000, "seed \(number): only \(accepted) were accepted, so little behind the syntax was tried"
    )
  }

  @Test func noise() {
    let number = UInt64.random(in: 0...UInt64.max)
    var generator = SeededGenerator(seed: number)
    print("seed of the noise: \(number)")
    let names = ApplicationNames(own: "own")
    var decoder = FireflyDecoder(applications: names)
    for _ in 0..<5000 {
      let bytes = (0..<Int.random(in: 0...300, using: &generator)).map { _ in
        UInt8.random(in: 0...255, using: &generator)
      }
      #expect(!check([UInt8(ascii: "{")] + bytes, &decoder, names), "seed \(number)")
    }
  }
}
