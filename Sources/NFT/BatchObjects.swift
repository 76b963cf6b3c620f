internal import CMNL
internal import CNFT
internal import Glibc

/// Where a base chain hangs.
struct BaseChain: Sendable {
  /// `NF_INET_POST_ROUTING`, linux/netfilter.h: what this host sends and what it forwards.
  static let postrouting = UInt32(NF_INET_POST_ROUTING.rawValue)
  /// `NF_IP_PRI_MANGLE`, linux/netfilter_ipv4.h.
  static let mangle: Int32 = -150

  var hook = postrouting
  var priority = mangle
}

/// A type that nft shows elements in. The raw value is nft's own number for it (`enum datatypes`, datatype.h of
/// nftables); the kernel only stores it.
enum ElementType: UInt32, Sendable {
  case verdict = 1
  case ipv4Address = 7
  case ipv6Address = 8
  case transport = 12
  case port = 13
  case mark = 19
  case interfaceName = 41

  /// Whether the kernel holds it in host order. The others are in network order.
  var isHostOrder: Bool { self == .mark || self == .interfaceName }

  /// Bytes in a key.
  var length: UInt32 {
    switch self {
    case .verdict, .ipv4Address, .mark: 4
    case .transport, .port: 4
    case .ipv6Address, .interfaceName: 16
    }
  }
}

/// A set or map to make.
struct SetDescription: Sendable {
  var name: String
  /// The fields of a key; each starts at a multiple of four bytes.
  var key: [ElementType]
  /// What a map maps to.
  var data: ElementType?
  /// The most elements; 0 is no limit.
  var size: UInt32 = 0
  /// Each element counts its packets.
  var counts = false
  /// Packets may add elements.
  var isDynamic = false
  /// Elements are the ends of ranges.
  var hasRanges = false
}

extension Batch {
  /// nft add table inet NAME
  public mutating func addTable() {
    table(.newTable, NLM_F_CREATE)
  }

  /// nft delete table inet NAME
  public mutating func deleteTable() {
    table(.deleteTable, 0)
  }

  private mutating func table(_ type: MessageType, _ flags: Int32) {
    let object = NetlinkHandle.table()
    nftnl_table_set_str(object.raw, UInt16(NFTNL_TABLE_NAME.rawValue), table.name)
    append(type, flags, .table(table)) { nftnl_table_nlmsg_build_payload($0, object.raw) }
  }

  /// nft add chain inet TABLE NAME [{ type filter hook … priority …; policy accept; }]
  mutating func addChain(_ name: String, _ base: BaseChain? = nil) {
    let object = chain(name)
    if let base {
      nftnl_chain_set_str(object.raw, UInt16(NFTNL_CHAIN_TYPE.rawValue), "filter")
      nftnl_chain_set_u32(object.raw, UInt16(NFTNL_CHAIN_HOOKNUM.rawValue), base.hook)
      nftnl_chain_set_s32(object.raw, UInt16(NFTNL_CHAIN_PRIO.rawValue), base.priority)
      nftnl_chain_set_u32(object.raw, UInt16(NFTNL_CHAIN_POLICY.rawValue), UInt32(NF_ACCEPT))
    }
    append(.newChain, NLM_F_CREATE, .chain(name)) { nftnl_chain_nlmsg_build_payload($0, object.raw) }
  }

  /// nft delete chain inet TABLE NAME, with its rules
  mutating func deleteChain(_ name: String) {
    let object = chain(name)
    append(.deleteChain, 0, .chain(name)) { nftnl_chain_nlmsg_build_payload($0, object.raw) }
  }

  private func chain(_ name: String) -> NetlinkHandle {
    let object = NetlinkHandle.chain()
    nftnl_chain_set_str(object.raw, UInt16(NFTNL_CHAIN_TABLE.rawValue), table.name)
    nftnl_chain_set_str(object.raw, UInt16(NFTNL_CHAIN_NAME.rawValue), name)
    return object
  }

