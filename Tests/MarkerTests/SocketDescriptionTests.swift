import Flow
import Glibc
import Testing

@testable import Linux

/// A SOCK_DIAG_BY_FAMILY message of Linux 6.18 about a connection of ::1, as recorded.
private let recorded: [UInt8] = [
  10, 1, 0, 0, 230, 42, 131, 73, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0,
  0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 48, 53, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
  0, 0, 0, 138, 49, 7, 0, 5, 0, 8, 0, 0, 0, 0, 0, 8, 0, 15, 0, 0, 0, 0, 0, 12, 0, 21, 0, 1, 0, 0, 0, 0,
  0, 0, 0, 6, 0, 22, 0, 18, 0, 0, 0, 28, 1, 2, 0, 1, 0, 0, 0, 0, 7, 170, 0, 224, 28, 3, 0, 64, 156, 0,
  0, 184, 255, 0, 0, 188, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0,
  0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 232, 0, 0, 100, 0, 0, 0, 106, 0, 0, 0, 8, 0, 0,
  0, 28, 0, 0, 0, 184, 255, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 232, 0, 0, 0, 0, 0, 0, 220, 169, 175, 206,
  2, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255, 193, 198, 45, 0, 0, 0, 0, 0, 188, 2, 0, 0, 0, 0,
  0, 0, 68, 0, 0, 0, 37, 0, 0, 0, 0, 0, 0, 0, 11, 0, 0, 0, 1, 0, 0, 0, 65, 0, 0, 0, 134, 190, 238, 11,
  0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 66, 0, 0, 0, 0, 0,
  0, 0, 192, 198, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 84,
  51, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
  0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 4, 0, 98, 98, 114, 0,
]

struct SocketDescriptionTests {
  /// What a reader makes of a message, of which nothing is valid afterwards.
  private struct Read: Equatable {
    var key: FlowKey
    var state: SocketState
    var cgroup: UInt64?
    var bytes: SocketBytes?
    var congestion: String?
  }

  private func read(_ bytes: [UInt8]) -> Read? {
    bytes.withUnsafeBytes { bytes in
      SocketDescription(bytes, .tcp).map {
        Read(
          key: $0.key, state: $0.state, cgroup: $0.cgroup, bytes: $0.bytes,
          congestion: $0.tcpInfo?.congestion)
      }
    }
  }

  private func key(_ local: String, _ remote: String) throws -> FlowKey {
    FlowKey(
      local: Endpoint(try #require(Address(local)), 58922),
      remote: Endpoint(try #require(Address(remote)), 33609),
      transport: .tcp)
  }

  @Test func recordedMessage() throws {
    let found = try #require(read(recorded))
    #expect(try found.key == key("::1", "::1") && found.state == .established && found.state.isConnection)
    #expect(found.bytes == SocketBytes(sent: 3_000_000, received: 700))
    #expect(found.congestion == "bbr" && found.cgroup == 1)
  }

  /// Both kinds of IPv4 socket are the same flow.
  @Test func addressesOfIPv4() throws {
    var mapped = recorded
    mapped.replaceSubrange(
      8..<40,
      with: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 192, 0, 2, 1]
        + [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 192, 0, 2, 2])
    var plain = recorded
    plain[0] = UInt8(AF_INET)
    plain.replaceSubrange(8..<12, with: [192, 0, 2, 1])
    plain.replaceSubrange(24..<28, with: [192, 0, 2, 2])
    let want = try key("192.0.2.1", "192.0.2.2")
    #expect(read(mapped)?.key == want && read(plain)?.key == want)
  }

  /// Wherever a message is cut, what is there is read and nothing beyond it.
  @Test func cutAnywhere() {
    for count in 0..<recorded.count {
      let found = read(Array(recorded[..<count]))
      #expect((found == nil) == (count < 72), "\(count)")
      if count < 350 { #expect(found?.bytes == nil || found?.bytes?.received == 700) }
    }
  }

  /// An IPv6 socket bound to ::ffff:192.0.2.1, without a remote end: fuzzing found that it came out as a flow of two
  /// address families.
  @Test func twoFamiliesAreNoFlow() {
    var message = recorded
    message.replaceSubrange(8..<24, with: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1])
    #expect(read(message) == nil)
    message.replaceSubrange(24..<40, with: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 2])
    #expect(read(message)?.key.isIPv4 == true)
  }
}

struct InterfaceMessageTests {
  /// Fuzzing found that an index beyond 2^31 - 1 ended the process.
  @Test func aNegativeIndex() {
    // struct ifinfomsg, then IFLA_IFNAME.
    let message: [UInt8] =
      [0, 0, 1, 0, 0xfe, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0] + [7, 0, 3, 0] + Array("lo\0\0".utf8)
    message.withUnsafeBytes { bytes in
      let interface = Interface(bytes)
      #expect(interface?.index == 0xffff_fffe && interface?.name == "lo")
    }
  }
}
