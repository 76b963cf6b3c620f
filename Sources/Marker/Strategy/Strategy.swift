/// What is stamped into packets.
enum Strategy: String, Sendable, CaseIterable {
  /// The flow label on IPv6; flows of IPv4 are announced only.
  case label
  /// A DSCP on IPv4; flows of IPv6 are announced only.
  case dscp
  /// The flow label on IPv6 and a DSCP on IPv4.
  case auto
  /// An extension header on IPv6.
  case hopByHop, destination, hopByHopDestination
}

/// Which path the operator wants. Paths that are not built yet have their names already, so that naming one is
/// answered by what this version has instead of by a list of spellings.
enum PathChoice: String, Sendable, CaseIterable {
  case auto, sock, tc, nft
  case xdp, raw
}
