import Flow

extension ByteWriter {
  /// The most that `append(enrichment:)` writes: under sixty keys, each with a number of at most twenty digits.
  static let enrichmentCapacity = 4096

  /// Appends the value of `netlink`.
  ///
  /// - Parameter isShort: the form for fireflies with little room.
  mutating func append(_ enrichment: Enrichment, _ info: TCPInfo, isShort: Bool) {
    switch (enrichment, isShort) {
    case (.none, _): break
    case (.compatible, false): append(Enrichment.compatibleKeys, info, zeroes: false)
    case (.compatible, true): append(Enrichment.shortCompatibleKeys, info, zeroes: false)
    case (.full, false): appendNested(Enrichment.fullKeys, info, zeroes: false)
    case (.full, true), (.lean, _): appendNested(Enrichment.leanKeys, info, zeroes: true)
    }
  }

  private mutating func appendNested(_ keys: [EnrichmentKey], _ info: TCPInfo, zeroes: Bool) {
    append(#"{"tcpInfo":"#)
    append(keys, info, zeroes: zeroes)
    info.withCongestion { name in
      // The kernel's names have nothing that JSON would have to escape; another's modules might.
      guard !name.isEmpty, name.allSatisfy({ $0 > 0x20 && $0 < 0x7f && $0 != 0x22 && $0 != 0x5c }) else {
        return
      }
      append(#","cong":{"algorithm":""#)
      for byte in name { append(byte) }
      append(#""}"#)
    }
    append(UInt8(ascii: "}"))
  }

  private mutating func append(_ keys: [EnrichmentKey], _ info: TCPInfo, zeroes: Bool) {
    append(UInt8(ascii: "{"))
    var isFirst = true
    for key in keys {
      guard let value = info[key.field], zeroes || value != 0 else { continue }
      // TCP_INFINITE_SSTHRESH (net/tcp.h) is the least of the numbers that mean "none".
      if key.form == .threshold, value >= 0x7fff_ffff { continue }
      if !isFirst { append(UInt8(ascii: ",")) }
      isFirst = false
      append(UInt8(ascii: "\""))
      append(key.name)
      append(#"":"#)
      append(value, as: key.form)
    }
    append(UInt8(ascii: "}"))
  }

  private mutating func append(_ value: UInt64, as form: EnrichmentKey.Form) {
    switch form {
    case .number, .threshold: append(decimal: value)
    case .milliseconds:
      append(decimal: value / 1000)
      let digits = extend(4)
      digits[0] = UInt8(ascii: ".")
      digits[1] = UInt8(ascii: "0") + UInt8(value % 1000 / 100)
      digits.writePair(value % 100, at: 2)
    case .state: append(Self.stateName(value))
    case .options:
      append(UInt8(ascii: "["))
      // TCPI_OPT_TIMESTAMPS, TCPI_OPT_SACK, TCPI_OPT_ECN (linux/tcp.h).
      var isFirst = true
      for (bit, name) in [(1, #""ts""#), (2, #""sack""#), (8, #""ecn""#)] as [(UInt64, StaticString)] {
        guard value & bit != 0 else { continue }
        if !isFirst { append(UInt8(ascii: ",")) }
        isFirst = false
        append(name)
      }
      append(UInt8(ascii: "]"))
    }
  }

  private static func stateName(_ state: UInt64) -> StaticString {
    switch state {
    case 1: #""established""#
    case 2: #""syn-sent""#
    case 3: #""syn-recv""#
    case 4: #""fin-wait-1""#
    case 5: #""fin-wait-2""#
    case 6: #""time-wait""#
    case 7: #""unconnected""#
    case 8: #""close-wait""#
    case 9: #""last-ack""#
    case 10: #""listening""#
    case 11: #""closing""#
    default: #""invalid""#
    }
  }
}
