internal import CBPF
internal import Linux

/// The programs of the tc path and the maps that they share. The one for Ethernet is loaded at once, the one for
/// interfaces without a link header when the first of them comes.
final class TCPrograms {
  private struct Loaded: ~Copyable {
    let object: BPFObject
  }
  private let code: BPFObjectCode
  private let ethernet: BPFObject
  private var bare: Loaded?
  /// The descriptor of the map of MTUs, which only programs that insert headers have.
  private let mtus: Int32?
  /// Whether these are the programs for marks with extension headers.
  var insertsHeaders: Bool { mtus != nil }
  /// Maps that are one for both programs.
  private let shared: [String]

  init(maxFlows: Int, insertsHeaders: Bool) throws(BPFError) {
    code = insertsHeaders ? .headers : .marker
    shared = ["flows", "fragments", "excluded", ".bss"] + (insertsHeaders ? ["mtus"] : [])
    let object = try BPFObject(
      code, program: Self.name(of: .ethernet), mapSizes: ["flows": UInt32(maxFlows)])
    mtus = insertsHeaders ? try object.map("mtus") : nil
    ethernet = object
  }

  /// The descriptor of a map.
  func map(_ name: String) throws(BPFError) -> Int32 { try ethernet.map(name) }

  /// The descriptor of the program for a kind of interface.
  func program(for header: Interface.LinkHeader) throws(BPFError) -> Int32 {
    guard header == .none else { return try ethernet.program(Self.name(of: header)) }
    if bare == nil {
      var maps: [String: Int32] = [:]
      for name in shared { maps[name] = try ethernet.map(name) }
      bare = Loaded(object: try BPFObject(code, program: Self.name(of: header), shared: maps))
    }
    guard let fd = try bare?.object.program(Self.name(of: header)) else {
      throw .missing("program for bare links")
    }
    return fd
  }

  /// The program, by one name in bpf/marker.bpf.c and bpf/headers.bpf.c.
  static func name(of header: Interface.LinkHeader) -> String {
    switch header {
    case .ethernet: "marker_ethernet"
    case .none: "marker_bare"
    }
  }

  /// Says what fits through an interface.
  ///
  /// - Parameter mtu: bytes from the IP header on; 0 takes no header at all.
  func setMTU(_ mtu: UInt32, ofInterface index: UInt32) throws(BPFError) {
    guard let mtus else { return }
    var (key, value) = (index, mtu)
    let status = bpf_map_update_elem(mtus, &key, &value, UInt64(BPF_ANY))
    guard status == 0 else { throw .map(SystemError("bpf_map_update_elem", "mtus", code: -status)) }
  }

  func forgetMTU(ofInterface index: UInt32) {
    guard let mtus else { return }
    var key = index
    _ = bpf_map_delete_elem(mtus, &key)
  }
}
