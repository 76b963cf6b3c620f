internal import CBPF
internal import CTable
internal import Glibc
internal import Linux

/// The hardware addresses at the outside that packets are taken over for, here and in a gate's map.
struct StationMap {
  private let map: Int32
  private let outside: Interface
  private var known: Set<UInt64> = []

  /// - Parameter map: a descriptor that outlives this value, of an empty map.
  init(map: Int32, outside: Interface) throws(SystemError) {
    self.map = map
    self.outside = outside
    try look()
  }

  /// Makes it what the bridge knows now.
  mutating func look() throws(SystemError) {
    let there = Set(try BridgeStation.all().filter(isOutside).map(\.address))
    for address in known.subtracting(there) { try remove(address) }
    for address in there { try insert(address) }
  }

  mutating func carry(_ changes: [BridgeStation.Change]) throws(SystemError) {
    for change in changes where change.station.bridge == outside.master {
      let address = change.station.address
      if !change.isGone, isOutside(change.station) {
        try insert(address)
      } else if !change.isGone || change.station.port == outside.index {
        // It went, or it is behind another port now.
        try remove(address)
      }
    }
  }

  private func isOutside(_ station: BridgeStation) -> Bool {
    station.bridge == outside.master && station.port == outside.index && !station.isLocal
  }

  private mutating func insert(_ address: UInt64) throws(SystemError) {
    // What finds no room stays with the bridge.
    guard known.count < Int(MARKER_MAX_STATIONS), known.insert(address).inserted else { return }
    var (key, value): (UInt64, UInt8) = (address, 1)
    let status = bpf_map_update_elem(map, &key, &value, UInt64(BPF_ANY))
    guard status == 0 else {
      known.remove(address)
      throw SystemError("bpf_map_update_elem", "stations", code: -status)
    }
  }

  private mutating func remove(_ address: UInt64) throws(SystemError) {
    guard known.remove(address) != nil else { return }
    var key = address
    let status = bpf_map_delete_elem(map, &key)
    guard status == 0 || status == -ENOENT else {
      throw SystemError("bpf_map_delete_elem", "stations", code: -status)
    }
  }
}
