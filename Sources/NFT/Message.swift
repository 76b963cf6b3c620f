internal import CMNL
internal import CNFT
internal import Flow
internal import Glibc

/// A netlink message as it was received.
struct Message {
  let type: UInt16
  let flags: UInt16
  let sequence: UInt32
  /// The port of the socket whose request it comes from; 0 is the kernel itself.
  let port: UInt32
  let payload: UnsafeRawBufferPointer

  /// struct nlmsghdr: length, type, flags, sequence, port.
  static let headerSize = 16

  /// Calls the body with every message of a datagram.
  static func forEach<E: Error>(
    in datagram: UnsafeRawBufferPointer, _ body: (Message) throws(E) -> Void
  ) throws(E) {
    var offset = 0
    while offset + headerSize <= datagram.count {
      let length = Int(datagram.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
      guard length >= headerSize, offset + length <= datagram.count else { return }
      try body(
        Message(
          type: datagram.loadUnaligned(fromByteOffset: offset + 4, as: UInt16.self),
          flags: datagram.loadUnaligned(fromByteOffset: offset + 6, as: UInt16.self),
          sequence: datagram.loadUnaligned(fromByteOffset: offset + 8, as: UInt32.self),
          port: datagram.loadUnaligned(fromByteOffset: offset + 12, as: UInt32.self),
          payload: UnsafeRawBufferPointer(
            rebasing: datagram[(offset + headerSize)..<(offset + length)])))
      offset += (length + 3) & ~3
    }
  }

  /// The errno of an NLMSG_ERROR, 0 for an acknowledgement; nil for other messages.
  var errorCode: Int32? {
    guard type == UInt16(NLMSG_ERROR), payload.count >= 4 else { return nil }
    return -payload.loadUnaligned(as: Int32.self)
  }

  /// The nf_tables message, nil where it is none.
  var nfTables: MessageType? {
    guard type >> 8 == UInt16(NFNL_SUBSYS_NFTABLES) else { return nil }
    return MessageType(rawValue: type & 0xff)
  }

  /// The attributes behind struct nfgenmsg.
  var attributes: Attributes {
    Attributes(UnsafeRawBufferPointer(rebasing: payload[Swift.min(4, payload.count)...]))
  }

  /// struct nfgenmsg's first byte.
  var family: UInt8 { payload.first ?? 0 }
}

/// An element as the kernel reports it.
struct ReportedElement {
  let key: UnsafeRawBufferPointer
  /// The mark that it maps to, 0 where it maps to none.
  let mark: UInt32
  let usage: Usage?
  /// What nft shows as its comment.
  let comment: String?

  /// Calls the body with every element of an element message.
  static func forEach(in message: Message, _ body: (ReportedElement) -> Void) {
    guard let list = message.attributes.value(NFTA_SET_ELEM_LIST_ELEMENTS.rawValue) else { return }
    for (type, value) in Attributes(list) where type == UInt16(NFTA_LIST_ELEM.rawValue) {
      if let element = ReportedElement(value) { body(element) }
    }
  }

  private init?(_ element: UnsafeRawBufferPointer) {
    var key: UnsafeRawBufferPointer?
    var mark: UInt32 = 0
    var usage: Usage?
    var comment: String?
    for (type, value) in Attributes(element) {
      switch Int(type) {
      case Int(NFTA_SET_ELEM_KEY.rawValue):
        key = Attributes(value).value(NFTA_DATA_VALUE.rawValue)
      case Int(NFTA_SET_ELEM_DATA.rawValue):
        if let data = Attributes(value).value(NFTA_DATA_VALUE.rawValue), data.count >= 4 {
          mark = data.loadUnaligned(as: UInt32.self)
        }
      case Int(NFTA_SET_ELEM_EXPR.rawValue):
        usage = Self.counter(value)
      case Int(NFTA_SET_ELEM_USERDATA.rawValue): comment = Self.comment(value)
      default: break
      }
    }
    guard let key else { return nil }
    self.key = key
    self.mark = mark
    self.usage = usage
    self.comment = comment
  }

  /// The comment among the entries of user data: type, length, value (libnftnl/udata.h).
  private static func comment(_ notes: UnsafeRawBufferPointer) -> String? {
    var place = 0
    while place + 2 <= notes.count {
      let (type, end) = (notes[place], place + 2 + Int(notes[place + 1]))
      guard end <= notes.count else { return nil }
      if UInt32(type) == NFTNL_UDATA_SET_ELEM_COMMENT.rawValue {
        return UnsafeRawBufferPointer(rebasing: notes[(place + 2)..<end]).text
      }
      place = end
    }
    return nil
  }

  private static func counter(_ expression: UnsafeRawBufferPointer) -> Usage? {
    guard let data = Attributes(expression).value(NFTA_EXPR_DATA.rawValue) else { return nil }
    var usage = Usage()
    for (type, value) in Attributes(data) {
      switch Int(type) {
      case Int(NFTA_COUNTER_BYTES.rawValue): usage.bytes = value.bigEndian(UInt64.self)
      case Int(NFTA_COUNTER_PACKETS.rawValue): usage.packets = value.bigEndian(UInt64.self)
      default: break
      }
    }
    return usage
  }
}
