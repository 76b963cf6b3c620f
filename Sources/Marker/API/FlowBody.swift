import Firefly
import Flow
import Linux

/// Reads flows from the bodies of requests: one, or an array of them.
struct FlowBody {
  /// What a body says. A flow that is wrong does not lose its neighbours.
  struct Reading {
    var events: ContiguousArray<FlowEvent> = []
    /// What is wrong, and with which of an array's items, from 0.
    var problems: [(index: Int, problem: JSONProblem)] = []
    var isArray = false
  }

  private let applications: ApplicationNames
  private let registry: Registry

  init(applications: ApplicationNames, registry: Registry = .embedded) {
    self.applications = applications
    self.registry = registry
  }

  /// Reads marker's own form.
  ///
  /// - Parameter state: of flows that don't say theirs.
  /// - Throws: where the body as a whole is not JSON, or the only flow is wrong.
  func read(_ bytes: UnsafeRawBufferPointer, _ state: FlowEvent.State) throws(JSONProblem) -> Reading {
    var reader = JSONReader(bytes)
    var reading = Reading()
    guard try reader.kind() == .array else {
      reading.events.append(try flow(&reader, state))
      try reader.end()
      return reading
    }
    reading.isArray = true
    var index = 0
    try reader.array { reader throws(JSONProblem) in
      let before = reader
      do throws(JSONProblem) {
        reading.events.append(try flow(&reader, state))
      } catch {
        reader = before
        try reader.skip()
        reading.problems.append((index, error))
      }
      index += 1
    }
    try reader.end()
    return reading
  }

  private func flow(_ reader: inout JSONReader, _ state: FlowEvent.State) throws(JSONProblem) -> FlowEvent {
    let start = reader.offset
    var state = state
    var transport: TransportProtocol?
    var source: Endpoint?
    var destination: Endpoint?
    var tag = TagReader(registry)
    var application = ApplicationNames.ID.marker
    var (startTime, endTime): (WallClockTime?, WallClockTime?)
    try reader.object { reader, key throws(JSONProblem) in
      do throws(JSONProblem) {
        switch key {
        case "start": startTime = try reader.time()
        case "end": endTime = try reader.time()
        case "state": state = try Self.state(&reader)
        case "protocol": transport = try Self.transport(&reader)
        case "source": source = try Self.endpoint(&reader, address: "address", port: "port")
        case "destination": destination = try Self.endpoint(&reader, address: "address", port: "port")
        case "experiment": try tag.readExperiment(&reader)
        case "activity": try tag.readActivity(&reader)
        case "application": application = applications.id(of: try reader.applicationName())
        default:
          let near = Nearest.of(key, in: Self.keys).map { "; did you mean \"\($0)\"?" } ?? ""
          throw JSONProblem(offset: reader.offset, reason: "no such field\(near)")
        }
      } catch {
        throw error.within(key)
      }
    }
    guard let transport else { throw Self.missing("protocol", start) }
    guard let source else { throw Self.missing("source", start) }
    guard let destination else { throw Self.missing("destination", start) }
    return FlowEvent(
      state, try Self.flow(source, destination, transport, start), try tag.tag(start), from: .api,
      application: application, startTime: startTime, endTime: endTime)
  }

  static let keys = [
    "state", "protocol", "source", "destination", "experiment", "activity", "application", "start", "end",
  ]

  static func missing(_ field: String, _ offset: Int) -> JSONProblem {
    JSONProblem(offset: offset, field: field, reason: "is missing")
  }

  static func flow(
    _ source: Endpoint, _ destination: Endpoint, _ transport: TransportProtocol, _ offset: Int
  ) throws(JSONProblem) -> AnnouncedFlow {
    guard source.address.isIPv4 == destination.address.isIPv4 else {
      throw JSONProblem(
        offset: offset, field: "destination.address", reason: "expected an address of the source's family")
    }
    return AnnouncedFlow(source: source, destination: destination, transport: transport)
  }

  private static func state(_ reader: inout JSONReader) throws(JSONProblem) -> FlowEvent.State {
    let text = try reader.string()
    switch text.lowercased() {
    case "start": return .start
    case "ongoing": return .ongoing
    case "end": return .end
    default:
      throw JSONProblem(offset: reader.offset, reason: "expected start, ongoing or end, not \"\(text)\"")
    }
  }

  static func transport(_ reader: inout JSONReader) throws(JSONProblem) -> TransportProtocol {
    let text = try reader.string()
    guard let found = TransportProtocol.allCases.first(where: { $0.name == text.lowercased() }) else {
      throw JSONProblem(offset: reader.offset, reason: "expected tcp, udp or sctp, not \"\(text)\"")
    }
    return found
  }

