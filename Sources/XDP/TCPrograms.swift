internal import Linux

/// The programs of the tc path and the maps that they share. The one for Ethernet is loaded at once, the one for
/// interfaces without a link header when the first of them comes.
final class TCPrograms {
  private struct Loaded: ~Copyable {
    let object: BPFObject
  }
  private let ethernet: BPFObject
  private var bare: Loaded?

  /// Maps that are one for both programs.
  private static let shared = ["flows", "fragments", ".bss"]

  init(maxFlows: Int) throws(BPFError) {
    ethernet = try BPFObject(
      .marker, program: Self.name(of: .ethernet), mapSizes: ["flows": UInt32(maxFlows)])
  }

  /// The descriptor of a map.
  func map(_ name: String) throws(BPFError) -> Int32 { try ethernet.map(name) }

  /// The descriptor of the program for a kind of interface.
  func program(for header: Interface.LinkHeader) throws(BPFError) -> Int32 {
    guard header == .none else { return try ethernet.program(Self.name(of: header)) }
    if bare == nil {
      var maps: [String: Int32] = [:]
      for name in Self.shared { maps[name] = try ethernet.map(name) }
      bare = Loaded(object: try BPFObject(.marker, program: Self.name(of: header), shared: maps))
    }
    guard let fd = try bare?.object.program(Self.name(of: header)) else {
      throw .missing("program for bare links")
    }
    return fd
  }

  /// The program in bpf/marker.bpf.c.
  static func name(of header: Interface.LinkHeader) -> String {
    switch header {
    case .ethernet: "marker_ethernet"
    case .none: "marker_bare"
    }
  }
}
