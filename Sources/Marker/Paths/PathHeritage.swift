import Linux
import NFT

/// What a path finds when it starts: flows that another path marks until now, and where what outlives it is kept.
struct PathHeritage {
  /// Where what outlives the daemon is pinned; nil for nowhere.
  var pins: BPFFolder?
  /// The other path was an earlier daemon's, and its attachments are taken over. Else it is this daemon's and goes on
  /// until the new one is in place.
  var isAdopted = false
  var flows: NFTPath.Flows = { _ in }
}
