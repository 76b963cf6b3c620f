import Firefly
import Flow

/// 2026-01-15T09:12:33.500000+00:00 and two moments before it.
let now = WallClockTime(microseconds: 1_768_468_353_500_000)
let started = WallClockTime(microseconds: 1_768_468_345_412_007)
let ended = WallClockTime(microseconds: 1_768_468_353_499_999)

func endpoint(_ address: String, _ port: UInt16) -> Endpoint {
  guard let address = Address(address) else { preconditionFailure("\(address) is no address") }
  return Endpoint(address, port)
}

let ipv6Key = FlowKey(
  local: endpoint("2001:db8:10::7", 41922), remote: endpoint("2001:db8:20::3", 33115), transport: .tcp)
let ipv4Key = FlowKey(
  local: endpoint("192.0.2.44", 5001), remote: endpoint("198.51.100.3", 1094), transport: .udp)

/// The packed form of 2/10.
let tag = SciTag(packed: 2 << 6 | 10)

func encode(
  _ announcement: Announcement, application: String = "marker 1.0", transferred: Transferred? = nil,
  enrichment: Enrichment = .none, host: String = "se1.example.org", as format: FireflyFormat = .bare,
  at time: WallClockTime = now
) throws(Inexpressible) -> String {
  var encoder = FireflyEncoder(host: host)
  try encoder.encode(
    announcement, application: application, transferred: transferred, enrichment: enrichment, at: time)
  return encoder.withBytes(as: format) { text($0) }
}

func text(_ bytes: Span<UInt8>) -> String {
  var copy: [UInt8] = []
  for index in bytes.indices { copy.append(bytes[index]) }
  return String(validating: copy, as: UTF8.self) ?? "not UTF-8"
}

/// A connection of which every field is a large number, and one of which all but a few are zero.
let longInfo = info { _ in 0xfe }
let shortInfo = info { index in
  switch index {
  case 0: 1  // state: established
  case 5: 3  // options: timestamps and SACK
  case 69: 0x30  // rtt: 12,288 µs
  case 77, 78: 1  // ssthresh: 65,792
  default: 0
  }
}

private func info(_ byte: (Int) -> UInt8) -> TCPInfo {
  let bytes = (0..<TCPInfo.capacity).map(byte)
  return bytes.withUnsafeBytes { info in
    Array("cubic".utf8).withUnsafeBytes { TCPInfo(info, congestion: $0) }
  }
}
