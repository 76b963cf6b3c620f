/// Which DSCP stands for which tag: the site's own convention, trusted inside its own DiffServ domain only.
/// SciTags itself knows no code points.
///
/// An entry made by hand wins over the preset, and the narrowest entry wins: experiment and activity, then
/// experiment, then `fallback`.
public struct CodePointMap: Equatable, Sendable {
  /// What tags get for which there is no entry.
  public enum Preset: String, Sendable, CaseIterable {
    /// `experiment << 2 | 0b11`: pool 2 of RFC 2474 §6, for experimental and local use, for experiments 1 to
    /// 11. What would be 48 or more is refused.
    case pool2
    /// 1 for every tag: lower effort (RFC 8622).
    case le
    /// Nothing: only what is mapped by hand is stamped.
    case none
  }

  /// What an entry says.
  public enum Target: Hashable, Sendable {
    /// Any of the 64, also those that no preset gives.
    case codePoint(CodePoint)
    /// Leave the packets as they are.
    case none
  }

  /// What the map says of one tag.
  public enum Answer: Hashable, Sendable {
    case codePoint(CodePoint)
    /// Nothing is stamped, and that is meant.
    case unmarked
    /// The preset has no code point for the tag: it takes an entry by hand.
    case refused
  }

  public var preset: Preset
  public var tags: [SciTag: Target] = [:]
  public var experiments: [UInt16: Target] = [:]
  /// For every tag without an entry; with it, the preset is out of use.
  public var fallback: Target?

  public init(_ preset: Preset = .pool2) { self.preset = preset }

  /// A tag that names no experiment is refused whatever the entries say.
  public func answer(for tag: SciTag) -> Answer {
    guard tag.namesExperiment else { return .refused }
    switch tags[tag] ?? experiments[tag.experiment] ?? fallback {
    case .codePoint(let codePoint): return .codePoint(codePoint)
    case .some(.none): return .unmarked
    case nil: return Self.answer(of: preset, for: tag.experiment)
    }
  }

  private static func answer(of preset: Preset, for experiment: UInt16) -> Answer {
    switch preset {
    case .none: return .unmarked
    case .le: return .codePoint(.lowerEffort)
    case .pool2:
      guard let codePoint = CodePoint(Int(experiment) << 2 | 0b11), !codePoint.isNetworkControl else {
        return .refused
      }
      return .codePoint(codePoint)
    }
  }
}

extension CodePoint {
  /// RFC 8622: traffic that gives way to all other.
  static let lowerEffort = CodePoint(truncating: 1)

  /// The IP precedence that equipment from before RFC 2474 reads in the upper three bits, 0…7.
  public var precedence: UInt8 { value >> 3 }

  /// 48…63: precedence 6 and 7, which routers keep for their own protocols (RFC 4594 §3.1).
  public var isNetworkControl: Bool { precedence >= 6 }

  /// What is left where a network clears the precedence bits.
  public var bleached: CodePoint { CodePoint(truncating: value & 0b111) }

  /// The low six bits.
  init(truncating number: UInt8) { value = number & 0x3f }
}