  /// - Parameters:
  ///   - address, port: the fields' names, compared without regard to case.
  static func endpoint(
    _ reader: inout JSONReader, address addressName: String, port portName: String
  ) throws(JSONProblem) -> Endpoint {
    let start = reader.offset
    var address: Address?
    var port: UInt16?
    try reader.object { reader, key throws(JSONProblem) in
      do throws(JSONProblem) {
        if key == addressName {
          address = try Self.address(&reader)
        } else if key == portName {
          let number = try reader.integer()
          guard (1...65535).contains(number) else {
            throw JSONProblem(offset: reader.offset, reason: "expected 1 to 65535, not \(number)")
          }
          port = UInt16(number)
        } else {
          throw JSONProblem(
            offset: reader.offset, reason: "no such field; there are \(addressName) and \(portName)")
        }
      } catch {
        throw error.within(key)
      }
    }
    guard let address else { throw missing(addressName, start) }
    guard let port else { throw missing(portName, start) }
    return Endpoint(address, port)
  }

  private static func address(_ reader: inout JSONReader) throws(JSONProblem) -> Address {
    let place = reader.offset
    let bytes = try reader.plainString()
    guard let address = Address(text: bytes.assumingMemoryBound(to: UInt8.self).span) else {
      throw JSONProblem(
        offset: place,
        reason: "expected an IP address, not \"\(String(decoding: bytes.prefix(60), as: UTF8.self))\"")
    }
    guard !address.isUnspecified else {
      throw JSONProblem(offset: place, reason: "expected an end's own address: a flow has two real ends")
    }
    return address
  }
}

/// Collects the two parts of a tag, whichever comes first: names of activities depend on the experiment.
struct TagReader {
  private enum Part {
    case number(Int)
    case name(String)
  }
  private let registry: Registry
  private var experiment: Part?
  private var activity: Part?

  init(_ registry: Registry) { self.registry = registry }

  mutating func readExperiment(_ reader: inout JSONReader) throws(JSONProblem) {
    experiment = try part(&reader)
  }
  mutating func readActivity(_ reader: inout JSONReader) throws(JSONProblem) { activity = try part(&reader) }

  private func part(_ reader: inout JSONReader) throws(JSONProblem) -> Part {
    if try reader.kind() == .string { return .name(try reader.string()) }
    return .number(try reader.integer())
  }

  func tag(_ offset: Int) throws(JSONProblem) -> SciTag {
    guard let experiment else { throw FlowBody.missing("experiment", offset) }
    guard let activity else { throw FlowBody.missing("activity", offset) }
    var field = "experiment"
    do throws(SciTagError) {
      let experimentNumber: Int
      switch experiment {
      case .number(let number): experimentNumber = number
      case .name(let name): experimentNumber = Int(try registry.experiment(name))
      }
      guard SciTag.experiments.contains(experimentNumber) else {
        throw .experimentOutOfRange(experimentNumber)
      }
      field = "activity"
      switch activity {
      case .number(let number): return try SciTag(experiment: experimentNumber, activity: number)
      case .name(let name):
        return try SciTag(
          experiment: experimentNumber,
          activity: Int(try registry.activity(name, of: UInt16(experimentNumber))))
      }
    } catch {
      throw JSONProblem(offset: offset, field: field, reason: "\(error)")
    }
  }
}

extension JSONReader {
  /// When something was, RFC 3339; a time to come is taken for now, so that no flow lasts longer than it can have.
  mutating func time() throws(JSONProblem) -> WallClockTime {
    let place = offset
    let bytes = try plainString()
    guard let time = Timestamp.read(bytes.assumingMemoryBound(to: UInt8.self).span) else {
      throw JSONProblem(
        offset: place,
        reason:
          "expected a time such as 2026-01-15T09:12:33.5Z, not \"\(String(decoding: bytes.prefix(40), as: UTF8.self))\""
      )
    }
    return min(time, .now())
  }

  /// A name as fireflies may carry it: bounded, without control characters.
  mutating func applicationName() throws(JSONProblem) -> String {
    let place = offset
    let text = try string()
    guard text.utf8.count <= 64, text.unicodeScalars.allSatisfy({ $0.value >= 0x20 && $0.value != 0x7f })
    else {
      throw JSONProblem(offset: place, reason: "expected at most 64 bytes without control characters")
    }
    return text
  }
}
