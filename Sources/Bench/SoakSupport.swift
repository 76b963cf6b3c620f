import CBPF
import Flow
import Glibc
import Lab
import Linux

/// The BPF objects that a process holds, by their numbers: other processes have objects too.
struct SoakObjects {
  private var programs: [UInt32] = []
  private var maps: [UInt32] = []
  private var links: [UInt32] = []

  /// - Parameter text: what only this process has in its arguments.
  init(ofProcessWith text: String) throws(SystemError) {
    // The brackets keep the pattern from matching the shell that has it in its own arguments.
    let name = text.split(separator: "/").last.map(String.init) ?? text
    let pattern = "[\(name.prefix(1))]\(name.dropFirst())"
    let lines = try shell("cat /proc/$(pgrep -o -f '\(pattern)')/fdinfo/*")
    for line in lines.split(separator: "\n") {
      let parts = line.split(whereSeparator: \.isWhitespace)
      guard parts.count == 2, let id = UInt32(parts[1]) else { continue }
      switch parts[0] {
      case "prog_id:": programs.append(id)
      case "map_id:": maps.append(id)
      case "link_id:": links.append(id)
      default: break
      }
    }
  }

  var count: Int { programs.count + maps.count + links.count }

  /// How many are still there. The kernel frees them a moment after their last holder lets go: that is waited for.
  func left() -> Int {
    func isThere(_ id: UInt32, _ open: (UInt32) -> Int32) -> Bool {
      let found = open(id)
      if found >= 0 { close(found) }
      return found >= 0
    }
    var left = 0
    for _ in 0..<100 {
      left =
        programs.count { isThere($0, bpf_prog_get_fd_by_id) }
        + maps.count { isThere($0, bpf_map_get_fd_by_id) }
        + links.count { isThere($0, bpf_link_get_fd_by_id) }
      if left == 0 { break }
      usleep(100_000)
    }
    return left
  }
}

/// What the least-squares line through the samples grows by from the first to the last.
func soakGrowth(_ samples: [(seconds: Double, kilobytes: Double)]) -> Double {
  guard samples.count > 2, let first = samples.first, let last = samples.last else { return 0 }
  let count = Double(samples.count)
  let (x, y) = (samples.map(\.seconds).reduce(0, +) / count, samples.map(\.kilobytes).reduce(0, +) / count)
  var (covariance, variance) = (0.0, 0.0)
  for sample in samples {
    covariance += (sample.seconds - x) * (sample.kilobytes - y)
    variance += (sample.seconds - x) * (sample.seconds - x)
  }
  return variance == 0 ? 0 : covariance / variance * (last.seconds - first.seconds)
}

func soakAddress(_ text: String) -> Address {
  guard let address = Address(text) else { preconditionFailure("\(text) is not an address") }
  return address
}

func soakSocket(
  _ transport: TransportProtocol, _ namespace: NetworkNamespace, _ address: String, _ port: UInt16
) throws(SystemError) -> LabSocket {
  try LabSocket(transport, in: namespace, bound: Endpoint(soakAddress(address), port))
}

/// A pipe's line.
func soakLine(_ state: String, _ key: FlowKey) -> String {
  "\(state) \(key.transport.name) \(key.local.address) \(key.local.port) \(key.remote.address) \(key.remote.port) 2 17\n"
}

/// A firefly as another program sends it.
func soakFirefly(_ state: String, _ key: FlowKey) -> String {
  let end = state == "end" ? #","end-time":"2026-01-15T09:12:30.000000+00:00""# : ""
  return """
    {"version":1,"flow-lifecycle":{"state":"\(state)","current-time":"2026-01-15T09:12:30.000000+00:00",\
    "start-time":"2026-01-15T09:12:25.000000+00:00"\(end)},"flow-id":{"afi":"ipv6",\
    "src-ip":"\(key.local.address)","dst-ip":"\(key.remote.address)","protocol":"\(key.transport.name)",\
    "src-port":\(key.local.port),"dst-port":\(key.remote.port)},\
    "context":{"experiment-id":2,"activity-id":17,"application":"soak"}}
    """
}
