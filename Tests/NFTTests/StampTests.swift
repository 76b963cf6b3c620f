import Flow
import Glibc
import Lab
import Testing

@testable import NFT

/// What the rules write, read from the packets at the far end.
@Suite(.enabled(if: geteuid() == 0, "needs root"))
struct StampTests {
  @Test("all ECN values and several DSCP stay and change as they should", arguments: [true, false])
  func dscp(isIPv4: Bool) throws {
    let lab = try PathLab()
    for (index, dscp) in [0, 1, 11, 46, 63].enumerated() {
      let key = FlowKey.near(UInt16(5000 + index), isIPv4: isIPv4)
      let plain = try lab.datagram(key, trafficClass: 0)
      #expect(plain.map(\.dscp) == [0])
      lab.mark(key, .dscp(dscp))
      for ecn in 0...3 {
        for before in [0, 8, 44] {
          let frames = try lab.datagram(key, trafficClass: Int32(before << 2 | ecn))
          #expect(frames.map(\.dscp) == [UInt8(dscp)])
          #expect(frames.map(\.ecn) == [UInt8(ecn)])
          #expect(frames.map(\.checksumsAreRight) == [true])
          if !isIPv4 {
            #expect(frames.allSatisfy { $0.flowLabel != 0 && $0.flowLabel == plain.last?.flowLabel })
          }
        }
      }
    }
  }

