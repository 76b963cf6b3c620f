import Flow
import Testing

@testable import NFT

/// The bytes of batches. Every expectation was compared with what `strace -xx -e sendmsg nft …` (nftables 1.0.6) sends
/// for the command that is quoted; where the two differ, the test says so. Ours alone asks for an acknowledgement.
@Suite struct BatchTests {
  private func batch(_ fill: (inout Batch) -> Void) -> [UInt8] {
    var batch = Batch(.marker)
    fill(&batch)
    return batch.framed(from: 0x100)
  }

  private func hex(_ text: String) -> [UInt8] {
    let digits = text.split(separator: "\n").map { $0.prefix { $0 != "#" } }.joined().filter {
      !$0.isWhitespace
    }
    return stride(from: 0, to: digits.count, by: 2).map { at in
      let start = digits.index(digits.startIndex, offsetBy: at)
      return UInt8(digits[start..<digits.index(start, offsetBy: 2)], radix: 16)!
    }
  }

  // nft add table inet marker
  // nft has flags of the table too, all 0, and no NLM_F_CREATE.
  @Test func table() {
    #expect(
      batch { $0.addTable() }
        == hex(
          """
          14000000 1000 0100 00010000 00000000  # NFNL_MSG_BATCH_BEGIN, NLM_F_REQUEST, sequence 0x100
          00 00 000a                            # AF_UNSPEC, version 0, NFNL_SUBSYS_NFTABLES
          20000000 000a 0504 01010000 00000000  # NFT_MSG_NEWTABLE, REQUEST|ACK|CREATE
          01 00 0000                            # NFPROTO_INET
          0b00 0100 6d61726b657200 00           # NFTA_TABLE_NAME "marker", padded
          14000000 1100 0100 02010000 00000000  # NFNL_MSG_BATCH_END
          00 00 000a
          """))
  }

  // nft add chain inet marker out { type filter hook postrouting priority mangle; policy accept; }
  // nft has the type and the policy before the hook.
  @Test func baseChain() {
    let bytes = batch { $0.addChain("out", BaseChain()) }
    #expect(
      Array(bytes[20..<100])
        == hex(
          """
          50000000 030a 0504 01010000 00000000  # NFT_MSG_NEWCHAIN
          01 00 0000
          0b00 0100 6d61726b657200 00           # NFTA_CHAIN_TABLE
          0800 0300 6f757400                    # NFTA_CHAIN_NAME "out"
          1400 0480                             # NFTA_CHAIN_HOOK, nested
            0800 0100 00000004                  #   NF_INET_POST_ROUTING
            0800 0200 ffffff6a                  #   priority -150
          0800 0500 00000001                    # NFTA_CHAIN_POLICY NF_ACCEPT
          0b00 0700 66696c74657200 00           # NFTA_CHAIN_TYPE "filter"
          """))
  }

  // nft add map inet marker flows4 '{ type ipv4_addr . ipv4_addr . inet_proto . inet_service . inet_service : mark;
  //   counter; }'
  // nft's user data says more: the element type of its own dialect, for merging and for intervals.
  @Test func map() {
    let ports: [ElementType] = [.transport, .port, .port]
    let bytes = batch {
      $0.addSet(
        SetDescription(name: "flows4", key: [.ipv4Address, .ipv4Address] + ports, data: .mark, counts: true))
    }
    #expect(
      Array(bytes[20..<148])
        == hex(
          """
          80000000 090a 0504 01010000 00000000  # NFT_MSG_NEWSET
          01 00 0000
          0b00 0100 6d61726b657200 00           # NFTA_SET_TABLE
          0b00 0200 666c6f77733400 00           # NFTA_SET_NAME "flows4"
          0800 0300 00000008                    # NFTA_SET_FLAGS NFT_SET_MAP
          0800 0400 071cc34d                    # NFTA_SET_KEY_TYPE 7, 7, 12, 13, 13 in six bits each
          0800 0500 00000014                    # NFTA_SET_KEY_LEN 20
          0800 0600 00000013                    # NFTA_SET_DATA_TYPE mark
          0800 0700 00000004                    # NFTA_SET_DATA_LEN
          0800 0a00 00000001                    # NFTA_SET_ID
          1000 0d00 000402000000 010401000000   # NFTA_SET_USERDATA: keys in network, data in host order
          1400 1180 0c000100 636f756e74657200 04000280  # NFTA_SET_EXPR "counter"
          """))
  }

  // nft add element inet marker flows4 { 192.0.2.1 . 192.0.2.2 . udp . 5000 . 6000 : 0x68b00000 }
  // nft has the set's number of this transaction too. The counter comes from the map in both.
  @Test func element() {
    let key = FlowKey.near(5000, isIPv4: true)
    let bytes = batch { $0.add([Element(key: key.element, data: .mark(0x68b0_0000))], to: "flows4") }
    #expect(
      Array(bytes[20..<112])
        == hex(
          """
          5c000000 0c0a 0504 01010000 00000000  # NFT_MSG_NEWSETELEM
          01 00 0000
          0b00 0100 6d61726b657200 00           # NFTA_SET_ELEM_LIST_TABLE
          0b00 0200 666c6f77733400 00           # NFTA_SET_ELEM_LIST_SET
          3000 0380                             # NFTA_SET_ELEM_LIST_ELEMENTS
            2c00 0180                           #   NFTA_LIST_ELEM
              1c00 0180 1800 0100               #     NFTA_SET_ELEM_KEY, NFTA_DATA_VALUE
                c0000201 c0000202 11000000 13880000 17700000
              0c00 0280 0800 0100 0000b068      #     NFTA_SET_ELEM_DATA, in host order
          """.replacing(
            "0000b068", with: UInt32(0x68b0_0000).littleEndian == 0x68b0_0000 ? "0000b068" : "68b00000")))
  }

  // nft add rule inet marker ip6_label_1803c '@nh,0,32 set @nh,0,32 & 0xfffc0103 | 0x1803c'
  // nft names the first 16 bytes of registers NFT_REG_1 and says that the bitwise operation is the plain one.
  @Test func labelRule() throws {
    let word = try #require(MarkWord(.label(0x1803c), isIPv4: false))
    let bytes = batch { $0.addRule("c", Stamping.rules(word)[0]) }
    #expect(
      Array(bytes[20..<236])
        == hex(
          """
          d8000000 060a 050c 01010000 00000000  # NFT_MSG_NEWRULE, REQUEST|ACK|CREATE|APPEND
          01 00 0000
          0b00 0100 6d61726b657200 00           # NFTA_RULE_TABLE
          0600 0200 6300 0000                   # NFTA_RULE_CHAIN "c"
          b000 0480                             # NFTA_RULE_EXPRESSIONS
            3400 0180 0c00 0100 7061796c6f616400 2400 0280  # "payload"
              0800 0100 00000008                #   into NFT_REG32_00
              0800 0200 00000001                #   network header
              0800 0300 00000000                #   offset 0
              0800 0400 00000004                #   4 bytes
            4400 0180 0c00 0100 6269747769736500 3400 0280  # "bitwise"
              0800 0100 00000008
              0800 0200 00000008
              0800 0300 00000004
              0c00 0480 0800 0100 fffc0103      #   mask: version, traffic class and entropy stay
              0c00 0580 0800 0100 0001803c      #   xor
            3400 0180 0c00 0100 7061796c6f616400 2400 0280  # "payload", written
              0800 0500 00000008
              0800 0200 00000001
              0800 0300 00000000
              0800 0400 00000004
          """))
  }

  @Test("a list of elements never comes near the 64 KB that its length can say")
  func messageSize() {
    var batch = Batch(.marker)
    let elements = (0..<1000).map {
      Element(key: FlowKey.silent($0).element, data: .mark(1), usage: Usage(), owner: Int32($0))
    }
    batch.add(elements[...], to: "flows6")
    #expect(batch.count == 3)
    #expect(zip(batch.offsets, batch.offsets.dropFirst()).allSatisfy { $1 - $0 < 1 << 16 })
    #expect(batch.subjects == [0..<400, 400..<800, 800..<1000].map { .elements(set: "flows6", $0) })
    #expect(batch.owners == Array(0..<1000))
  }

  @Test("only the last message of many asks for an acknowledgement, and each has its number")
  func framing() {
    let bytes = batch {
      $0.addTable()
      $0.addChain("a")
      $0.addChain("b")
    }
    var seen: [(UInt32, Bool)] = []
    bytes.withUnsafeBytes { bytes in
      Message.forEach(in: bytes) { seen.append(($0.sequence, $0.flags & 4 != 0)) }
    }
    #expect(seen.map(\.0) == [0x100, 0x101, 0x102, 0x103, 0x104])
    #expect(seen.map(\.1) == [false, false, false, true, false])
  }
}
