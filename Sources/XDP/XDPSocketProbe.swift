internal import CBPF
internal import CLinux
internal import Flow
internal import Glibc
public import Linux

/// AF_XDP, tried on a veth pair in a throw-away network namespace: a program at its far end hands a packet to a
/// socket, which reads it.
///
/// Never on an interface of the host: a zero-copy bind makes most cards stop and set up their queues anew, which is
/// no thing to do to somebody's traffic for a question. What a card's driver says of itself is in `XDPFeatures`.
public enum XDPSocketProbe {
  /// Memory for the packets of one queue, as a forwarder would want: 4096 of 2 KiB.
  private static let frames = 4096
  // XDP_FLAGS_… of <linux/if_link.h>.
  private static let generic: UInt32 = 1 << 1
  private static let native: UInt32 = 1 << 2

  public static func attempts() -> [Attempt] {
    let names = ["socket and its memory", "native program, copy", "generic program, copy", "zero-copy"].map {
      "AF_XDP on veth: \($0)"
    }
    var findings: [Finding] = []
    do throws(SystemError) {
      findings = try inPrivateNamespace { () throws(SystemError) in try inNamespace() }
    } catch {
      findings = [.untried("\(error)", needs: PrivateLink.need(error.code))]
    }
    return names.enumerated().map { place, name in
      Attempt(name, place < findings.count ? findings[place] : .untried("there is no socket to try it with"))
    }
  }

  /// In the calling thread's namespace, which must be private. As many findings as could be tried.
  private static func inNamespace() throws(SystemError) -> [Finding] {
    let link = try PrivateLink()
    var socket: TrialXDPSocket
    do throws(SystemError) {
      socket = try TrialXDPSocket(frames: frames)
    } catch {
      return [.no("\(error)", needs: need(error.code))]
    }
    let zeroCopy = Finding.attempt(need: needOfZeroCopy) { () throws(SystemError) in
      // A socket that was refused may be bound again.
      try socket.bind(to: link.near, queue: 0, flags: XDP_ZEROCOPY)
      return ""
    }
    if zeroCopy.isYes { socket = try TrialXDPSocket(frames: frames) }
    let bound = Finding.attempt(need: need) { () throws(SystemError) in
      try socket.bind(to: link.far, queue: 0, flags: XDP_COPY)
      return "\(frames * TrialXDPSocket.frameSize / 1_048_576) MiB for packets"
    }
    guard bound.isYes else { return [bound] }
    var findings = [bound]
    for mode in [native, generic] {
      do throws(SystemError) {
        findings.append(try passes(mode, link, &socket))
      } catch {
        findings.append(.no("\(error)", needs: need(error.code)))
      }
    }
    return findings + [zeroCopy]
  }

  /// Whether a packet that leaves by `near` comes out of the socket at `far`.
  private static func passes(
    _ mode: UInt32, _ link: borrowing PrivateLink, _ socket: inout TrialXDPSocket
  ) throws(SystemError) -> Finding {
    let map = try MapProbe.map(BPF_MAP_TYPE_XSKMAP, key: 4, value: 4, entries: 1)
    var queue: UInt32 = 0
    var value = socket.descriptor.raw
    let status = bpf_map_update_elem(map.raw, &queue, &value, UInt64(BPF_ANY))
    guard status == 0 else { throw SystemError("BPF_MAP_UPDATE_ELEM", "xskmap", code: -status) }
    let program = try TinyProgram(redirectingTo: map.raw)
    // BPF_LINK_CREATE, 28: the program, the interface, BPF_XDP, flags. libbpf's options for it carry a union.
    var attributes: [UInt32] = [UInt32(program.descriptor.raw), link.far.index, BPF_XDP.rawValue, mode]
    let attached = try Descriptor("attach to XDP of", "veth") {
      clinux_bpf(28, &attributes, UInt32(attributes.count * MemoryLayout<UInt32>.size))
    }
    defer { withExtendedLifetime(attached) {} }
    let port: UInt16 = mode == native ? 4001 : 4002
    try link.transmit(
      FlowKey(
        local: Endpoint(PrivateLink.local6, port), remote: Endpoint(PrivateLink.remote6, 9), transport: .udp))
    // Others: those that IPv6 sends by itself on a new link.
    for _ in 0..<50 {
      guard let packet = try socket.receive(within: 500) else { break }
      // The source port behind Ethernet's 14 bytes and IPv6's 40.
      if packet.count >= 62, UInt16(packet[54]) << 8 | UInt16(packet[55]) == port { return .yes }
    }
    return .no("the socket was bound, but the packet never arrived")
  }

  private static func needOfZeroCopy(_ code: Int32) -> String {
    code == EOPNOTSUPP ? "a card whose driver has it; veth never does" : need(code)
  }

  private static func need(_ code: Int32) -> String {
    switch code {
    case EPERM, EACCES: "CAP_NET_RAW for the socket; CAP_BPF and CAP_NET_ADMIN for the program"
    case EAFNOSUPPORT: "a kernel with CONFIG_XDP_SOCKETS"
    case ENOBUFS: "a higher ulimit -l (LimitMEMLOCK=infinity), or CAP_IPC_LOCK"
    case EOPNOTSUPP: "a driver that can"
    case EINVAL: "Linux 5.9 for links to XDP"
    default: ""
    }
  }
}
