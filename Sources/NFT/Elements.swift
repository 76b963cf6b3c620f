internal import CMNL
internal import CNFT
internal import Flow
internal import Glibc

/// What an element of a map maps to.
enum ElementData: Equatable, Sendable {
  /// A packet mark, in host order.
  case mark(UInt32)
  case verdict(Verdict)
}

/// One element of a set or map.
struct Element: Equatable, Sendable {
  var key: [UInt8]
  var data: ElementData?
  /// What the element's counter starts with; nil leaves it to the set.
  var usage: Usage?
  /// What nft shows as its comment: at most `Batch.longestComment` bytes of UTF-8 without zeros.
  var comment: String?
  /// The first value behind a range, in a set of ranges.
  var endsRange = false
  /// The caller's number for it.
  var owner: Int32 = -1
}

extension Batch {
  /// nft add element inet TABLE SET { … }
  ///
  /// - Parameter alone: each element gets a message of its own, so that an error names it.
  mutating func add(_ elements: ArraySlice<Element>, to set: String, alone: Bool = false) {
    chunks(.newElements, NLM_F_CREATE, set, elements, alone)
  }

  /// nft delete element inet TABLE SET { … }
  ///
  /// - Parameter echoes: the kernel reports each element as it was at its end, counters included.
  mutating func delete(
    _ elements: ArraySlice<Element>, from set: String, echoes: Bool = false, alone: Bool = false
  ) {
    chunks(.deleteElements, echoes ? NLM_F_ECHO : 0, set, elements, alone)
  }

  private mutating func chunks(
    _ type: MessageType, _ flags: Int32, _ set: String, _ elements: ArraySlice<Element>, _ alone: Bool
  ) {
    var start = elements.startIndex
    while start < elements.endIndex {
      let size = alone ? 1 : Self.elementsPerMessage(withComments: elements[start].comment != nil)
      let end = Swift.min(start + size, elements.endIndex)
      let first = owners.count
      for element in elements[start..<end] { own(element.owner) }
      append(
        type, flags, .elements(set: set, first..<owners.count),
        room: Self.room(elements: end - start, withComments: elements[start].comment != nil)
      ) { [table] header in
        Self.put(elements[start..<end], of: set, in: table, header)
      }
      start = end
    }
  }

  /// Bytes that an element message may take. An element takes at most 116, with two IPv6 addresses, a mark and a counter,
  /// and 136 more with a comment.
  static func room(elements count: Int, withComments: Bool = false) -> Int {
    512 + count * (withComments ? 272 : 128)
  }

  /// Bytes of a comment, of which nft takes 128 with the zero at its end (libnftnl/udata.h and nftables' parser).
  static let longestComment = 127

  private static func elementsPerMessage(withComments: Bool) -> Int {
    withComments ? elementsPerMessage / 4 : elementsPerMessage
  }

  /// Writes the payload of an element message: NFTA_SET_ELEM_LIST_… of linux/netfilter/nf_tables.h.
  static func put(
    _ elements: ArraySlice<Element>, of set: String, in table: TableName,
    _ header: UnsafeMutablePointer<nlmsghdr>
  ) {
    mnl_attr_put_strz(header, UInt16(NFTA_SET_ELEM_LIST_TABLE.rawValue), table.name)
    mnl_attr_put_strz(header, UInt16(NFTA_SET_ELEM_LIST_SET.rawValue), set)
    nest(header, NFTA_SET_ELEM_LIST_ELEMENTS.rawValue) {
      for element in elements {
        nest(header, NFTA_LIST_ELEM.rawValue) { put(element, header) }
      }
    }
  }

  private static func put(_ element: Element, _ header: UnsafeMutablePointer<nlmsghdr>) {
    nest(header, NFTA_SET_ELEM_KEY.rawValue) {
      mnl_attr_put(header, UInt16(NFTA_DATA_VALUE.rawValue), element.key.count, element.key)
    }
    if element.endsRange {
      let flags = UInt32(NFT_SET_ELEM_INTERVAL_END.rawValue).bigEndian
      mnl_attr_put_u32(header, UInt16(NFTA_SET_ELEM_FLAGS.rawValue), flags)
    }
    switch element.data {
    case nil: break
    case .mark(var mark):
      nest(header, NFTA_SET_ELEM_DATA.rawValue) {
        mnl_attr_put(header, UInt16(NFTA_DATA_VALUE.rawValue), 4, &mark)
      }
    case .verdict(let verdict):
      nest(header, NFTA_SET_ELEM_DATA.rawValue) {
        nest(header, NFTA_DATA_VERDICT.rawValue) {
          let code = UInt32(bitPattern: verdict.code).bigEndian
          mnl_attr_put_u32(header, UInt16(NFTA_VERDICT_CODE.rawValue), code)
          if let chain = verdict.chain {
            mnl_attr_put_strz(header, UInt16(NFTA_VERDICT_CHAIN.rawValue), chain)
          }
        }
      }
    }
    if let comment = element.comment {
      let text = Array(comment.utf8.prefix(longestComment)) + [0]
      // One entry of libnftnl/udata.h: type, length, value.
      let note = [UInt8(NFTNL_UDATA_SET_ELEM_COMMENT.rawValue), UInt8(text.count)] + text
      mnl_attr_put(header, UInt16(NFTA_SET_ELEM_USERDATA.rawValue), note.count, note)
    }
    if let usage = element.usage {
      nest(header, NFTA_SET_ELEM_EXPR.rawValue) {
        mnl_attr_put_strz(header, UInt16(NFTA_EXPR_NAME.rawValue), "counter")
        nest(header, NFTA_EXPR_DATA.rawValue) {
          mnl_attr_put_u64(header, UInt16(NFTA_COUNTER_BYTES.rawValue), usage.bytes.bigEndian)
          mnl_attr_put_u64(header, UInt16(NFTA_COUNTER_PACKETS.rawValue), usage.packets.bigEndian)
        }
      }
    }
  }

  private static func nest(
    _ header: UnsafeMutablePointer<nlmsghdr>, _ type: UInt32, _ body: () -> Void
  ) {
    let start = mnl_attr_nest_start(header, UInt16(type))
    body()
    mnl_attr_nest_end(header, start)
  }
}
