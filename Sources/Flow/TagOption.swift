/// The option that carries a SciTag in an IPv6 extension header: Hop-by-Hop Options or Destination Options
/// (RFC 8200 §4.2, §4.3 and §4.6), as flowd-go introduced it.
///
/// Of flowd-go's three forms the newest is written. All of them stand first in a header of eight bytes, and all but the
/// one of November 2024 are followed by a Pad1.
public struct TagOption: Hashable, Sendable {
  public let tag: SciTag

  /// How a tag was written at different times.
  public enum Generation: Sendable, CaseIterable {
    /// flowd-go 2.3 and later: type 0x1e, `experiment << 8 | activity` in three bytes.
    case numbers
    /// Up to flowd-go 2.2: type 0x1e, the flow label's 20 bits in three bytes, entropy among them.
    case label
    /// In November 2024 only: type 0x1f, the flow label's 20 bits in four bytes.
    case wideLabel

    /// RFC 4727 §3.3: for experiments. The two upper bits are 0, so whoever does not know it skips it (RFC 8200 §4.2).
    var type: UInt8 { self == .wideLabel ? 0x1f : 0x1e }
    /// Bytes of data.
    var length: Int { self == .wideLabel ? 4 : 3 }
  }

  /// The size of the header that carries the option, in bytes.
  public static let headerLength = 8

  /// Nil for a tag without an experiment: it says nothing.
  public init?(_ tag: SciTag) {
    guard tag.namesExperiment else { return nil }
    self.tag = tag
  }

  /// The option's data in network byte order: three bytes, of which the experiment takes the upper two.
  public var data: [UInt8] {
    [UInt8(tag.experiment >> 8), UInt8(tag.experiment & 0xff), tag.activity]
  }

  /// The whole extension header.
  ///
  /// - Parameter next: the protocol number of the header behind it.
  public func header(next: UInt8) -> [UInt8] {
    // Length in units of eight bytes, less one; option; Pad1.
    [next, 0, Generation.numbers.type, UInt8(Generation.numbers.length)] + data + [0]
  }

  /// The option of an extension header as a generation wrote it.
  ///
  /// - Parameters:
  ///   - header: from its next-header byte on, at least eight bytes. Only its first option is looked at.
  ///   - generation: nothing in the option tells `numbers` from `label`; see `readings`.
  /// - Returns: nil for anything that the generation does not write.
  public init?(header: some Collection<UInt8>, _ generation: Generation) {
    let bytes = Array(header.prefix(Self.headerLength))
    guard bytes.count == Self.headerLength, Int(bytes[3]) <= 4 else { return nil }
    let number = bytes[4..<4 + Int(bytes[3])].reduce(0) { $0 << 8 | UInt32($1) }
    self.init(type: bytes[2], length: Int(bytes[3]), number, generation)
  }

  /// The same of an option that stands anywhere in a header. Allocates nothing.
  ///
  /// - Parameters:
  ///   - length: bytes of data.
  ///   - number: the data as one number in network byte order.
  public init?(type: UInt8, length: Int, _ number: UInt32, _ generation: Generation) {
    guard type == generation.type, length == generation.length else { return nil }
    switch generation {
    case .numbers:
      guard let tag = try? SciTag(experiment: Int(number >> 8), activity: Int(number & 0xff)) else {
        return nil
      }
      self.init(tag)
    case .label, .wideLabel:
      guard let label = FlowLabel(Int(number)) else { return nil }
      self.init(label.sciTag)
    }
  }

  /// Every way to read a header, the newest generation first. Some values of `numbers` are labels as well; then two are
  /// possible, and only who knows the sender can tell.
  public static func readings(ofHeader header: some Collection<UInt8>) -> [(Generation, TagOption)] {
    Generation.allCases.compactMap { generation in
      TagOption(header: header, generation).map { (generation, $0) }
    }
  }
}

/// Which extension headers carry the option.
public enum ExtensionHeaders: String, Sendable, CaseIterable {
  case hopByHop, destination
  /// Hop-by-hop options first, as RFC 8200 §4.1 orders them.
  case hopByHopDestination

  public var hasHopByHop: Bool { self != .destination }
  public var hasDestination: Bool { self != .hopByHop }

  /// Bytes that a packet grows by.
  public var length: Int {
    hasHopByHop && hasDestination ? 2 * TagOption.headerLength : TagOption.headerLength
  }
}
