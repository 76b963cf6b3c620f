import Flow
import Lab
import Linux
import NFT
import Testing

/// A veth pair with the path's table in the near namespace.
struct PathLab {
  let pair: VethPair
  let path: NFTPath

  init(offloads: Bool = false, interfaces: [String]? = nil, flowLimit: UInt32 = 0) throws {
    pair = try VethPair(offloads: offloads)
    path = try pair.near.run { () throws(PathError) -> Boxed<NFTPath> in
      Boxed(try NFTPath(interfaces: interfaces, flowLimit: flowLimit, seed: 7))
    }.value
  }

  func list() throws -> String { try pair.near.shell("nft list table inet marker") }

  /// Applies changes that must all succeed.
  func apply(_ changes: [ChangeBatch.Change]) {
    var batch = ChangeBatch()
    batch.changes += changes
    path.apply(&batch)
    for change in batch.changes { #expect(change.failure == nil) }
  }
}

struct Boxed<T>: ~Copyable { let value: T; init(_ value: T) { self.value = value } }

extension FlowKey {
  /// A flow from the near end of the pair to the far one.
  static func near(
    _ local: UInt16, _ remote: UInt16, _ transport: TransportProtocol = .tcp, isIPv4: Bool = false
  ) -> FlowKey {
    FlowKey(
      local: Endpoint(Address(isIPv4 ? VethPair.near4 : VethPair.near6)!, local),
      remote: Endpoint(Address(isIPv4 ? VethPair.far4 : VethPair.far6)!, remote), transport: transport)
  }
}

extension Mark {
  static func label(_ value: Int, _ entropy: LabelEntropy = .kernel) -> Mark {
    Mark(label: LabelStamp(FlowLabel(value)!, entropy))
  }
  static func dscp(_ value: Int, onlyIfUnset: Bool = false) -> Mark {
    Mark(codePoint: CodePointStamp(CodePoint(value)!, onlyIfUnset: onlyIfUnset))
  }
}
