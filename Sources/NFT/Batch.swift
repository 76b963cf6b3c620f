internal import CMNL
internal import CNFT
internal import Glibc

/// What a message of a batch is about, for the error that the kernel may answer.
public enum BatchSubject: Equatable, Sendable, CustomStringConvertible {
  case transaction
  case table(TableName)
  case chain(String)
  case set(String)
  case rule(chain: String)
  /// Elements of a set: their places in `Batch.owners`.
  case elements(set: String, Range<Int>)

  public var description: String {
    switch self {
    case .transaction: "the transaction"
    case .table(let table): "table \(table)"
    case .chain(let chain): "chain \(chain)"
    case .set(let set): "set \(set)"
    case .rule(let chain): "a rule of chain \(chain)"
    case .elements(let set, let places): places.count == 1 ? "an element of \(set)" : "elements of \(set)"
    }
  }
}

/// Changes to one table that the kernel carries out together or not at all. A value: nothing happens before it is
/// committed, and it can be committed anywhere.
public struct Batch: Sendable {
  public let table: TableName
  /// The messages back to back, without the frame that makes them a transaction; sequence numbers count from 0.
  private(set) var bytes: [UInt8] = []
  private(set) var subjects: [BatchSubject] = []
  /// Where each message starts in `bytes`.
  private(set) var offsets: [Int] = []
  /// The caller's numbers for the elements, in the order of the elements.
  private(set) var owners: [Int32] = []
  private var sets: UInt32 = 0

  /// Elements in one message. The list of elements is one attribute, whose length is a 16-bit number: beyond 64 KB
  /// it would wrap in silence. An element with two IPv6 addresses and a counter takes 116 bytes.
  static let elementsPerMessage = 400

  public init(_ table: TableName) { self.table = table }

  public var isEmpty: Bool { subjects.isEmpty }
  public var count: Int { subjects.count }

  /// Adds one message.
  ///
  /// - Parameter room: bytes that it may take. A rule has some 15 expressions of at most 80 bytes.
  mutating func append(
    _ type: MessageType, _ flags: Int32, _ subject: BatchSubject, room: Int = 4096,
    _ fill: (UnsafeMutablePointer<nlmsghdr>) -> Void
  ) {
    withUnsafeTemporaryAllocation(byteCount: room, alignment: 4) { room in
      // libmnl leaves the padding between attributes as it finds it.
      room.initializeMemory(as: UInt8.self, repeating: 0)
      let header = Self.header(room, type, flags, sequence: UInt32(subjects.count))
      fill(header)
      precondition(Int(header.pointee.nlmsg_len) <= room.count, "a message beyond its room")
      offsets.append(bytes.count)
      bytes += UnsafeRawBufferPointer(room)[..<Int(header.pointee.nlmsg_len)]
    }
    subjects.append(subject)
  }

  /// Notes that the caller knows the next element by this number.
  mutating func own(_ owner: Int32) { owners.append(owner) }

  mutating func nextSetID() -> UInt32 {
    sets += 1
    return sets
  }

  /// Writes the two headers of an nf_tables message.
  static func header(
    _ room: UnsafeMutableRawBufferPointer, _ type: MessageType, _ flags: Int32, sequence: UInt32
  ) -> UnsafeMutablePointer<nlmsghdr> {
    guard let base = room.baseAddress else { preconditionFailure("no room") }
    return nftnl_nlmsg_build_hdr(
      base.assumingMemoryBound(to: CChar.self), type.rawValue, UInt16(NFPROTO_INET),
      UInt16(NLM_F_REQUEST | flags), sequence)
  }

  /// The transaction as it is sent: framed, sequence numbers from `sequence` on (the frame's begin has that one),
  /// an acknowledgement asked of the last message only. Errors come for every message without being asked for, and
  /// an acknowledgement each would overflow the socket.
  func framed(from sequence: UInt32) -> [UInt8] {
    var framed: [UInt8] = []
    framed.reserveCapacity(bytes.count + 64)
    framed += Self.frame { nftnl_batch_begin($0, sequence) }
    let start = framed.count
    framed += bytes
    framed.withUnsafeMutableBytes { framed in
      for (index, offset) in offsets.enumerated() {
        // struct nlmsghdr: the flags stand at 6, the sequence number at 8.
        let at = start + offset
        framed.storeBytes(of: sequence &+ 1 &+ UInt32(index), toByteOffset: at + 8, as: UInt32.self)
        if index == offsets.count - 1 {
          let flags = framed.loadUnaligned(fromByteOffset: at + 6, as: UInt16.self)
          framed.storeBytes(of: flags | UInt16(NLM_F_ACK), toByteOffset: at + 6, as: UInt16.self)
        }
      }
    }
    framed += Self.frame { nftnl_batch_end($0, sequence &+ 1 &+ UInt32(subjects.count)) }
    return framed
  }

  private static func frame(
    _ build: (UnsafeMutablePointer<CChar>) -> UnsafeMutablePointer<nlmsghdr>?
  ) -> [UInt8] {
    withUnsafeTemporaryAllocation(byteCount: 64, alignment: 4) { room in
      guard let base = room.baseAddress, let header = build(base.assumingMemoryBound(to: CChar.self))
      else { return [] }
      return Array(UnsafeRawBufferPointer(room)[..<Int(header.pointee.nlmsg_len)])
    }
  }
}
