internal import CBPF
internal import CTable
internal import Flow
internal import Glibc
internal import Linux

/// The kernel's trie of networks that mark-all leaves alone.
struct NetworkMap {
  private let map: Int32

  /// - Parameter map: a descriptor that outlives this value, of an empty map.
  init(map: Int32) throws(BPFError) {
    self.map = map
    do throws(SystemError) {
      try set(.allIPv4, isExcluded: false)
    } catch {
      throw .map(error)
    }
  }

  func insert(_ network: Network) throws(SystemError) { try set(network, isExcluded: true) }

  func remove(_ network: Network) throws(SystemError) {
    // As the trie has it, IPv4 is within ::/0; this entry takes it out.
    if network == .allIPv4 { return try set(network, isExcluded: false) }
    var key = marker_network(network)
    let status = bpf_map_delete_elem(map, &key)
    guard status == 0 || status == -ENOENT else {
      throw SystemError("bpf_map_delete_elem", "\(network)", code: -status)
    }
  }

  private func set(_ network: Network, isExcluded: Bool) throws(SystemError) {
    var (key, value): (marker_network, UInt8) = (marker_network(network), isExcluded ? 1 : 0)
    let status = bpf_map_update_elem(map, &key, &value, UInt64(BPF_ANY))
    guard status == 0 else { throw SystemError("bpf_map_update_elem", "\(network)", code: -status) }
  }
}
