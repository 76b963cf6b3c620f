import Flow
import Glibc
import Linux
import Testing

@testable import NFT

@Suite struct WordTests {
  @Test("every mark has a word of its own, which reads back as the mark and shows the label")
  func roundTrip() throws {
    var marks: [(Mark, Bool)] = []
    for label in [0, 1, 0x1803c, 0xc0103, 0xfffff] {
      for entropy in LabelEntropy.allCases {
        marks.append((.label(label, entropy), false))
        var both = Mark.label(label, entropy)
        both.codePoint = Mark.dscp(46).codePoint
        marks.append((both, false))
      }
    }
    for dscp in 0...63 {
      for isIPv4 in [true, false] {
        for onlyIfUnset in [true, false] { marks.append((.dscp(dscp, onlyIfUnset: onlyIfUnset), isIPv4)) }
      }
    }
    var words: Set<UInt32> = []
    var chains: Set<String> = []
    for (mark, isIPv4) in marks {
      let word = try #require(MarkWord(mark, isIPv4: isIPv4))
      #expect(MarkWord(rawValue: word.rawValue) == word)
      #expect(word.mark == mark && word.isIPv4 == isIPv4)
      #expect(word.rawValue != 0)
      if let label = mark.label { #expect(word.rawValue & 0xfffff == label.label.value) }
      // NFT_CHAIN_MAXNAMELEN of kernels before 4.14, with its zero.
      #expect(word.chain.utf8.count < 32 + 1)
      words.insert(word.rawValue)
      chains.insert(word.chain)
    }
    #expect(words.count == marks.count && chains.count == marks.count)
  }

  @Test(
    "what no mark makes is not taken for one",
    arguments: [0, 1, 0x1803c, 0xffff_ffff, 0x8401_803c, 0x4401_803c])
  func strangers(raw: UInt32) { #expect(MarkWord(rawValue: raw) == nil) }

  @Test func nothingToStamp() {
    #expect(MarkWord(Mark(), isIPv4: true) == nil)
    #expect(MarkWord(.label(0x1803c), isIPv4: true) == nil)
  }

  @Test("a flow's key reads back as the flow")
  func keys() {
    for transport in TransportProtocol.allCases {
      for isIPv4 in [true, false] {
        let key = FlowKey.near(40_000, 1094, transport, isIPv4: isIPv4)
        #expect(key.element.count == (isIPv4 ? 20 : 44))
        #expect(key.element.withUnsafeBytes { FlowKey(element: $0) } == key)
      }
    }
    #expect([UInt8](repeating: 0, count: 44).withUnsafeBytes { FlowKey(element: $0) } == nil)
    #expect([1, 2, 3].withUnsafeBytes { FlowKey(element: $0) } == nil)
  }

  @Test("a message that is cut off anywhere is read as far as it goes, and no further")
  func truncation() {
    var batch = Batch(.marker)
    batch.addTable()
    batch.add(
      [Element(key: FlowKey.near(1).element, data: .mark(5), usage: Usage(packets: 1, bytes: 2))],
      to: "flows6")
    let whole = batch.framed(from: 0)
    for length in 0..<whole.count {
      var messages = 0
      var elements = 0
      // A copy of its own, so that a sanitizer sees a read beyond it.
      Array(whole[..<length]).withUnsafeBytes { bytes in
        Message.forEach(in: bytes) {
          messages += 1
          ReportedElement.forEach(in: $0) { element in
            elements += 1
            #expect(element.mark == 5 && element.usage == Usage(packets: 1, bytes: 2))
          }
        }
      }
      #expect(messages <= 3 && elements <= 1)
    }
  }

  @Test("attributes that lie about their length end the reading", arguments: [0, 1, 3, 13, 0xffff])
  func lyingAttributes(length: UInt16) {
    let bytes = [UInt8(length & 0xff), UInt8(length >> 8), 1, 0, 1, 2, 3, 4, 8, 0, 2, 0]
    #expect(bytes.withUnsafeBytes { Array(Attributes($0).map(\.type)) }.isEmpty)
  }

  @Test(
    "reasons say what failed and what would help",
    arguments: [
      (EPERM, "CAP_NET_ADMIN"), (EPROTONOSUPPORT, "CONFIG_NF_TABLES"), (EOPNOTSUPP, "CONFIG_NF_TABLES"),
    ])
  func reasons(code: Int32, help: String) {
    let reason = NFTPath.explain(SystemError("socket", "NETLINK_NETFILTER", code: code))
    #expect(reason.contains("NETLINK_NETFILTER") && reason.contains(help) && !reason.contains("\n"))
    let refusal = BatchError.Refusal(message: 3, subject: .chain("out"), code: code)
    let refused = NFTPath.explain(BatchError.refused([refusal]))
    #expect(refused.contains("chain out"))
    if code != EPROTONOSUPPORT { #expect(refused.contains(help)) }
  }
}