  @Test("only packets without a DSCP get one", arguments: [true, false])
  func onlyIfUnset(isIPv4: Bool) throws {
    let lab = try PathLab()
    let key = FlowKey.near(5000, isIPv4: isIPv4)
    lab.mark(key, .dscp(11, onlyIfUnset: true))
    for ecn: UInt8 in 0...3 {
      #expect(try lab.datagram(key, trafficClass: Int32(ecn)).map(\.trafficClass) == [11 << 2 | ecn])
      #expect(try lab.datagram(key, trafficClass: Int32(8 << 2 | ecn)).map(\.trafficClass) == [8 << 2 | ecn])
      #expect(
        try lab.datagram(key, trafficClass: Int32(32 << 2 | ecn)).map(\.trafficClass) == [32 << 2 | ecn])
    }
  }

  @Test("the kernel's entropy stays in the label, the traffic class in the packet")
  func labelKeepsEntropy() throws {
    let lab = try PathLab()
    var entropies: Set<UInt32> = []
    for port: UInt16 in 5000..<5016 {
      let key = FlowKey.near(port)
      let plain = try #require(try lab.datagram(key).first)
      // The mark's own entropy differs from the packet's in every bit.
      let own = ~plain.flowLabel & FlowLabel.entropyMask
      lab.mark(key, .label(0x1803c | Int(own)))
      for trafficClass: UInt8 in [0, 0b1011_1011, 0xff] {
        let frame = try #require(try lab.datagram(key, trafficClass: Int32(trafficClass)).first)
        #expect(frame.flowLabel == 0x1803c | plain.flowLabel & FlowLabel.entropyMask)
        #expect(frame.trafficClass == trafficClass)
        #expect(frame.checksumsAreRight == true)
      }
      entropies.insert(plain.flowLabel & FlowLabel.entropyMask)
    }
    #expect(entropies.count > 2)
  }

  @Test("a packet without a label gets the flow's own entropy")
  func labelFromNothing() throws {
    let lab = try PathLab()
    try lab.pair.near.shell("sysctl -qw net.ipv6.auto_flowlabels=0")
    for (port, label) in [(5000, 0xd813f), (5001, 0x1803c), (5002, 0x9813d)] as [(UInt16, Int)] {
      let key = FlowKey.near(port)
      #expect(try lab.datagram(key).map(\.flowLabel) == [0])
      lab.mark(key, .label(label))
      #expect(try lab.datagram(key, trafficClass: 0xff).map(\.flowLabel) == [UInt32(label)])
    }
  }

  @Test("entropy fixed at the start replaces the kernel's", arguments: [0x1803c, 0xd813f, 0x5813e])
  func labelFixed(label: Int) throws {
    let lab = try PathLab()
    for port: UInt16 in 5000..<5004 {
      lab.mark(.near(port), .label(label, .flow))
      let frame = try #require(try lab.datagram(.near(port), trafficClass: 0x5a).first)
      #expect(frame.flowLabel == UInt32(label))
      #expect(frame.trafficClass == 0x5a)
    }
  }

  @Test("label and DSCP together")
  func both() throws {
    let lab = try PathLab()
    var mark = Mark.label(0x30038, .flow)
    mark.codePoint = Mark.dscp(15, onlyIfUnset: true).codePoint
    lab.mark(.near(5000), mark)
    #expect(try lab.datagram(.near(5000), trafficClass: 2).map(\.trafficClass) == [15 << 2 | 2])
    #expect(try lab.datagram(.near(5000), trafficClass: 0x22).map(\.trafficClass) == [0x22])
    #expect(try lab.datagram(.near(5000)).map(\.flowLabel) == [0x30038])
  }

  @Test("every segment of a super-packet is marked", arguments: [true, false])
  func segmentation(isIPv4: Bool) throws {
    let lab = try PathLab()
    let key = FlowKey.near(5000, 6000, .tcp, isIPv4: isIPv4)
    lab.mark(key, isIPv4 ? .dscp(11) : .label(0x1803c, .flow))
    let frames = try lab.stream(key, size: 500_000)
    #expect(frames.count > 340)
    #expect(frames.allSatisfy { isIPv4 ? $0.dscp == 11 : $0.flowLabel == 0x1803c })
    #expect(frames.allSatisfy { $0.checksumsAreRight == true })
  }

  @Test("super-packets that stay whole are marked too", arguments: [true, false])
  func offload(isIPv4: Bool) throws {
    let lab = try PathLab(offloads: true)
    let key = FlowKey.near(5000, 6000, .tcp, isIPv4: isIPv4)
    lab.mark(key, isIPv4 ? .dscp(11) : .label(0x1803c, .flow))
    let frames = try lab.stream(key, trafficClass: 0, size: 500_000)
    #expect(frames.contains { $0.bytes.count > 3000 })
    #expect(frames.allSatisfy { isIPv4 ? $0.dscp == 11 : $0.flowLabel == 0x1803c })
  }

  @Test("every fragment is marked", arguments: [true, false])
  func fragments(isIPv4: Bool) throws {
    let lab = try PathLab()
    let key = FlowKey.near(5000, isIPv4: isIPv4)
    lab.mark(key, isIPv4 ? .dscp(11) : .label(0x1803c, .flow))
    let frames = try lab.datagram(key, trafficClass: 1, size: 5000)
    #expect(frames.count == 4)
    #expect(frames.allSatisfy { $0.isFragment && $0.ecn == 1 })
    #expect(frames.allSatisfy { isIPv4 ? $0.dscp == 11 : $0.flowLabel == 0x1803c })
  }

  private static let hasVLAN =
    (try? NetworkNamespace().shell("ip link add v0 type veth && ip link add link v0 name v1 type vlan id 7"))
    != nil

  @Test(
    "packets that leave by a VLAN device are marked", .enabled(if: hasVLAN, "needs 8021q"),
    arguments: [true, false])
  func vlan(isIPv4: Bool) throws {
    let lab = try PathLab()
    for (namespace, end, number) in [(lab.pair.near, "near0", 1), (lab.pair.far, "far0", 2)] {
      try namespace.shell(
        """
        ip link add link \(end) name vlan7 type vlan id 7 && ip link set vlan7 up
        ip addr add 2001:db8:7::\(number)/64 dev vlan7 nodad && ip addr add 198.51.100.\(number)/24 dev vlan7
        """)
    }
    let local = try #require(Address(isIPv4 ? "198.51.100.1" : "2001:db8:7::1"))
    let remote = try #require(Address(isIPv4 ? "198.51.100.2" : "2001:db8:7::2"))
    let key = FlowKey(local: Endpoint(local, 5000), remote: Endpoint(remote, 6000), transport: .udp)
    lab.mark(key, isIPv4 ? .dscp(11) : .label(0x1803c, .flow))
    let frames = try lab.datagram(key)
    #expect(!frames.isEmpty)
    #expect(frames.allSatisfy { isIPv4 ? $0.dscp == 11 : $0.flowLabel == 0x1803c })
  }

  @Test("the key is the whole flow: what differs in one part is not marked")
  func others() throws {
    let lab = try PathLab()
    let key = FlowKey.near(5000)
    lab.mark(key, .dscp(11))
    lab.mark(.near(5000, 6000, .tcp), .dscp(46))
    #expect(try lab.datagram(key).map(\.dscp) == [11])
    #expect(try lab.datagram(.near(5001)).map(\.dscp) == [0])
    #expect(try lab.datagram(.near(5000, 6001)).map(\.dscp) == [0])
    #expect(try lab.datagram(.near(5000, isIPv4: true)).map(\.dscp) == [0])
  }

  @Test("packets that leave by other interfaces are left alone")
  func interfaces() throws {
    for (names, dscp) in [(["near0"], 11), (["lo", "eth9"], 0)] as [([String], UInt8)] {
      let lab = try PathLab(interfaces: names)
      lab.mark(.near(5000), .dscp(11))
      #expect(try lab.datagram(.near(5000)).map(\.dscp) == [dscp])
    }
    #expect(throws: PathError.self) { try NFTPath(interfaces: ["sixteen-letters-"], seed: 0) }
  }
}
