import Flow
import Glibc
import Lab
import Linux
import Testing
import XDP

/// Extension headers on real packets, judged on the far side.
@Suite(.enabled(if: geteuid() == 0, "needs root")) struct HeaderLabTests {
  /// Every packet that there is room in, none larger than the link takes, and every byte arrives.
  @Test(
    arguments: ExtensionHeaders.allCases,
    ["tso on gso on tx on", "tso off gso on tx on", "tso off gso on tx off", "tso off gso off tx off"])
  func tcp(headers: ExtensionHeaders, offloads: String) throws {
    let pair = try VethPair(offloads: true)
    try pair.near.shell("ethtool -K near0 \(offloads) >/dev/null")
    let path = try headerPath(pair)
    let ours = try Conversation.tcp(pair)
    let others = try Conversation.tcp(pair)
    _ = try path.set(.mark, ours.key, headers)
    let capture = try Capture("far0", in: pair.far)
    try ours.compare(1_200_000)
    try others.compare(80_000)
    let frames = try capture.frames()
    #expect(try capture.dropped() == 0)
    let usage = try #require(try path.set(.unmark, ours.key, headers))

    let sent = frames.of(ours.key)
    let marked = sent.filter { $0.carries(headers) }
    let plain = sent.filter { $0.optionHeaders.isEmpty }
    #expect(marked.count + plain.count == sent.count)
    #expect(frames.of(others.key).allSatisfy { $0.optionHeaders.isEmpty })
    // Single segments of full size have no room.
    #expect(plain.allSatisfy { $0.length > 1500 - 20 - (room[headers] ?? 0) && $0.length <= 1500 })
    #expect(UInt64(plain.count) == path.tooBigPackets)
    #expect(path.unwritablePackets == 0)
    let share = Double(marked.reduce(0) { $0 + $1.length }) / Double(sent.reduce(0) { $0 + $1.length })
    if offloads.hasPrefix("tso on") {
      #expect(marked.contains { $0.length > 3000 }, "super-packets")
      #expect(usage.packets > 800, "counted as the wire would have them")
    } else {
      #expect(sent.allSatisfy { $0.length <= 1500 })
      #expect(usage.packets == UInt64(marked.count))
      #expect(usage.bytes == marked.reduce(0) { $0 + UInt64($1.length) })
    }
    #expect(share > 0.9, "\(share)")
    if offloads.hasSuffix("tx off") { #expect(frames.allSatisfy { $0.checksumsAreRight != false }) }
  }

  @Test(arguments: ExtensionHeaders.allCases, TCHook.allCases)
  func datagrams(headers: ExtensionHeaders, hook: TCHook) throws {
    let pair = try VethPair()
    let path = try headerPath(pair, hook: hook)
    let ours = try Conversation.udp(pair)
    let ipv4 = try Conversation.udp(pair, ipv4: true)
    _ = try path.set(.mark, ours.key, headers)
    let capture = try Capture("far0", in: pair.far)
    // The payload of a datagram that just fits.
    let most = 1500 - 48 - (room[headers] ?? 0)
    let sizes = [0, 1, 1000, most - 1, most, most + 1, 1452]
    for (index, size) in sizes.enumerated() {
      let data = [UInt8](repeating: UInt8(index), count: size)
      try ours.near.send(data)
      if size > 0 { #expect(try ours.far.receive() == data, "\(size)") } else { _ = try ours.far.receive() }
    }
    try ipv4.near.send([1])
    #expect(try ipv4.far.receive() == [1])
    let frames = try capture.frames()
    let sent = frames.of(ours.key)
    #expect(sent.map { $0.carries(headers) } == sizes.map { $0 <= most })
    #expect(sent.map { $0.optionHeaders.isEmpty } == sizes.map { $0 > most })
    #expect(sent.map { $0.payload?.count } == sizes)
    #expect(sent.allSatisfy { $0.checksumsAreRight == true && $0.length <= 1500 })
    #expect(path.tooBigPackets == 2 && path.unwritablePackets == 0)
    // What the label strategy must not change, this one must not either.
    #expect(Set(sent.map(\.flowLabel)).count == 1 && sent.allSatisfy { $0.bytes[$0.networkOffset + 7] == 64 })
    pair.detach(path)
  }

  /// Also where the interface computes no checksums: there Linux 6.11 drops super-packets whose buffer was made anew.
  @Test(arguments: ExtensionHeaders.allCases, ["tx off tso off gso on", "tso off tx-udp-segmentation off"])
  func datagramsInSuperPackets(headers: ExtensionHeaders, offloads: String) throws {
    let pair = try VethPair(offloads: true)
    try pair.near.shell("ethtool -K near0 \(offloads) >/dev/null")
    let path = try headerPath(pair)
    let ours = try Conversation.udp(pair)
    _ = try path.set(.mark, ours.key, headers)
    let both = headers == .hopByHopDestination
    let most = 1500 - 48 - 8
    var marked = Usage()
    for (size, fits) in [(1200, !both), (600, !both), (most, !both), (most + 1, false)] {
      let capture = try Capture("far0", in: pair.far)
      // UDP_SEGMENT of <linux/udp.h>: one call, ten datagrams, the last one short.
      try ours.near.set(Int32(IPPROTO_UDP), 103, Int32(size))
      try ours.near.send([UInt8](repeating: 7, count: size * 9 + 100))
      let frames = try capture.frames().of(ours.key)
      #expect(frames.map { $0.payload?.count } == [Int](repeating: size, count: 9) + [100])
      #expect(frames.allSatisfy { fits ? $0.carries(headers) : $0.optionHeaders.isEmpty })
      if offloads.hasPrefix("tx off") { #expect(frames.allSatisfy { $0.checksumsAreRight == true }) }
      for _ in 0..<10 { #expect(try ours.far.receive() != nil) }
      if !fits { continue }
      marked.packets += 10
      marked.bytes += frames.reduce(0) { $0 + UInt64($1.length) }
    }
    #expect(path.tooBigPackets == (both ? 0 : 10) && path.unwritablePackets == (both ? 40 : 0))
    #expect(try path.set(.unmark, ours.key, headers) == marked)
  }

  /// Fragments leave as they came: one with other headers than the rest could not be put together everywhere.
  @Test func fragments() throws {
    let pair = try VethPair()
    let path = try headerPath(pair)
    let ours = try Conversation.udp(pair)
    _ = try path.set(.mark, ours.key, .destination)
    let capture = try Capture("far0", in: pair.far)
    let data = (0..<5000).map { UInt8($0 & 0xff) }
    try ours.near.send(data)
    #expect(try ours.far.receive() == data)
    let frames = try capture.frames().filter { $0.transport == 17 && $0.source == ours.key.local.address }
    #expect(frames.count == 4 && frames.allSatisfy { $0.isFragment && $0.optionHeaders.isEmpty })
    #expect(path.unwritablePackets == 4)
  }

  /// Hop-by-hop and destination options that the application itself has set (RFC 3542).
  @Test(arguments: ExtensionHeaders.allCases, [IPV6_HOPOPTS, IPV6_DSTOPTS])
  func ownHeaders(headers: ExtensionHeaders, option: Int32) throws {
    let pair = try VethPair()
    let path = try headerPath(pair)
    let ours = try Conversation.udp(pair)
    _ = try path.set(.mark, ours.key, headers)
    // PadN of six bytes.
    var padding: [UInt8] = [0, 0, 1, 4, 0, 0, 0, 0]
    #expect(setsockopt(ours.near.descriptor.raw, Int32(IPPROTO_IPV6), option, &padding, 8) == 0)
    let capture = try Capture("far0", in: pair.far)
    try ours.near.send([1, 2, 3])
    #expect(try ours.far.receive() == [1, 2, 3])
    let frames = try capture.frames().of(ours.key)
    #expect(frames.count == 1 && frames.first?.optionHeaders.map(\.bytes) == [[17] + padding.dropFirst()])
    #expect(path.unwritablePackets == 1)
  }
}