  /// nft add set|map inet TABLE NAME { type …; }
  mutating func addSet(_ set: SetDescription) {
    let object = NetlinkHandle.set()
    func u32(_ attribute: nftnl_set_attr, _ value: UInt32) {
      nftnl_set_set_u32(object.raw, UInt16(attribute.rawValue), value)
    }
    nftnl_set_set_str(object.raw, UInt16(NFTNL_SET_TABLE.rawValue), table.name)
    nftnl_set_set_str(object.raw, UInt16(NFTNL_SET_NAME.rawValue), set.name)
    u32(NFTNL_SET_ID, nextSetID())
    var flags: UInt32 = 0
    // nft packs the types of a concatenation into one number, six bits each.
    u32(NFTNL_SET_KEY_TYPE, set.key.reduce(0) { $0 << 6 | $1.rawValue })
    // Fields of a concatenation take whole registers.
    u32(NFTNL_SET_KEY_LEN, set.key == [.port] ? 2 : set.key.reduce(0) { $0 + $1.length })
    if let data = set.data {
      flags |= UInt32(NFT_SET_MAP.rawValue)
      let isVerdict = data == .verdict
      u32(NFTNL_SET_DATA_TYPE, isVerdict ? UInt32(NFT_DATA_VERDICT.rawValue) : data.rawValue)
      if !isVerdict { u32(NFTNL_SET_DATA_LEN, data.length) }
    }
    if set.isDynamic { flags |= UInt32(NFT_SET_EVAL.rawValue) }
    if set.hasRanges { flags |= UInt32(NFT_SET_INTERVAL.rawValue) }
    u32(NFTNL_SET_FLAGS, flags)
    let notes = Self.byteOrders(set)
    nftnl_set_set_data(object.raw, UInt16(NFTNL_SET_USERDATA.rawValue), notes, UInt32(notes.count))
    if set.size > 0 { u32(NFTNL_SET_DESC_SIZE, set.size) }
    if set.counts, let counter = nftnl_expr_alloc("counter") {
      // The set owns it from here on.
      nftnl_set_add_expr(object.raw, counter)
    }
    append(.newSet, NLM_F_CREATE, .set(set.name)) { nftnl_set_nlmsg_build_payload($0, object.raw) }
  }

  /// nft delete set inet TABLE NAME
  mutating func deleteSet(_ name: String) {
    let object = NetlinkHandle.set()
    nftnl_set_set_str(object.raw, UInt16(NFTNL_SET_TABLE.rawValue), table.name)
    nftnl_set_set_str(object.raw, UInt16(NFTNL_SET_NAME.rawValue), name)
    append(.deleteSet, 0, .set(name)) { nftnl_set_nlmsg_build_payload($0, object.raw) }
  }

  /// The user data by which nft knows in which order to show keys and data; without, it takes all for network order.
  /// Type, length, and a number in host order each (libnftnl/udata.h): 1 is host order, 2 network order
  /// (`enum byteorder`, datatype.h of nftables).
  private static func byteOrders(_ set: SetDescription) -> [UInt8] {
    func note(_ type: nftnl_udata_set_types, _ isHostOrder: Bool) -> [UInt8] {
      [UInt8(type.rawValue), 4] + UInt32(isHostOrder ? 1 : 2).bytes
    }
    var notes = note(NFTNL_UDATA_SET_KEYBYTEORDER, set.key.allSatisfy(\.isHostOrder))
    if let data = set.data, data != .verdict {
      notes += note(NFTNL_UDATA_SET_DATABYTEORDER, data.isHostOrder)
    }
    return notes
  }

  /// nft add rule inet TABLE CHAIN …, or, in front of all others, nft insert rule
  mutating func addRule(_ chain: String, _ expressions: [Expression], isFirst: Bool = false) {
    let object = NetlinkHandle.rule()
    nftnl_rule_set_str(object.raw, UInt16(NFTNL_RULE_TABLE.rawValue), table.name)
    nftnl_rule_set_str(object.raw, UInt16(NFTNL_RULE_CHAIN.rawValue), chain)
    for expression in expressions { nftnl_rule_add_expr(object.raw, expression.make()) }
    append(.newRule, NLM_F_CREATE | (isFirst ? 0 : NLM_F_APPEND), .rule(chain: chain)) {
      nftnl_rule_nlmsg_build_payload($0, object.raw)
    }
  }

  /// nft flush chain inet TABLE CHAIN
  mutating func deleteRules(of chain: String) {
    let object = NetlinkHandle.rule()
    nftnl_rule_set_str(object.raw, UInt16(NFTNL_RULE_TABLE.rawValue), table.name)
    nftnl_rule_set_str(object.raw, UInt16(NFTNL_RULE_CHAIN.rawValue), chain)
    append(.deleteRule, 0, .rule(chain: chain)) { nftnl_rule_nlmsg_build_payload($0, object.raw) }
  }
}
