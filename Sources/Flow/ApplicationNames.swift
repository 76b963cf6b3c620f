import Synchronization

/// The names of the applications that run flows, each held once: a flow carries a number, not a string.
///
/// Safe to use from any thread. The number of names is bounded, because peers choose them.
public final class ApplicationNames: Sendable {
  public struct ID: Hashable, Sendable {
    let index: UInt16
    /// 0…4095, in the order in which names came up.
    public var number: UInt16 { index }
    /// A flow whose source names no application; its fireflies name this program.
    public static let marker = ID(index: 0)
  }

  /// Names beyond this many are all taken for `ID.marker`.
  public static let limit = 4096

  private struct State {
    var names: [String]
    var numbers: [String: UInt16]
  }
  private let state: Mutex<State>

  /// - Parameter own: this program's name and version, as fireflies give it.
  public init(own: String) {
    state = Mutex(State(names: [own], numbers: [own: 0]))
  }

  /// The number of a name, which is remembered from then on.
  public func id(of name: String) -> ID {
    state.withLock { state in
      if let index = state.numbers[name] { return ID(index: index) }
      guard state.names.count < Self.limit else { return .marker }
      let index = UInt16(state.names.count)
      state.names.append(name)
      state.numbers[name] = index
      return ID(index: index)
    }
  }

  public func name(of id: ID) -> String {
    state.withLock { $0.names[Int(id.index)] }
  }

  /// The name of a number that was given out; nil for others.
  public func name(number: UInt16) -> String? {
    state.withLock { Int(number) < $0.names.count ? $0.names[Int(number)] : nil }
  }
}
