import Flow
import Glibc
import Lab
import Linux
import Testing

@testable import NFT

/// Marking everything.
@Suite(.enabled(if: geteuid() == 0, "needs root"))
struct ScopeTests {
  @Test("every protocol is marked with its own entropy, and a flow's own mark wins")
  func everything() throws {
    let lab = try PathLab()
    let plain = try #require(try lab.datagram(.near(5000)).first).flowLabel
    lab.mark(.near(5001), .label(0x30038, .flow))
    try lab.path.markAll(ScopeMarks(ipv6: .label(0x10004), ipv4: .dscp(11, onlyIfUnset: true)))
    #expect(try lab.datagram(.near(5000)).map(\.flowLabel) == [0x10004 | plain & FlowLabel.entropyMask])
    #expect(try lab.datagram(.near(5001)).map(\.flowLabel) == [0x30038])
    #expect(try lab.datagram(.near(5000, isIPv4: true), trafficClass: 2).map(\.trafficClass) == [11 << 2 | 2])
    #expect(try lab.datagram(.near(5000, isIPv4: true), trafficClass: 0x20).map(\.trafficClass) == [0x20])

    let echo = try lab.echo(isIPv4: false)
    #expect(echo.map { $0.flowLabel & ~FlowLabel.entropyMask } == [0x10004])
    #expect(try lab.echo(isIPv4: true).map(\.dscp) == [11])

    try lab.path.markAll(ScopeMarks(ipv6: nil, ipv4: .dscp(15)))
    #expect(try lab.datagram(.near(5000)).map(\.flowLabel) == [plain])
    #expect(try lab.datagram(.near(5000, isIPv4: true)).map(\.dscp) == [15])
    try lab.path.markAll(nil)
    #expect(try lab.datagram(.near(5000, isIPv4: true)).map(\.dscp) == [0])
    #expect(try lab.datagram(.near(5001)).map(\.flowLabel) == [0x30038])
  }

  @Test("exclusions are for packets of no flow only, and read in nft's own words")
  func exclusions() throws {
    let lab = try PathLab()
    func exclude(_ networks: [String], _ ports: [String] = []) throws {
      try lab.path.markAll(
        ScopeMarks(
          ipv6: .label(0x10004), ipv4: .dscp(11),
          except: Exclusions(
            networks: networks.map { try Network(text: $0) }, ports: ports.map { try #require(PortRange($0)) }
          )))
    }
    func leaves(_ local: UInt16, _ remote: UInt16 = 6000, isIPv4: Bool = false) throws -> Bool {
      let frames = try lab.datagram(.near(local, remote, isIPv4: isIPv4))
      try #require(frames.count == 1)
      return isIPv4 ? frames[0].dscp == 0 : frames[0].flowLabel & ~FlowLabel.entropyMask != 0x10004
    }
    lab.mark(.near(5001), .label(0x30038, .flow))

    try exclude(["2001:db8::2/127"])
    #expect(try leaves(5000) && !leaves(5000, isIPv4: true))
    #expect(try lab.echo(isIPv4: false).allSatisfy { $0.flowLabel & ~FlowLabel.entropyMask != 0x10004 })
    #expect(
      try lab.datagram(.near(5001)).map(\.flowLabel) == [0x30038], "a tagged flow is marked all the same")
    try exclude(["2001:db8::4/126", "192.0.2.0/24"])
    #expect(try !leaves(5000) && leaves(5000, isIPv4: true))
    // Whole families, and ranges within each other.
    try exclude(["::/0", "2001:db8::/32", "0.0.0.0/0"])
    #expect(try leaves(5000) && leaves(5000, isIPv4: true))

    try exclude(["2001:db8:7::/48", "2001:db8:8::/48"], ["22", "5000-5010", "5005-5020", "65535"])
    for (local, remote, isLeft) in [
      (5000, 6000, true), (5020, 6000, true), (5021, 6000, false), (4999, 6000, false), (4999, 22, true),
      (65535, 6000, true), (4999, 65534, false),
    ] as [(UInt16, UInt16, Bool)] {
      #expect(try leaves(local, remote) == isLeft, "\(local) \(remote)")
      #expect(try leaves(local, remote, isIPv4: true) == isLeft, "\(local) \(remote)")
    }
    #expect(try lab.echo(isIPv4: false).allSatisfy { $0.flowLabel & ~FlowLabel.entropyMask == 0x10004 })
    let listing = try lab.list()
    for line in [
      "elements = { 22, 5000-5020, 65535 }", "ip6 daddr @excluded6 return",
      "tcp sport @excludedPorts return", "sctp dport @excludedPorts return",
      "2001:db8:7::-2001:db8:8:ffff:ffff:ffff:ffff:ffff",
    ] {
      #expect(listing.contains(line), "\(line) in \(listing)")
    }
    // The table is made again with them.
    try lab.path.restore { _ in }
    #expect(try leaves(5000) && !leaves(5021))
    try lab.path.markAll(nil)
    #expect(try !lab.list().contains("excluded"))
  }

