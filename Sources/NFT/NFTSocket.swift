internal import CMNL
internal import CNFT
internal import Glibc
public import Linux

/// A netlink socket to nf_tables, and the sequence of its requests.
public struct NFTSocket: ~Copyable {
  private let socket: OpaquePointer
  private var sequence: UInt32 = 1
  private let buffer: UnsafeMutableRawBufferPointer
  private var sendRoom: Int = 0

  /// `MNL_SOCKET_AUTOPID`: the kernel picks the socket's number.
  private static let anyPort: pid_t = 0

  /// What a receive may hold: reports of 10,000 deleted elements, also from kernels that send one a datagram.
  private static let receiveRoom: Int32 = 64 << 20

  /// Opens a socket in the calling thread's network namespace.
  ///
  /// - Throws: `EPROTONOSUPPORT` where the kernel has no netfilter netlink.
  public init() throws(SystemError) {
    guard let socket = mnl_socket_open2(NETLINK_NETFILTER, Int32(SOCK_CLOEXEC.rawValue)) else {
      throw SystemError("socket", "NETLINK_NETFILTER")
    }
    guard mnl_socket_bind(socket, 0, Self.anyPort) == 0 else {
      let error = SystemError("bind", "NETLINK_NETFILTER")
      mnl_socket_close(socket)
      throw error
    }
    self.socket = socket
    // A message of the kernel is at most 32 KB (NLMSG_GOODSIZE, and dumps' 32 KB).
    buffer = .allocate(byteCount: 1 << 16, alignment: 8)
    // An error need not carry the request back. Kernels before 4.3 don't know this, and then it does.
    var on: Int32 = 1
    mnl_socket_setsockopt(socket, NETLINK_CAP_ACK, &on, 4)
    setReceiveRoom(Self.receiveRoom)
  }

  /// Sizes what may wait to be received, in bytes.
  func setReceiveRoom(_ size: Int32) { Self.setRoom(socket, SO_RCVBUFFORCE, SO_RCVBUF, size) }

  deinit {
    mnl_socket_close(socket)
    buffer.deallocate()
  }

  /// The number by which the kernel knows this socket in what it reports.
  public var port: UInt32 { mnl_socket_get_portid(socket) }

  /// Sends a batch as one transaction and reads the answer.
  ///
  /// - Parameter deleted: is called with every element that was deleted with `echoes`, in their order.
  public mutating func commit(_ batch: borrowing Batch) throws(BatchError) {
    try commit(batch) { _ in }
  }

  mutating func commit(
    _ batch: borrowing Batch, deleted: (ReportedElement) -> Void
  ) throws(BatchError) {
    guard !batch.isEmpty else { return }
    let base = sequence
    sequence &+= UInt32(batch.count) &+ 2
    let bytes = batch.framed(from: base)
    do { try send(bytes) } catch { throw .system(error) }

    // nfnetlink works within the send: all answers are there when it returns, and an empty socket is the end.
    var acknowledged = false
    var refusals: [BatchError.Refusal] = []
    let count = UInt32(batch.count)
    do {
      while try receive(
        MSG_DONTWAIT,
        { message in
          // Reports of elements carry no number.
          if message.nfTables == .deleteElements {
            ReportedElement.forEach(in: message, deleted)
            return
          }
          guard message.sequence &- base <= count else { return }
          let index = Int(message.sequence &- base) - 1
          if let code = message.errorCode {
            if code != 0 {
              let subject = index < 0 ? .transaction : batch.subjects[index]
              refusals.append(BatchError.Refusal(message: index, subject: subject, code: code))
            } else if index == batch.count - 1 {
              acknowledged = true
            }
          }
        })
      {}
    } catch {
      // Errors that did come through say that nothing took effect.
      guard refusals.isEmpty else { throw .refused(refusals) }
      throw .unanswered(error)
    }
    guard refusals.isEmpty else { throw .refused(refusals) }
    guard acknowledged else { throw .unanswered(SystemError("recv", "nf_tables", code: ENOMSG)) }
  }

