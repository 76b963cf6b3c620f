import Flow
import Glibc
import Lab
import Linux
import Testing

/// Fireflies of a host behind NAT, judged from the world on the other side.
@Suite(.enabled(if: geteuid() == 0, "needs root")) struct PublicAddressLabTests {
  private func configuration(_ rest: String) -> String {
    """
    interfaces: [host0]
    pipes: [PIPE]
    api: {listen: []}
    fireflies: {remoteEnds: false, collectors: ["203.0.113.2:20000"]}
    \(rest)
    """
  }

  private func collector(_ lab: NATLab) throws -> LabSocket {
    try LabSocket(.udp, in: lab.world, bound: Endpoint(try Conversation.address("203.0.113.2"), 20000))
  }

  /// The source of the next firefly of this state; those of others are passed over.
  private func source(_ collector: LabSocket, _ state: String, port: Int) throws -> String? {
    while let datagram = try collector.receive(within: 5000) {
      let text = String(decoding: datagram, as: UTF8.self)
      guard text.contains("\"state\":\"\(state)\""), text.contains("\"src-port\":\(port)") else { continue }
      return text.firstMatch(of: /"src-ip":"([^"]+)"/).map { String($0.1) }
    }
    return nil
  }

  private func waitForLog(_ marker: MarkerProcess, _ text: String) -> Bool {
    for _ in 0..<12 where marker.waitForLog(text) { return true }
    return false
  }

  private func line(_ state: String, _ local: String, _ port: Int) -> String {
    let remote = local.contains(":") ? "2001:db8:1::2" : "203.0.113.2"
    return "\(state) udp \(local) \(port) \(remote) 1094 3 14\n"
  }

  /// The server comes later than the daemon, which does not wait for it. A flow keeps the address that it was announced
  /// by, and its packets are marked by the one that it has.
  @Test func aServerThatComesLater() throws {
    let lab = try NATLab()
    let collector = try collector(lab)
    let marker = try MarkerProcess(
      "--config CONFIG",
      configuration: configuration("stun: {servers: [\"203.0.113.2:3478\", \"[2001:db8:1::2]\"]}"),
      in: lab.host)
    let locals = ["10.0.0.2", "fd00::2"]
    for local in locals {
      try marker.tell(line("start", local, 5001))
      #expect(try source(collector, "start", port: 5001) == local, "\(marker.log)")
      #expect(waitForLog(marker, "by which address \(local) is known outside"), "\(marker.log)")
    }
    let server = try STUNServerProcess.coturn(lab)
    for local in locals {
      #expect(waitForLog(marker, "\(local) is known as \(NATLab.outside(local)) outside"), "\(marker.log)")
      try marker.tell(line("start", local, 5002))
      #expect(try source(collector, "start", port: 5002) == NATLab.outside(local))
      try marker.tell(line("end", local, 5001))
      #expect(try source(collector, "end", port: 5001) == local, "as at its start")
    }

    let capture = try Capture("in0", in: lab.router)
    let socket = try LabSocket(.udp, in: lab.host, bound: Endpoint(try Conversation.address("fd00::2"), 5002))
    try socket.send([1], to: Endpoint(try Conversation.address("2001:db8:1::2"), 1094))
    let frames = try capture.frames().filter { $0.sourcePort == 5002 && $0.isIPv6 }
    #expect(frames.map { $0.flowLabel & ~FlowLabel.entropyMask } == [0x30038])

    for local in locals {
      try marker.tell(line("end", local, 5002))
      #expect(try source(collector, "end", port: 5002) == NATLab.outside(local))
    }
    // Without servers what they said is for the flows that were named by it.
    for local in locals {
      try marker.tell(line("start", local, 5003))
      #expect(try source(collector, "start", port: 5003) == NATLab.outside(local))
    }
    try marker.configure(configuration(""))
    #expect(marker.waitForLog("configuration read again"), "\(marker.log)")
    for local in locals {
      try marker.tell(line("start", local, 5004) + line("end", local, 5003))
      #expect(try source(collector, "start", port: 5004) == local)
      #expect(try source(collector, "end", port: 5003) == NATLab.outside(local))
    }
    #expect(marker.stop() == 0)
    withExtendedLifetime(server) {}
  }

  /// Servers in turn: one that refuses, and one that has only what RFC 3489 had.
  @Test func anOldServerBehindOneThatRefuses() throws {
    let lab = try NATLab()
    let collector = try collector(lab)
    let server = try STUNServerProcess.stund(lab)
    let marker = try MarkerProcess(
      "--config CONFIG",
      configuration: configuration("stun: {servers: [\"203.0.113.2:9\", \"203.0.113.2:3480\"]}"), in: lab.host
    )
    #expect(
      waitForLog(marker, "10.0.0.2 is known as 203.0.113.1 outside, says 203.0.113.2:3480"), "\(marker.log)")
    try marker.tell(line("start", "10.0.0.2", 5001))
    #expect(try source(collector, "start", port: 5001) == "203.0.113.1")
    #expect(marker.stop() == 0)
    withExtendedLifetime(server) {}
  }

  /// By hand, in flowd-go's words too; another address at a reload is for flows that start then.
  @Test func byHand() throws {
    let lab = try NATLab()
    let collector = try collector(lab)
    let flowdGo = try MarkerProcess(
      "--config CONFIG",
      configuration: """
        plugins: {namedPipe: {pipePath: PIPE}}
        backends:
          firefly:
            sendToCollector: true
            collectorAddress: 203.0.113.2
            collectorPort: 20000
            stun: {manualMapping: {203.0.113.1: 10.0.0.2}}
        """, in: lab.host)
    try flowdGo.tell(line("start", "10.0.0.2", 5000))
    #expect(try source(collector, "start", port: 5000) == "203.0.113.1", "\(flowdGo.log)")
    #expect(flowdGo.stop() == 0)

    let marker = try MarkerProcess(
      "--config CONFIG",
      configuration: configuration(
        "publicAddresses: {10.0.0.2: 203.0.113.1, \"fd00::2\": \"2001:db8:1::1\"}"),
      in: lab.host)
    for (local, name) in [("10.0.0.2", "203.0.113.1"), ("fd00::2", "2001:db8:1::1")] {
      try marker.tell(line("start", local, 5001))
      #expect(try source(collector, "start", port: 5001) == name)
    }
    try marker.configure(configuration("publicAddresses: {10.0.0.2: 203.0.113.77}"))
    #expect(marker.waitForLog("configuration read again"), "\(marker.log)")
    for (local, old, new) in [
      ("10.0.0.2", "203.0.113.1", "203.0.113.77"), ("fd00::2", "2001:db8:1::1", "fd00::2"),
    ] {
      try marker.tell(line("start", local, 5002) + line("end", local, 5001) + line("end", local, 5002))
      #expect(try source(collector, "start", port: 5002) == new)
      #expect(try source(collector, "end", port: 5001) == old)
      #expect(try source(collector, "end", port: 5002) == new)
    }
    #expect(marker.stop() == 0)
  }
}