  @Test("packets without a label get entropy of their flow: the same for all of one, spread over many")
  func entropy() throws {
    let lab = try PathLab()
    try lab.pair.near.shell("sysctl -qw net.ipv6.auto_flowlabels=0")
    try lab.path.markAll(ScopeMarks(ipv6: .label(0x10004), ipv4: nil))
    var labels: Set<UInt32> = []
    for port: UInt16 in 5000..<5064 {
      let one = try lab.datagram(.near(port)).map(\.flowLabel)
      #expect(one.count == 1 && one.allSatisfy { $0 & ~FlowLabel.entropyMask == 0x10004 })
      if port < 5004 { #expect(try lab.datagram(.near(port)).map(\.flowLabel) == one) }
      labels.formUnion(one)
    }
    // 64 draws of 32 values leave 20 or fewer with a chance below one in a million.
    #expect(labels.count > 20)
  }

  @Test("probe marks and reads back on this kernel, and leaves nothing")
  func probe() throws {
    let devices = try shell("ip -o link")
    #expect(NFTPath.probe() == [.label: .yes, .ipv6CodePoint: .yes, .ipv4CodePoint: .yes])
    #expect(try shell("ip -o link") == devices)
  }
}

extension PathLab {
  /// Sends an ICMP echo request and gives its frame at the far end.
  fileprivate func echo(isIPv4: Bool) throws -> [Frame] {
    let capture = try Capture("far0", in: pair.far)
    try pair.near.run { () throws(SystemError) in
      // RFC 792 and RFC 4443: type, code, checksum, identifier, number. The kernel fills ICMPv6's checksum.
      let request: [UInt8] = isIPv4 ? [8, 0, 0xf7, 0xfd, 0, 1, 0, 1] : [128, 0, 0, 0, 0, 1, 0, 1]
      let family = isIPv4 ? AF_INET : AF_INET6
      let made = try Descriptor("socket", "ICMP") {
        socket(family, Int32(SOCK_RAW.rawValue), Int32(isIPv4 ? IPPROTO_ICMP : IPPROTO_ICMPV6))
      }
      // struct sockaddr_in and sockaddr_in6 without a port: 192.0.2.2 and 2001:db8::2.
      var address = [UInt8](repeating: 0, count: isIPv4 ? 16 : 28)
      address[0] = UInt8(family)
      address.replaceSubrange(
        isIPv4 ? 4..<8 : 8..<24,
        with: isIPv4 ? [192, 0, 2, 2] : [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2])
      try system("sendto", "ICMP") {
        address.withUnsafeBytes {
          sendto(
            made.raw, request, request.count, 0, $0.baseAddress?.assumingMemoryBound(to: sockaddr.self),
            socklen_t($0.count))
        }
      }
    }
    return try capture.frames {
      $0.transport == (isIPv4 ? 1 : 58) && $0.bytes[$0.transportOffset] == (isIPv4 ? 8 : 128)
    }
  }
}
