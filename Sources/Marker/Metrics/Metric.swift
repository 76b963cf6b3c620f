/// A metric family: its name, what it means, and its labels. The one list that the exposition and the documentation
/// follow from.
struct Metric: Sendable {
  enum Kind: String, Sendable {
    case counter, gauge
    /// Labels with the value 1.
    case info
  }

  /// Without the suffix of counters and infos, `_total` and `_info`.
  let name: String
  let kind: Kind
  /// The unit that the name ends with, as OpenMetrics wants it; empty for none.
  let unit: String
  let labels: [String]
  let help: String

  init(_ name: String, _ kind: Kind, unit: String = "", by labels: [String] = [], _ help: String) {
    self.name = name
    self.kind = kind
    self.unit = unit
    self.labels = labels
    self.help = help
  }

  /// As queries name its samples.
  var sampleName: String {
    switch kind {
    case .counter: name + "_total"
    case .info: name + "_info"
    case .gauge: name
    }
  }
}

extension Metric {
  private static let tag = ["experiment", "activity", "family"]
  private static let flow = [
    "protocol", "local", "local_port", "remote", "remote_port", "experiment", "activity",
  ]

  static let build = Metric("marker_build", .info, by: ["version"], "The version that runs.")
  static let healthy = Metric(
    "marker_healthy", .gauge, "1 where all that was asked for is marked, else 0, as /v1/health has it.")
  static let flows = Metric("marker_flows", .gauge, by: tag, "Tagged flows at this moment.")
  static let flowLimit = Metric("marker_flows_limit", .gauge, "The most flows at a time, flows.max.")
  static let started = Metric("marker_flows_started", .counter, by: tag, "Flows that began.")
  static let ended = Metric("marker_flows_ended", .counter, by: tag, "Flows that ended.")
  static let packets = Metric(
    "marker_marked_packets", .counter, by: tag + ["path", "direction"],
    "Packets that left with a mark, as the wire carries them. Path sock counts none: see marker_socket_bytes."
  )
  static let bytes = Metric(
    "marker_marked_bytes", .counter, unit: "bytes", by: tag + ["path", "direction"],
    "Bytes of these packets from the IP header on.")
  static let socketBytes = Metric(
    "marker_socket_bytes", .counter, unit: "bytes", by: tag + ["direction"],
    "Payload bytes that TCP sockets of tagged flows had acknowledged (out) and received (in).")
  static let scopePackets = Metric(
    "marker_scope_packets", .counter, "Packets that left with the mark of markAll.")
  static let scopeBytes = Metric("marker_scope_bytes", .counter, unit: "bytes", "Bytes of these packets.")
  static let events = Metric(
    "marker_events", .counter, by: ["outcome"],
    "What sources said of flows, and flows that ended by themselves.")
  static let refusedMarks = Metric(
    "marker_marks_refused", .counter,
    "Flows whose experiment has no mark, an experiment above 511 for example: announced only.")
  static let pathMarks = Metric(
    "marker_path_marks", .gauge, by: ["interface", "family", "path"],
    "1 where packets that leave by the interface are marked by the path, else 0.")
  static let pathEvents = Metric(
    "marker_path_events", .counter, by: ["path", "event"],
    "Packets that left as they came, frames of the inline path, and repairs, by path.")
  static let pipeLines = Metric("marker_pipe_lines", .counter, by: ["result"], "Lines of named pipes.")
  static let announced = Metric(
    "marker_fireflies_announced", .counter, by: ["state"], "Moments in flows' lives that fireflies told of.")
  static let sent = Metric(
    "marker_fireflies_sent", .counter, by: ["destination"],
    "Fireflies that the kernel took, by collector; all remote ends are one.")
  static let dropped = Metric(
    "marker_fireflies_dropped", .counter, by: ["destination"], "Fireflies that were given up.")
  static let sendErrors = Metric(
    "marker_firefly_errors", .counter, by: ["destination"],
    "Fireflies that the kernel answered with an error.")
  static let failing = Metric(
    "marker_collector_failing", .gauge, by: ["destination"], "1 while a collector cannot be reached, else 0.")
  static let relayed = Metric("marker_fireflies_relayed", .counter, "Fireflies of others that were sent on.")
  static let heard = Metric(
    "marker_fireflies_heard", .counter, by: ["result"], "Datagrams at the listener, by what became of them.")
  static let requests = Metric(
    "marker_api_requests", .counter, by: ["code"], "Requests that the API answered.")
  static let logged = Metric(
    "marker_log_messages", .counter, by: ["level"], "What was logged, and repeats that were not.")
  static let suppressed = Metric("marker_log_suppressed", .counter, "Repeats that were kept out of the log.")

  static let flowsLeftOut = Metric(
    "marker_flow_metrics_left_out", .gauge,
    "TCP flows that have no metrics of their own because of metrics.flows.")
  static let flowRTT = Metric(
    "marker_flow_rtt_seconds", .gauge, unit: "seconds", by: flow, "The smoothed round-trip time.")
  static let flowMinimumRTT = Metric(
    "marker_flow_min_rtt_seconds", .gauge, unit: "seconds", by: flow, "The least round-trip time.")
  static let flowWindow = Metric(
    "marker_flow_congestion_window_segments", .gauge, unit: "segments", by: flow, "The congestion window.")
  static let flowDelivery = Metric(
    "marker_flow_delivery_rate_bytes_per_second", .gauge, by: flow, "How fast the connection delivered last.")
  static let flowSent = Metric(
    "marker_flow_sent_bytes", .counter, unit: "bytes", by: flow, "Payload bytes that were acknowledged.")
  static let flowReceived = Metric(
    "marker_flow_received_bytes", .counter, unit: "bytes", by: flow, "Payload bytes that were received.")
  static let flowRetransmits = Metric(
    "marker_flow_retransmits_segments", .counter, unit: "segments", by: flow, "Segments that were sent again."
  )

  static let cpu = Metric(
    "process_cpu_seconds", .counter, unit: "seconds", "Processor time that the daemon used.")
  static let resident = Metric(
    "process_resident_memory_bytes", .gauge, unit: "bytes", "Memory that the daemon has in use.")
  static let virtual = Metric(
    "process_virtual_memory_bytes", .gauge, unit: "bytes", "Address space that the daemon has.")
  static let descriptors = Metric("process_open_fds", .gauge, "Open file descriptors.")
  static let descriptorLimit = Metric("process_max_fds", .gauge, "The most file descriptors.")
  static let startTime = Metric(
    "process_start_time_seconds", .gauge, unit: "seconds", "When the daemon started, since 1970.")

  static let daemon: [Metric] = [
    build, healthy, flows, flowLimit, started, ended, packets, bytes, socketBytes, scopePackets, scopeBytes,
    events, refusedMarks, pathMarks, pathEvents, pipeLines, announced, sent, dropped, sendErrors, failing,
    relayed, heard, requests, logged, suppressed,
  ]
  static let flowFamilies: [Metric] = [
    flowsLeftOut, flowRTT, flowMinimumRTT, flowWindow, flowDelivery, flowSent, flowReceived, flowRetransmits,
  ]
  static let process: [Metric] = [cpu, resident, virtual, descriptors, descriptorLimit, startTime]

  static let all = daemon + flowFamilies + process
}
