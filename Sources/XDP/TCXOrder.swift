/// Where in an interface's tcx chain marker's program runs among those of others. The first program that returns another
/// verdict than "next" ends the chain: what runs behind it sees no packet.
public enum TCXOrder: Hashable, Sendable {
  case first, last
  /// Beside a program that is attached there, directly or by a link.
  case before(Neighbour)
  case after(Neighbour)

  /// Somebody's program, by the kernel's numbers, as `bpftool net` lists them.
  public enum Neighbour: Hashable, Sendable {
    case program(UInt32)
    case link(UInt32)
  }

  // <linux/bpf.h> of 6.6. First and last are before and after with nothing named.
  private static let before: UInt32 = 1 << 3  // BPF_F_BEFORE
  private static let after: UInt32 = 1 << 4  // BPF_F_AFTER
  fileprivate static let byNumber: UInt32 = 1 << 5  // BPF_F_ID
  fileprivate static let ofLink: UInt32 = 1 << 13  // BPF_F_LINK

  /// Whom it names, and whether marker's program is to run before that one.
  var neighbour: (neighbour: Neighbour, isAhead: Bool)? {
    switch self {
    case .first, .last: nil
    case .before(let neighbour): (neighbour, true)
    case .after(let neighbour): (neighbour, false)
    }
  }

  var isRelative: Bool { words.relative != 0 }

  /// The flags of BPF_LINK_CREATE, and the number that they are about.
  var words: (flags: UInt32, relative: UInt32) {
    switch self {
    case .first: (Self.before, 0)
    case .last: (Self.after, 0)
    case .before(let neighbour): (Self.before | neighbour.flags, neighbour.number)
    case .after(let neighbour): (Self.after | neighbour.flags, neighbour.number)
    }
  }

  /// As the configuration has it: `first`, `last`, `before program 7`, `after link 3`.
  public var text: String {
    switch self {
    case .first: "first"
    case .last: "last"
    case .before(let neighbour): "before \(neighbour.text)"
    case .after(let neighbour): "after \(neighbour.text)"
    }
  }

  /// Nil for what is no order.
  public init?(_ text: String) {
    let words = text.split(separator: " ")
    switch (words.first, words.count) {
    case ("first", 1): self = .first
    case ("last", 1): self = .last
    case ("before", 3), ("after", 3):
      guard let neighbour = Neighbour(words[1], words[2]) else { return nil }
      self = words[0] == "before" ? .before(neighbour) : .after(neighbour)
    default: return nil
    }
  }
}

extension TCXOrder.Neighbour {
  fileprivate init?(_ kind: Substring, _ number: Substring) {
    guard let number = UInt32(number), number > 0 else { return nil }
    switch kind {
    case "program": self = .program(number)
    case "link": self = .link(number)
    default: return nil
    }
  }

  fileprivate var text: String {
    switch self {
    case .program(let number): "program \(number)"
    case .link(let number): "link \(number)"
    }
  }

  fileprivate var number: UInt32 {
    switch self {
    case .program(let number), .link(let number): number
    }
  }

  fileprivate var flags: UInt32 {
    switch self {
    case .program: TCXOrder.byNumber
    case .link: TCXOrder.byNumber | TCXOrder.ofLink
    }
  }
}
