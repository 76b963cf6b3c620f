import BenchReport
import CBPF
import CTable
import Flow
import Glibc
import Lab
import Linux

/// Microseconds after which what was to happen does not.
private let patience = 30_000_000 as Int64

/// How fast flows come from a pipe into the kernel, and what the daemon costs.
func benchDaemon(_ recorder: Recorder) throws {
  recorder.heading("the daemon, tc path, on one interface")
  let pair = try VethPair()
  let arguments = "--interface near0 --pipe PIPE --no-remote-fireflies"
  let count = 100_000
  let file = try shell("mktemp").filter { $0 != "\n" }
  defer { unlink(file) }
  try shell(
    """
    awk 'BEGIN { for (n = 0; n < \(count); n++)
      printf "start tcp 2001:db8::1 %d 2001:db8::%x 1094 2 17\\n", 1 + n % 50000, 16 + int(n / 50000) }' > \(file)
    """)

  var (rate, idle, perFlow, start) = (Samples(), Samples(), Samples(), Samples())
  for _ in 0..<7 {
    let marker = try MarkerProcess(arguments, in: pair.near)
    usleep(300_000)
    let empty = try marker.residentKilobytes
    idle.add(Double(empty) / 1024)
    let map = try FlowsMap(of: marker)
    let begin = MonotonicTime.now()
    try shell("cat \(file) > \(marker.pipe)")
    let last = key(port: 50_000, remote: UInt64(16 + (count - 1) / 50_000))
    while !map.contains(last) {
      usleep(200)
      guard MonotonicTime.now().microseconds(since: begin) < patience else {
        throw SystemError("the last line does not come to the map", marker.log, code: ETIMEDOUT)
      }
    }
    let microseconds = MonotonicTime.now().microseconds(since: begin)
    guard map.count == count else {
      throw SystemError("\(map.count) of \(count) flows are in the kernel's map", code: EIO)
    }
    rate.add(Double(count) / Double(microseconds) * 1e6)
    // Until the fireflies of this burst are out: what they wait in is given back.
    usleep(2_000_000)
    perFlow.add(Double(try marker.residentKilobytes - empty) * 1024 / Double(count))
    _ = marker.stop()
  }
  for _ in 0..<15 { start.add(try timeToAttach(pair, arguments)) }
  try recorder.figure(
    "pipe: 100,000 lines of one cat, all in the kernel's map", rate, "lines/s", .more, goal: 200_000)
  try recorder.figure("start: from exec to attached", start, "ms", .less, goal: 40)
  try recorder.figure("resident memory, idle", idle, "MB", .less, goal: 16)
  try recorder.figure("resident memory for each of 100,000 flows", perFlow, "bytes", .less, goal: 250)
}

private func key(port: UInt16, remote: UInt64) -> FlowKey {
  FlowKey(
    local: Endpoint(Address(high: 0x2001_0db8 << 32, low: 1), port),
    remote: Endpoint(Address(high: 0x2001_0db8 << 32, low: remote), 1094), transport: .tcp)
}

/// Milliseconds from exec to a program on the interface's egress.
private func timeToAttach(_ pair: VethPair, _ arguments: String) throws -> Double {
  let folder = try shell("mktemp -d").filter { $0 != "\n" }
  defer { _ = try? shell("rm -rf \(folder)") }
  let command =
    "exec \(MarkerProcess.binary) \(arguments.replacing("PIPE", with: "\(folder)/pipe")) 2>/dev/null"
  let index = pair.near.run { if_nametoindex("near0") }
  return try pair.near.run { () throws(SystemError) in
    let begin = MonotonicTime.now()
    let pid = try startShell(command)
    var programs: UInt32 = 0
    while programs == 0 {
      guard MonotonicTime.now().microseconds(since: begin) < patience else {
        kill(pid, SIGKILL)
        waitpid(pid, nil, 0)
        throw SystemError("no program is attached", command, code: ETIMEDOUT)
      }
      programs = 0
      var count: UInt32 = 0
      // BPF_TCX_EGRESS
      _ = bpf_prog_query(Int32(index), bpf_attach_type(rawValue: 47), 0, nil, nil, &count)
      programs = count
      usleep(50)
    }
    let milliseconds = Double(MonotonicTime.now().microseconds(since: begin)) / 1000
    kill(pid, SIGTERM)
    waitpid(pid, nil, 0)
    return milliseconds
  }
}

/// A daemon's map of flows, the newest where it has several.
private struct FlowsMap: ~Copyable {
  private let descriptor: Descriptor

  init(of marker: MarkerProcess) throws(SystemError) {
    var found: Descriptor?
    for id in try held(.map, by: marker.number) {
      let fd = bpf_map_get_fd_by_id(id)
      guard fd >= 0 else { continue }
      let map = Descriptor(owning: fd)
      var info = bpf_map_info()
      var size = UInt32(MemoryLayout<bpf_map_info>.size)
      guard bpf_obj_get_info_by_fd(map.raw, &info, &size) == 0 else { continue }
      let text = withUnsafeBytes(of: info.name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
      if text == "flows" { found = consume map }
    }
    guard let found else { throw SystemError("no BPF map is called", "flows", code: ENOENT) }
    descriptor = found
  }

  func contains(_ key: FlowKey) -> Bool {
    var raw = marker_key()
    withUnsafeMutableBytes(of: &raw) {
      $0.storeBytes(of: key.local.address.high.bigEndian, as: UInt64.self)
      $0.storeBytes(of: key.local.address.low.bigEndian, toByteOffset: 8, as: UInt64.self)
      $0.storeBytes(of: key.remote.address.high.bigEndian, toByteOffset: 16, as: UInt64.self)
      $0.storeBytes(of: key.remote.address.low.bigEndian, toByteOffset: 24, as: UInt64.self)
    }
    raw.local_port = key.local.port.bigEndian
    raw.remote_port = key.remote.port.bigEndian
    raw.transport = key.transport.rawValue
    var value = marker_value()
    return bpf_map_lookup_elem(descriptor.raw, &raw, &value) == 0
  }

  var count: Int {
    var count = 0
    var key = marker_key()
    var next = marker_key()
    var status = bpf_map_get_next_key(descriptor.raw, nil, &next)
    while status == 0 {
      count += 1
      key = next
      status = bpf_map_get_next_key(descriptor.raw, &key, &next)
    }
    return count
  }
}
