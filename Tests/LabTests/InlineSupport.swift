import CLinux
import Flow
import Glibc
import Lab
import Linux
import Synchronization

/// Numbered datagrams that leave at a steady pace until it is stopped, and what of them arrives.
final class NumberedStream: Sendable {
  let key: FlowKey
  private let near: LabSocket
  private let far: LabSocket
  private let isStopping = Atomic<Bool>(false)
  private let sent = Atomic<Int>(0)
  private let sender: EventCounter
  private let receiver: EventCounter
  /// When each number arrived, nanoseconds; 0 for not.
  private let arrivals = Mutex<[UInt64]>([])

  init(_ flow: Conversation) throws {
    (near, far, key) = (flow.near, flow.far, flow.key)
    sender = try EventCounter()
    receiver = try EventCounter()
    try far.set(SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
    startThread { [self] in
      while !isStopping.load(ordering: .relaxed) {
        let number = UInt32(sent.load(ordering: .relaxed))
        try? near.send(withUnsafeBytes(of: number) { Array($0) })
        sent.wrappingAdd(1, ordering: .relaxed)
        usleep(500)
      }
      sender.signal()
    }
    startThread { [self] in
      // Nothing for so long after the last was sent: it is lost.
      while let bytes = try? far.receive(within: isStopping.load(ordering: .relaxed) ? 500 : 5000) {
        guard bytes.count == 4 else { continue }
        let number = Int(bytes.withUnsafeBytes { $0.loadUnaligned(as: UInt32.self) })
        arrivals.withLock { arrivals in
          while arrivals.count <= number { arrivals.append(0) }
          arrivals[number] = MonotonicTime.now().nanoseconds
        }
      }
      receiver.signal()
    }
  }

  /// What was lost, and the longest time between two that arrived, milliseconds.
  func stop() -> (sent: Int, lost: Int, longestGap: Double) {
    isStopping.store(true, ordering: .relaxed)
    sender.wait()
    receiver.wait()
    let sent = sent.load(ordering: .relaxed)
    return arrivals.withLock { arrivals in
      let times = arrivals.filter { $0 > 0 }.sorted()
      let gap = zip(times, times.dropFirst()).map { $1 - $0 }.max() ?? 0
      return (sent, sent - times.count, Double(gap) / 1e6)
    }
  }
}

/// Frames with the VLAN tag that the kernel has taken out of them (packet(7), PACKET_AUXDATA).
struct TagCapture: ~Copyable {
  private let socket: Descriptor

  init(_ device: String, in namespace: NetworkNamespace) throws(SystemError) {
    socket = try namespace.run { () throws(SystemError) in
      let made = try packetSocket(device, UInt16(ETH_P_ALL))
      var on: Int32 = 1
      try system("setsockopt", "PACKET_AUXDATA") {
        setsockopt(made.raw, SOL_PACKET, PACKET_AUXDATA, &on, socklen_t(MemoryLayout<Int32>.size))
      }
      return made
    }
  }

  /// The tag and the frame of the next packet that a test says is its own; nil where none comes.
  borrowing func next(_ isWanted: (Frame) -> Bool) throws(SystemError) -> (tag: UInt16?, frame: Frame)? {
    var buffer = [UInt8](repeating: 0, count: 4096)
    var control = [UInt64](repeating: 0, count: 16)
    while true {
      var ready = pollfd(fd: socket.raw, events: Int16(POLLIN), revents: 0)
      if try system("poll", "", { poll(&ready, 1, 1000) }) == 0 { return nil }
      var message = msghdr()
      let count = try system("recvmsg", device) {
        buffer.withUnsafeMutableBytes { buffer in
          control.withUnsafeMutableBytes { control in
            var vector = iovec(iov_base: buffer.baseAddress, iov_len: buffer.count)
            return withUnsafeMutablePointer(to: &vector) { vector in
              message.msg_iov = vector
              message.msg_iovlen = 1
              message.msg_control = control.baseAddress
              message.msg_controllen = control.count
              return recvmsg(socket.raw, &message, 0)
            }
          }
        }
      }
      guard let frame = Frame(Array(buffer[..<count])), isWanted(frame) else { continue }
      // struct cmsghdr takes 16 bytes; struct tpacket_auxdata has the status first, the tag at 16.
      let (status, tag) = control.withUnsafeBytes {
        (
          $0.loadUnaligned(fromByteOffset: 16, as: UInt32.self),
          $0.loadUnaligned(fromByteOffset: 32, as: UInt16.self)
        )
      }
      return (status & UInt32(TP_STATUS_VLAN_VALID) != 0 ? tag : nil, frame)
    }
  }

