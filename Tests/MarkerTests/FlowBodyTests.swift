import Flow
import Linux
import Testing

@testable import Marker

@Suite struct FlowBodyTests {
  private let names = ApplicationNames(own: "marker")

  private func read(_ text: String, _ state: FlowEvent.State = .start) throws -> FlowBody.Reading {
    try Array(text.utf8).withUnsafeBytes { try FlowBody(applications: names).read($0, state) }
  }

  private func flowdGo(_ text: String) throws -> FlowEvent {
    try Array(text.utf8).withUnsafeBytes { try FlowdGoFlowBody(applications: names).read($0) }
  }

  private let good =
    #"{"protocol":"TCP","source":{"address":"::ffff:192.0.2.1","port":1},"destination":{"port":2,"address":"192.0.2.2"},"activity":"Analysis Input","experiment":"cms""#

  @Test func allFields() throws {
    let event = try read(
      good
        + #","state":"end","application":"xrdcp","start":"2024-10-01T12:00:00Z","end":"2024-10-01T14:00:05+02:00"}"#
    ).events[0]
    #expect(event.state == .end && event.tag == SciTag(packed: 206) && event.flow.transport == .tcp)
    #expect(event.flow.source == Endpoint(Address(ipv4: 0xc000_0201), 1))
    #expect(names.name(of: event.application) == "xrdcp" && event.origin == .api)
    #expect(event.startTime?.microseconds == 1_727_784_000_000_000)
    #expect(event.endTime?.microseconds == 1_727_784_005_000_000)
  }

  @Test func aTimeToComeIsNow() throws {
    let event = try read(good + #","start":"2999-01-01T00:00:00Z"}"#).events[0]
    #expect(try #require(event.startTime) <= .now())
  }

  @Test func aWrongFlowDoesNotLoseItsNeighbours() throws {
    let reading = try read("[\(good)}, \(good),\"state\":\"stop\"}, {\"a\":[{}]}, 7, \(good)}]")
    #expect(reading.events.count == 2)
    #expect(reading.problems.map(\.index) == [1, 2, 3])
    #expect(reading.problems.map(\.problem.field) == ["state", "a", ""])
    #expect(throws: JSONProblem.self) { try read("[\(good)}, {]") }
  }

  @Test(arguments: [
    (#","x":1}"#, "x", "no such field"),
    (#","application":"\#u{7f}"}"#, "application", "without control characters"),
    (#","start":"yesterday"}"#, "start", "expected a time such as"),
    (#","experiment":"cmss"}"#, "experiment", "no experiment is called"),
    (#","activity":99}"#, "activity", "activity 99 is out of range"),
    (#","protocol":6}"#, "protocol", "expected a string"),
    (#","source":{"address":"x","port":1}}"#, "source.address", "expected an IP address, not \"x\""),
    (#","source":{"address":"::1"}}"#, "source.port", "is missing"),
    (#","source":{"addr":"::1"}}"#, "source.addr", "no such field"),
    (#","destination":{"address":"::1","port":1}}"#, "destination.address", "of the source's family"),
  ])
  func whatIsWrong(rest: String, field: String, reason: String) {
    let problem = #expect(throws: JSONProblem.self) { try read(good + rest) }
    #expect(
      problem?.field == field && problem?.reason.contains(reason) == true, "\(String(describing: problem))")
  }

  @Test func statesOfFlowdGo() throws {
    func body(_ state: Int, _ rest: String = "") -> String {
      #"{"state":\#(state),"PROTOCOL":1,"Src":{"IP":"::1","Port":2345},"Dst":{"IP":"::2","Port":5777},"Experiment":2,"Activity":1\#(rest)}"#
    }
    for (number, state) in [(0, FlowEvent.State.start), (1, .end), (2, .start), (3, .end), (4, .ongoing)] {
      let event = try flowdGo(body(number))
      #expect(event.state == state && event.flow.transport == .udp && event.startTime == nil)
    }
    let timed = try flowdGo(
      body(3, #","StartTs":"2024-10-01T12:00:00.5Z","EndTs":"0001-01-01T00:00:00Z","Info":null"#))
    #expect(timed.startTime?.microseconds == 1_727_784_000_500_000 && timed.endTime == nil)
    #expect(throws: JSONProblem.self) { try flowdGo(body(5)) }
    #expect(throws: JSONProblem.self) { try flowdGo("{}") }
  }
}
