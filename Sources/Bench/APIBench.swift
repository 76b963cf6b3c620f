import BenchReport
import Flow
import Glibc
import Lab
import Linux

/// How many flows the API takes, one a request and many.
func benchAPI(_ recorder: Recorder) throws {
  recorder.heading("flows started by the HTTP API, over TCP on loopback")
  let pair = try VethPair()
  var (single, bulk) = (Samples(), Samples())
  for _ in 0..<5 {
    let marker = try MarkerProcess(
      "--interface near0 --pipe PIPE --no-remote-fireflies --api 127.0.0.1:7777 --api API", in: pair.near)
    single.add(try singleStarts(pair, connections: 64, rounds: 400))
    bulk.add(try bulkStarts(pair, size: 5000, requests: 40))
    _ = marker.stop()
  }
  try recorder.figure(
    "one a request, answered when marked, 64 connections", single, "/s", .more, goal: 15_000)
  try recorder.figure("in arrays of 5,000, 1 connection", bulk, "/s", .more, goal: 150_000)
}

/// A round sends one request on each connection, then reads all answers.
private func singleStarts(_ pair: VethPair, connections: Int, rounds: Int) throws -> Double {
  var clients: [Client] = []
  for _ in 0..<connections { clients.append(try Client(pair)) }
  let begin = MonotonicTime.now()
  for round in 0..<rounds {
    for (index, client) in clients.enumerated() {
      try client.send(flow(local: UInt16(1 + round), remote: UInt16(1 + index)))
    }
    for client in clients { try client.expect("HTTP/1.1 201") }
  }
  return Double(connections * rounds) / Double(MonotonicTime.now().microseconds(since: begin)) * 1e6
}

private func bulkStarts(_ pair: VethPair, size: Int, requests: Int) throws -> Double {
  let client = try Client(pair)
  var bodies: [String] = []
  for request in 0..<requests {
    var flows: [String] = []
    for number in 0..<size { flows.append(flow(local: UInt16(1 + number), remote: UInt16(2000 + request))) }
    bodies.append("[\(flows.joined(separator: ","))]")
  }
  let begin = MonotonicTime.now()
  for body in bodies {
    try client.send(body)
    try client.expect("HTTP/1.1 200")
  }
  return Double(size * requests) / Double(MonotonicTime.now().microseconds(since: begin)) * 1e6
}

private func flow(local: UInt16, remote: UInt16) -> String {
  "{\"protocol\":\"tcp\",\"source\":{\"address\":\"2001:db8::1\",\"port\":\(local)},"
    + "\"destination\":{\"address\":\"2001:db8::2\",\"port\":\(remote)},\"experiment\":2,\"activity\":17}"
}

/// A connection that is kept open.
private final class Client {
  private let socket: LabSocket
  private var buffer: [UInt8] = []

  init(_ pair: VethPair) throws {
    socket = try LabSocket(.tcp, in: pair.near, bound: Endpoint(Address(ipv4: 0x7f00_0001), 0))
    try socket.connect(to: Endpoint(Address(ipv4: 0x7f00_0001), 7777))
  }

  func send(_ body: String) throws {
    try socket.send(
      Array(
        "POST /v1/flows HTTP/1.1\r\nHost: localhost\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)".utf8
      ))
  }

  /// Reads one answer.
  func expect(_ status: String) throws {
    buffer.removeAll(keepingCapacity: true)
    while true {
      guard let part = try socket.receive(within: 10_000), !part.isEmpty else {
        throw SystemError("the API does not answer", code: ETIMEDOUT)
      }
      buffer += part
      let text = String(decoding: buffer, as: UTF8.self)
      guard let end = text.firstRange(of: "\r\n\r\n"), let length = text.firstRange(of: "Content-Length: ")
      else {
        continue
      }
      let digits = text[length.upperBound...].prefix { $0.isNumber }
      guard text[end.upperBound...].utf8.count >= Int(digits) ?? 0 else { continue }
      guard text.hasPrefix(status) else { throw SystemError("the API answered \(text)", code: EPROTO) }
      return
    }
  }
}