  private var device: String { "AF_PACKET" }
}

/// Sends a frame as it is.
func transmit(_ frame: [UInt8], by device: String, in namespace: NetworkNamespace) throws(SystemError) {
  try namespace.run { () throws(SystemError) in
    let socket = try packetSocket(device, 0)
    try system("send", device) { send(socket.raw, frame, frame.count, 0) }
  }
}

private func packetSocket(_ device: String, _ number: UInt16) throws(SystemError) -> Descriptor {
  let made = try Descriptor("socket", "AF_PACKET") {
    socket(AF_PACKET, Int32(SOCK_RAW.rawValue) | Int32(SOCK_CLOEXEC.rawValue), Int32(number.bigEndian))
  }
  var address = sockaddr_ll()
  address.sll_family = UInt16(AF_PACKET)
  address.sll_protocol = number.bigEndian
  address.sll_ifindex = Int32(if_nametoindex(device))
  try system("bind", device) {
    withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(made.raw, $0, socklen_t(MemoryLayout<sockaddr_ll>.size))
      }
    }
  }
  return made
}

extension InlineLab {
  func startMarker(_ options: String) throws -> MarkerProcess {
    try MarkerProcess(
      "--inside in0 --outside out0 --pipe PIPE --no-remote-fireflies \(options)", in: box)
  }

  /// What the far end sees of a datagram; sent again until it is as wanted, because a pipe has no answer.
  func sees(_ flow: Conversation, _ wanted: (Frame) -> Bool) throws -> Bool {
    for _ in 0..<60 {
      let capture = try Capture("rem0", in: far)
      try flow.near.send([1, 2, 3])
      let frames = try capture.frames(quiet: 50).of(flow.key)
      if frames.count == 1, wanted(frames[0]) { return true }
    }
    return false
  }
}

extension InlineLab {
  /// The same while devices come and go: what cannot be sent or does not arrive is sent again.
  func reaches(_ flow: Conversation, _ wanted: (Frame) -> Bool) throws -> Bool {
    for _ in 0..<100 {
      let capture = try Capture("rem0", in: far)
      do throws(SystemError) { try flow.near.send([1, 2, 3]) } catch { usleep(50_000) }
      let frames = try capture.frames(quiet: 50).of(flow.key)
      if frames.count == 1, wanted(frames[0]) { return true }
    }
    return false
  }
}

extension MarkerProcess {
  /// Tells of a flow by the pipe; 2 17 has the label 0x10044 and DSCP 11.
  func tell(_ state: String, _ flow: Conversation, _ tag: String = "2 17") throws {
    let (local, remote) = (flow.key.local, flow.key.remote)
    try tell(
      "\(state) \(flow.key.transport.name) \(local.address) \(local.port) \(remote.address) \(remote.port) \(tag)\n"
    )
  }

  /// A number that it says at its end, of what the packet thread did.
  func count(_ name: String) -> Int? {
    log.split(separator: "\n").last { $0.contains("\(name)=") }.flatMap { line in
      line.split(separator: " ").first { $0.hasPrefix("\(name)=") }.flatMap {
        Int($0.drop { $0 != "=" }.dropFirst())
      }
    }
  }
}

extension Frame {
  /// Whether it has the label of 2 17.
  var isLabelled: Bool { flowLabel & ~FlowLabel.entropyMask == 0x10044 }
}