  /// Asks for something and calls the body with every message of the answer.
  ///
  /// - Throws: the kernel's errno; `EINTR` where a dump was interrupted by a change, so that it may have gaps.
  mutating func ask(
    _ type: MessageType, _ flags: Int32, _ fill: (UnsafeMutablePointer<nlmsghdr>) -> Void,
    _ body: (Message) -> Void
  ) throws(SystemError) {
    let number = sequence
    sequence &+= 1
    let size = Batch.room(elements: Batch.elementsPerMessage)
    let request = withUnsafeTemporaryAllocation(byteCount: size, alignment: 4) { room in
      room.initializeMemory(as: UInt8.self, repeating: 0)
      let header = Batch.header(room, type, flags | NLM_F_ACK, sequence: number)
      fill(header)
      return Array(UnsafeRawBufferPointer(room)[..<Int(header.pointee.nlmsg_len)])
    }
    try send(request)
    var done = false
    var interrupted = false
    var failure: Int32 = 0
    while !done {
      _ = try receive(0) { message in
        guard message.sequence == number else { return }
        if message.flags & UInt16(NLM_F_DUMP_INTR) != 0 { interrupted = true }
        if let code = message.errorCode {
          failure = code
          done = true
        } else if message.type == UInt16(NLMSG_DONE) {
          // NLMSG_DONE carries the dump's own error, negative.
          if message.payload.count >= 4 {
            failure = -min(0, message.payload.loadUnaligned(as: Int32.self))
          }
          done = true
        } else {
          body(message)
        }
      }
    }
    guard failure == 0 else { throw SystemError("nf_tables", "\(type)", code: failure) }
    if interrupted { throw SystemError("nf_tables", "\(type)", code: EINTR) }
  }

  private mutating func send(_ bytes: [UInt8]) throws(SystemError) {
    dropLeftovers()
    // The kernel refuses a message beyond the buffer less 32 bytes with EMSGSIZE.
    if bytes.count + 64 > sendRoom {
      sendRoom = max(1 << 20, bytes.count * 2)
      Self.setRoom(socket, SO_SNDBUFFORCE, SO_SNDBUF, Int32(clamping: sendRoom))
    }
    try system("sendto", "nf_tables") { mnl_socket_sendto(socket, bytes, bytes.count) }
  }

  /// Empties the socket of what an exchange that broke off left there.
  private func dropLeftovers() {
    for _ in 0..<100_000 {
      if recv(mnl_socket_get_fd(socket), buffer.baseAddress, buffer.count, Int32(MSG_DONTWAIT)) < 0,
        errno == EAGAIN
      {
        return
      }
    }
  }

  /// Reads one datagram; false where none is there.
  private func receive(_ flags: Int, _ body: (Message) -> Void) throws(SystemError) -> Bool {
    let descriptor = mnl_socket_get_fd(socket)
    while true {
      let count = recv(descriptor, buffer.baseAddress, buffer.count, Int32(flags | MSG_TRUNC))
      if count < 0 {
        if errno == EINTR { continue }
        if errno == EAGAIN { return false }
        throw SystemError("recv", "nf_tables")
      }
      // With MSG_TRUNC the count is the datagram's length even where the buffer was too short.
      guard count <= buffer.count else { throw SystemError("recv", "nf_tables", code: EMSGSIZE) }
      Message.forEach(in: UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(buffer)[..<count]), body)
      return true
    }
  }

  /// Sizes a buffer beyond the host's limit, or with fewer rights up to it.
  private static func setRoom(_ socket: OpaquePointer, _ forced: Int32, _ plain: Int32, _ size: Int32) {
    var size = size
    let descriptor = mnl_socket_get_fd(socket)
    if setsockopt(descriptor, SOL_SOCKET, forced, &size, 4) != 0 {
      setsockopt(descriptor, SOL_SOCKET, plain, &size, 4)
    }
  }
}

extension NFTSocket {
  /// nft list set|map inet TABLE SET: every element. A dump that a change interrupted is read again, so that an element
  /// may come twice; the later one is the truth.
  mutating func elements(
    of set: String, in table: TableName, _ body: (ReportedElement) -> Void
  ) throws(SystemError) {
    for attempt in 1... {
      do {
        return try ask(
          .getElements, NLM_F_DUMP, { Batch.put([], of: set, in: table, $0) },
          { ReportedElement.forEach(in: $0, body) })
      } catch {
        guard error.code == EINTR, attempt < 20 else { throw error }
      }
    }
  }

  /// nft get element inet TABLE SET { … }: those that are there, of at most `Batch.elementsPerMessage`.
  ///
  /// The kernel stops at the first that is missing; the answer then ends before it.
  mutating func elements(
    _ wanted: ArraySlice<Element>, of set: String, in table: TableName, _ body: (ReportedElement) -> Void
  ) throws(SystemError) {
    try ask(
      .getElements, 0, { Batch.put(wanted, of: set, in: table, $0) },
      { ReportedElement.forEach(in: $0, body) })
  }

  /// Whether the table is there.
  mutating func has(_ table: TableName) throws(SystemError) -> Bool {
    var found = false
    do {
      try ask(
        .getTable, 0, { mnl_attr_put_strz($0, UInt16(NFTA_TABLE_NAME.rawValue), table.name) },
        { _ in found = true })
    } catch {
      guard error.code == ENOENT else { throw error }
    }
    return found
  }
}
