import Flow
import Glibc
import Lab
import Linux

private let time = "2026-01-15T09:12:25"

/// A host of the far side that sends fireflies and, as a collector, hears some.
struct Peer {
  let socket: LabSocket

  init(_ pair: VethPair, port: UInt16 = 0, address: String = VethPair.far6) throws {
    socket = try LabSocket(.udp, in: pair.far, bound: Endpoint(try Conversation.address(address), port))
    try socket.set(SOL_SOCKET, Int32(SO_RCVBUFFORCE), 64 << 20)
  }

  func send(_ firefly: String, to address: String = VethPair.near6, port: UInt16 = 10514) throws {
    try socket.send(Array(firefly.utf8), to: Endpoint(try Conversation.address(address), port))
  }

  /// All that comes until it is quiet for a while.
  ///
  /// - Parameter least: so many are waited for longer: the machine may be busy.
  func heard(atLeast least: Int = 0, quiet: Int32 = 300) throws -> [String] {
    var heard: [String] = []
    while let datagram = try socket.receive(within: heard.count < least ? 10_000 : quiet) {
      heard.append(String(decoding: datagram, as: UTF8.self))
    }
    return heard
  }
}

/// The same flow in the words of several agents.
enum Agent: String, CaseIterable {
  case xrootd, dCache, flowd, flowdGo, relayed

  func firefly(_ state: String, _ source: Endpoint, _ destination: Endpoint, _ transport: String) -> String {
    let ends =
      #""src-ip":"\#(source.address)","dst-ip":"\#(destination.address)","protocol":"\#(transport)","#
      + #""src-port":\#(source.port),"dst-port":\#(destination.port)"#
    let end = state == "end"
    switch self {
    case .xrootd:
      return
        #"<134>1 - srv.example.org xrootd - firefly-json - {"version":1,"flow-lifecycle":{"state":"\#(state)","#
        + #""current-time":"\#(time).1+00:00","start-time":"\#(time).000123+00:00"\#(end ? #","end-time":"\#(time).1+00:00""# : "")},"#
        + #""usage":{"received":0,"sent":0},"netlink":{"rtt":12.345},"context":{"experiment-id":3,"activity-id":14,"#
        + #""application":"xrdcp"},"flow-id":{"afi":"ipv6",\#(ends)}}"#
    case .dCache:
      return
        #"<134>1 \#(time)Z \#(source.address) dCache - firefly-json - {"usage":{},"flow-id":{\#(ends)},"#
        + #""context":{"application":"dCache 11.2.1","activity-id":14,"experiment-id":3},"storage-stats":{"read-bw":6.4e6},"#
        + #""flow-lifecycle":{"start-time":"\#(time).412Z","state":"\#(state)"},"version":1}"#
    case .flowd:
      return
        #"<134>1 \#(time)+00:00 etf.cern.ch flowd - firefly-json - {"version": 1, "flow-lifecycle": {"state": "\#(state)", "#
        + #""start-time": "\#(time)+0000"}, "flow-id": {\#(ends)}, "context": {"experiment-id": 3.0, "activity-id": 14}}"#
    case .flowdGo:
      return
        "<134>1  host flowd-go - firefly-json - {\n\"flow-lifecycle\": {\"state\": \"\(state)\", \"start-time\": \"\"},\n"
        + #""flow-id": {\#(ends)}, "context": {"experiment-id": 3, "activity-id": 14, "application": "a"}}"#
    case .relayed:
      return
        #"Feb  1 18:54:27 gridftp1 1 \#(time) gridftp1 flowd - firefly-json - {"flow-id": {\#(ends)}, "#
        + #""flow-lifecycle": {"state": "\#(state)"}, "context": {"experiment-id": 3, "activity-id": 14}}"#
    }
  }

  /// The firefly's JSON.
  static func json(_ firefly: String) -> Substring { firefly.drop { $0 != "{" } }
}
