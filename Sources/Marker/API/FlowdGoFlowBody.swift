import Flow

/// Reads the body of flowd-go's `POST /flow`: one flow, its field names in any case as Go takes them.
struct FlowdGoFlowBody {
  private let applications: ApplicationNames

  init(applications: ApplicationNames) { self.applications = applications }

  func read(_ bytes: UnsafeRawBufferPointer) throws(JSONProblem) -> FlowEvent {
    var reader = JSONReader(bytes)
    let start = reader.offset
    var state: FlowEvent.State?
    var transport = TransportProtocol.tcp
    var source: Endpoint?
    var destination: Endpoint?
    var tag = TagReader(.embedded)
    var application = ApplicationNames.ID.marker
    var (startTime, endTime): (WallClockTime?, WallClockTime?)
    try reader.object { reader, key throws(JSONProblem) in
      do throws(JSONProblem) {
        switch key.lowercased() {
        case "state": state = try Self.state(&reader)
        case "protocol": transport = try Self.transport(&reader)
        case "src": source = try Self.endpoint(&reader)
        case "dst": destination = try Self.endpoint(&reader)
        case "experiment": try tag.readExperiment(&reader)
        case "activity": try tag.readActivity(&reader)
        case "startts": startTime = try Self.time(&reader)
        case "endts": endTime = try Self.time(&reader)
        case "application":
          let name = try reader.applicationName()
          if !name.isEmpty { application = applications.id(of: name) }
        // The family follows from the addresses. Go ignores fields that it does not know.
        default: try reader.skip()
        }
      } catch {
        throw error.within(key)
      }
    }
    try reader.end()
    guard let source else { throw FlowBody.missing("Src", start) }
    guard let destination else { throw FlowBody.missing("Dst", start) }
    guard let state else { throw FlowBody.missing("State", start) }
    return FlowEvent(
      state, try FlowBody.flow(source, destination, transport, start), try tag.tag(start), from: .api,
      application: application, startTime: startTime, endTime: endTime)
  }

  /// flowd-go numbers its states 2, 3 and 4, and 0 and 1 before version 2.
  private static func state(_ reader: inout JSONReader) throws(JSONProblem) -> FlowEvent.State {
    switch try reader.integer() {
    case 0, 2: return .start
    case 1, 3: return .end
    case 4: return .ongoing
    case let number:
      throw JSONProblem(
        offset: reader.offset, reason: "expected 2 for a start, 3 for an end or 4 for ongoing, not \(number)")
    }
  }

  /// Go writes the year 1 for no time.
  private static func time(_ reader: inout JSONReader) throws(JSONProblem) -> WallClockTime? {
    let time = try reader.time()
    return time.microseconds > 0 ? time : nil
  }

  private static func transport(_ reader: inout JSONReader) throws(JSONProblem) -> TransportProtocol {
    switch try reader.integer() {
    case 0: return .tcp
    case 1: return .udp
    case let number:
      throw JSONProblem(offset: reader.offset, reason: "expected 0 for TCP or 1 for UDP, not \(number)")
    }
  }

  private static func endpoint(_ reader: inout JSONReader) throws(JSONProblem) -> Endpoint {
    try FlowBody.endpoint(&reader, address: "IP", port: "Port")
  }
}
