import Flow
import Glibc
import Lab
import Linux

/// Daemons that follow each other in one namespace, and a flow that they mark.
struct KeptLab {
  let pair: VethPair
  let flow: Conversation

  init() throws {
    pair = try VethPair()
    flow = try Conversation.udp(pair)
  }

  /// Starts a daemon whose marks outlive it, but for `--clean` in the options.
  ///
  /// - Parameter version: of what it keeps, other than the current one.
  func start(
    _ options: String, by wrapper: String = "MARKER", version: Int? = nil
  ) throws(SystemError) -> MarkerProcess {
    try MarkerProcess(
      "--interface near0 --pipe PIPE --no-remote-fireflies \(options.contains("--clean") ? "" : "KEEP") "
        + options.replacing("--clean", with: ""),
      in: pair.near, by: wrapper, version: version)
  }

  /// What a pipe is told of the flow.
  func line(_ state: String) -> String {
    let (local, remote) = (flow.key.local, flow.key.remote)
    return "\(state) udp \(local.address) \(local.port) \(remote.address) \(remote.port) 2 17\n"
  }

  func isMarked() throws -> Bool {
    let capture = try Capture("far0", in: pair.far)
    try flow.near.send([1])
    return try capture.frames(quiet: 50).of(flow.key).map { $0.flowLabel & ~FlowLabel.entropyMask } == [
      0x10044
    ]
  }

  /// A pipe has no answer.
  func wait(isMarked wanted: Bool) throws {
    for _ in 0..<500 {
      if try isMarked() == wanted { return }
      usleep(10_000)
    }
    throw SystemError("the flow is\(wanted ? " not" : "") marked", code: ETIMEDOUT)
  }

  func clean() throws(SystemError) -> String { try pair.near.shell("\(MarkerProcess.binary) clean") }

  /// Where the namespace's pins are; nil where there are none.
  func folder() throws -> String? {
    let path = try pair.near.run { () throws(SystemError) -> String in
      "/sys/fs/bpf/marker/v1/net-\(try NetworkNamespaceID.own())"
    }
    return access(path, F_OK) == 0 ? path : nil
  }

  /// What runs at near0's tcx egress.
  func chain() throws(SystemError) -> [TCXChain.Entry] {
    try pair.near.run { () throws(SystemError) in try TCXChain.entries(onIndex: if_nametoindex("near0")) }
  }
}
