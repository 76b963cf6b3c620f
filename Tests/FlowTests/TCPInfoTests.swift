import Testing

@testable import Flow

/// INET_DIAG_INFO of a connection on Linux 6.18 that had sent 3,000,000 bytes and received 700, as recorded: 280 bytes, of
/// which this version knows the first 232.
private let recorded: [UInt8] = [
  1, 0, 0, 0, 0, 7, 170, 0, 224, 28, 3, 0, 64, 156, 0, 0, 184, 255, 0, 0, 188, 2, 0, 0, 0, 0, 0, 0, 0,
  0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
  0, 0, 232, 0, 0, 100, 0, 0, 0, 106, 0, 0, 0, 8, 0, 0, 0, 28, 0, 0, 0, 184, 255, 0, 0, 3, 0, 0, 0, 0,
  0, 0, 0, 0, 232, 0, 0, 0, 0, 0, 0, 220, 169, 175, 206, 2, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255,
  255, 193, 198, 45, 0, 0, 0, 0, 0, 188, 2, 0, 0, 0, 0, 0, 0, 68, 0, 0, 0, 37, 0, 0, 0, 0, 0, 0, 0, 11,
  0, 0, 0, 1, 0, 0, 0, 65, 0, 0, 0, 134, 190, 238, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
  0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 66, 0, 0, 0, 0, 0, 0, 0, 192, 198, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0,
  0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 84, 51, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
  0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
  0,
]

struct TCPInfoTests {
  private func info(_ count: Int = recorded.count, congestion: [UInt8]? = nil) -> TCPInfo {
    recorded.withUnsafeBytes { bytes in
      let part = UnsafeRawBufferPointer(rebasing: bytes[..<count])
      guard let congestion else { return TCPInfo(part) }
      return congestion.withUnsafeBytes { TCPInfo(part, congestion: $0) }
    }
  }

  @Test func recordedFields() {
    let info = info()
    #expect(
      info[.state] == 1 && info[.options] == 7 && info.bytes == SocketBytes(sent: 3_000_000, received: 700))
    #expect(info[.sendWindowScale] == 10 && info[.receiveWindowScale] == 10 && info[.pathMTU] == 65536)
    #expect(info[.rtt] == 100 && info[.minimumRTT] == 11 && info[.sendMSS] == 65464)
    #expect(info[.congestionWindow] == 28 && info[.segmentsOut] == 68 && info[.bytesSent] == 3_000_000)
    #expect(info[.pacingRate] == 12_057_553_372 && info[.deliveryRate] == 200_195_718)
    #expect(info[.sendWindow] == 3_363_840 && info[.bytesAcked] == 3_000_001)
  }

  /// Older kernels end earlier; no field may be made of what they do not have.
  @Test(
    arguments: [
      (0, nil, nil), (104, nil, nil), (127, nil, nil), (128, nil, nil),
      (136, SocketBytes(sent: 3_000_001, received: 700), nil),
      (232, SocketBytes(sent: 3_000_001, received: 700), 3_000_000),
      (280, SocketBytes(sent: 3_000_001, received: 700), 3_000_000),
    ] as [(Int, SocketBytes?, UInt64?)])
  func shorterStructures(count: Int, bytes: SocketBytes?, sent: UInt64?) {
    let info = info(count)
    #expect((info.bytes?.received) == bytes?.received && info[.bytesSent] == sent)
    #expect((info[.state] == nil) == (count == 0))
  }

  @Test func aSYNIsNoPayload() {
    // bytes_acked counts the SYN; before Linux 4.19 nothing says how much was payload.
    let acked = info()[.bytesAcked] ?? 0
    #expect(info().bytes?.sent == acked - 1 && info(200).bytes?.sent == acked)
  }

  @Test(arguments: [
    ("cubic", Array("cubic\0".utf8)), ("bbr", Array("bbr".utf8)), ("", []),
    ("0123456789abcdef", Array("0123456789abcdefgh".utf8)),
  ])
  func congestion(name: String, bytes: [UInt8]) {
    #expect(info(congestion: bytes).congestion == name)
    #expect(info().congestion == "")
  }
}
