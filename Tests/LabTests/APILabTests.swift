import Flow
import Glibc
import Lab
import Linux
import Testing

@testable import Marker

/// The API of a running daemon, asked by curl.
@Suite(.enabled(if: geteuid() == 0, "needs root")) struct APILabTests {
  private func start(_ options: String = "", _ pair: VethPair) throws -> MarkerProcess {
    try MarkerProcess(
      "--interface near0 --pipe PIPE --no-remote-fireflies --api API --api 127.0.0.1:7777 \(options)",
      in: pair.near)
  }

  /// The status and the body of an answer.
  private func ask(_ pair: VethPair, _ arguments: String) throws -> (status: String, body: String) {
    let text = try pair.near.shell("curl -s -m 10 -w '\\n%{http_code}' \(arguments)")
    let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
    return (String(lines.last ?? ""), lines.dropLast().joined(separator: "\n"))
  }

  private func body(_ flow: Conversation, _ rest: String = "\"experiment\":2,\"activity\":17") -> String {
    let (local, remote) = (flow.key.local, flow.key.remote)
    return
      "{\"protocol\":\"\(flow.key.transport.name)\",\"source\":{\"address\":\"\(local.address)\",\"port\":\(local.port)},"
      + "\"destination\":{\"address\":\"\(remote.address)\",\"port\":\(remote.port)},\(rest)}"
  }

  /// The label of one packet, without its entropy.
  private func label(_ pair: VethPair, _ flow: Conversation) throws -> UInt32? {
    let capture = try Capture("far0", in: pair.far)
    try flow.near.send([1])
    return try capture.frames(quiet: 50).of(flow.key).first.map { $0.flowLabel & ~FlowLabel.entropyMask }
  }

  @Test func anAnsweredStartIsMarkedAndAnAnsweredEndIsNot() throws {
    let pair = try VethPair()
    let marker = try start("", pair)
    let flow = try Conversation.udp(pair)
    let before = try label(pair, flow)
    for by in ["--unix-socket \(marker.api) http://localhost", "http://127.0.0.1:7777"] {
      let started = try ask(pair, "-d '\(body(flow))' \(by)/v1/flows")
      #expect(started.status == "201" && started.body.contains("\"label\":\"0x"), "\(started)")
      #expect(try label(pair, flow) == 0x10044)
      let again = try ask(
        pair, "-d '\(body(flow, "\"experiment\":\"cms\",\"activity\":\"Analysis Input\""))' \(by)/v1/flows")
      #expect(again.status == "200" && again.body.contains("Analysis Input"))
      #expect(try label(pair, flow) == 0x30038)
      let id =
        "udp,\(flow.key.local.address),\(flow.key.local.port),\(flow.key.remote.address),\(flow.key.remote.port)"
      // As clients write it that encode what they need not.
      let encoded = id.replacing(",", with: "%2C").replacing(":", with: "%3a")
      let found = try ask(pair, "\(by)/v1/flows/\(encoded)")
      #expect(found.status == "200" && found.body.contains("\"id\":\"\(id)\""), "\(found)")
      #expect(try ask(pair, "-d '\(body(flow))' \(by)/v1/flows/end").status == "200")
      #expect(try label(pair, flow) == before)
      #expect(try ask(pair, "-d '\(body(flow))' \(by)/v1/flows/end").status == "404")
      #expect(try ask(pair, "\(by)/v1/flows/\(id)").status == "404")
    }
    #expect(marker.stop() == 0)
    #expect(access(marker.api, F_OK) != 0, "its socket goes with it")
  }

  /// A client on another host that asks too often is told so; this host's own are not, and neither is another.
  @Test func requestsOfOtherHostsAreLimited() throws {
    let pair = try VethPair()
    try pair.far.shell("ip addr add 192.0.2.9/24 dev far0")
    let marker = try MarkerProcess(
      "--config CONFIG --api API --api 192.0.2.1:7777 --api 127.0.0.1:7777",
      configuration: """
        interfaces: [near0]
        pipes: [PIPE]
        fireflies: {remoteEnds: false}
        api: {allow: [192.0.2.0/24], rate: 5}
        """, in: pair.near)
    func answers(_ namespace: NetworkNamespace, _ arguments: String) throws -> [String] {
      try namespace.shell(
        "curl -s -m 10 -o /dev/null -w '%{http_code} %header{retry-after}\\n' \(arguments)/v1/status?[1-60]"
      ).split(separator: "\n").map(String.init)
    }
    let remote = try answers(pair.far, "--interface 192.0.2.2 'http://192.0.2.1:7777'")
    let allowed = remote.filter { $0.hasPrefix("200") }.count
    #expect(remote.count == 60 && allowed >= 5 && allowed < 60, "\(remote) \(marker.log)")
    #expect(remote.count { $0 == "429 1" } == 60 - allowed)
    let other = try pair.far.shell("curl -s -m 10 --interface 192.0.2.9 http://192.0.2.1:7777/v1/health")
    #expect(other.contains("healthy"), "\(other)")
    for local in ["--unix-socket \(marker.api) 'http://localhost'", "'http://127.0.0.1:7777'"] {
      #expect(try answers(pair.near, local).allSatisfy { $0.hasPrefix("200") })
    }
    // The next second has its own.
    var answer = ""
    for _ in 0..<50 where !answer.contains("healthy") {
      usleep(100_000)
      answer = try pair.far.shell("curl -s -m 10 --interface 192.0.2.2 http://192.0.2.1:7777/v1/health")
    }
    #expect(answer.contains("healthy"))
    #expect(marker.stop() == 0)
  }

  @Test func flowdGosBodies() throws {
    let pair = try VethPair()
    let marker = try start("", pair)
    let flow = try Conversation.tcp(pair)
    func body(_ state: Int, _ experiment: Int = 2) -> String {
      "{\"State\":\(state),\"Protocol\":0,\"Family\":10,\"Src\":{\"IP\":\"\(flow.key.local.address)\",\"Port\":\(flow.key.local.port)},"
        + "\"Dst\":{\"IP\":\"\(flow.key.remote.address)\",\"Port\":\(flow.key.remote.port)},\"Experiment\":\(experiment),\"Activity\":17,"
        + "\"StartTs\":\"0001-01-01T00:00:00Z\",\"EndTs\":\"0001-01-01T00:00:00Z\",\"CurrentTs\":\"0001-01-01T00:00:00Z\",\"Info\":{\"a\":[1]}}"
    }
    #expect(
      try ask(pair, "-H 'Content-Type: application/json' -d '\(body(2))' http://127.0.0.1:7777/flow").status
        == "200")
    #expect(try label(pair, flow) == 0x10044)
    #expect(try ask(pair, "-d '\(body(3))' http://127.0.0.1:7777/flow").status == "200")
    #expect(try label(pair, flow) != 0x10044)
    for (wrong, says) in [
      ("{}", "\"field\":\"Src\""), (body(2, 65535), "\"field\":\"experiment\""),
      (body(9), "\"field\":\"State\""),
      ("[]", "expected an object at byte 1"), ("{", "expected a string at byte 2"),
    ] {
      let answer = try ask(pair, "-d '\(wrong)' http://127.0.0.1:7777/flow")
      #expect(answer.status == "400" && answer.body.contains(says), "\(answer)")
    }
    let root = try ask(pair, "http://127.0.0.1:7777/")
    #expect(root.status == "200" && root.body.contains("\"ApiRoutes\":[{\"method\":\"GET\",\"path\":\"/\""))
    #expect(marker.stop() == 0)
  }

  @Test func manyAtOnce() throws {
    let pair = try VethPair()
    let marker = try start("--max-flows 3000", pair)
    let flow = try Conversation.udp(pair)
    // 998 flows of which one is wrong, and ours.
    try shell("printf '%s' '\(body(flow))' > \(marker.folder)/own")
    try shell(
      """
      python3 -c '
      import json
      ends = lambda i: dict(protocol="tcp", source=dict(address="2001:db8::1", port=1+i), destination=dict(address="2001:db8::2", port=1094), experiment=2, activity=17)
      flows = [ends(i) for i in range(998)]
      flows[7]["source"]["port"] = 0
      print(json.dumps(flows + [json.loads(open("\(marker.folder)/own").read())]))' > \(marker.folder)/many
      """)
    let answer = try ask(pair, "-d @\(marker.folder)/many http://127.0.0.1:7777/v1/flows")
    #expect(answer.status == "207" && answer.body.contains("\"started\":998"), "\(answer)")
    #expect(
      answer.body.contains(
        "{\"index\":7,\"error\":{\"field\":\"source.port\",\"reason\":\"expected 1 to 65535, not 0\"}}"))
    #expect(try label(pair, flow) == 0x10044)
    let page = try ask(pair, "'http://127.0.0.1:7777/v1/flows?limit=10&experiment=atlas'")
    #expect(page.body.contains("\"total\":998,\"next\":10"), "\(page)")
    #expect(page.body.components(of: "\"id\":") == 10)
    #expect(try ask(pair, "'http://127.0.0.1:7777/v1/flows?experiment=7'").body.hasPrefix("{\"flows\":[],"))
    // The table's limit is the client's to hear of.
    try shell("sed -i 's/\"port\": 1094/\"port\": 1095/g' \(marker.folder)/many")
    _ = try ask(pair, "-d @\(marker.folder)/many http://127.0.0.1:7777/v1/flows")
    try shell("sed -i 's/\"port\": 1095/\"port\": 1096/g' \(marker.folder)/many")
    _ = try ask(pair, "-d @\(marker.folder)/many http://127.0.0.1:7777/v1/flows")
    try shell("sed -i 's/\"port\": 1096/\"port\": 1097/g' \(marker.folder)/many")
    let full = try ask(
      pair, "-D \(marker.folder)/head -d @\(marker.folder)/many http://127.0.0.1:7777/v1/flows")
    #expect(full.status == "207" && full.body.contains("\"refused\":"), "\(full)")
    #expect(try shell("cat \(marker.folder)/head").contains("Retry-After: 10"))
    #expect(marker.stop() == 0)
  }

  @Test func whatIsWrongIsSaid() throws {
    let pair = try VethPair()
    let marker = try start("", pair)
    let flow = try Conversation.udp(pair)
    let good = body(flow)
    try shell("head -c 5000000 /dev/zero > \(marker.folder)/big")
    for (arguments, status, says) in [
      ("-d '\(good.dropLast())' URL/v1/flows", "400", "expected"),
      (
        "-d '\(good.replacing("udp", with: "icmp"))' URL/v1/flows", "400",
        "{\"field\":\"protocol\",\"reason\":\"expected tcp, udp or sctp, not \\\"icmp\\\"\"}"
      ),
      (
        "-d '\(good.replacing("protocol", with: "protokol"))' URL/v1/flows", "400",
        "did you mean \\\"protocol\\\"?"
      ),
      (
        "-d '\(good.replacing(":2,", with: ":1024,"))' URL/v1/flows", "400", "experiment 1024 is out of range"
      ),
      (
        "-d '\(good.replacing(":2,", with: ":196664,"))' URL/v1/flows", "400",
        "did you mean experiment 3, activity 14?"
      ),
      (
        "-d '\(good.replacing("2001:db8::2", with: "192.0.2.1"))' URL/v1/flows", "400",
        "\"destination.address\""
      ),
      ("-d '\(good.replacing("2001:db8::2", with: "::"))' URL/v1/flows", "400", "\"destination.address\""),
      ("-d '' URL/v1/flows", "400", "expected a value at byte 1"),
      ("-d '\(String(repeating: "[", count: 100))' URL/v1/flows", "400", "nested more than 16 deep"),
      ("URL/nope", "404", "there is no /nope"),
      ("-X DELETE URL/v1/flows", "405", "takes POST, GET, not DELETE"),
      (
        "'URL/v1/flows?limit=0'", "400",
        "{\"field\":\"limit\",\"reason\":\"expected a number from 1 to 10000, not 0\"}"
      ),
      ("URL/v1/flows/x", "400", "\"field\":\"id\""),
      (
        "--data-binary @BIG URL/v1/flows", "413",
        "at most 4194304 bytes"
      ),
    ] {
      let answer = try ask(
        pair,
        arguments.replacing("URL", with: "http://127.0.0.1:7777").replacing(
          "BIG", with: "\(marker.folder)/big") + " || true")
      #expect(answer.status == status && answer.body.contains(says), "\(arguments.prefix(100)): \(answer)")
    }
    // It lives on.
    #expect(try ask(pair, "-d '\(good)' http://127.0.0.1:7777/v1/flows").status == "201")
    #expect(marker.stop() == 0)
  }

  @Test func statusHealthRegistryAndDescription() throws {
    let pair = try VethPair()
    let marker = try start("--strategy auto", pair)
    let url = "http://127.0.0.1:7777/v1"
    let status = try ask(pair, "\(url)/status").body
    #expect(status.contains("\"interfaces\":[\"near0\"]"), "\(status)")
    for path in ["sock", "tc"] {
      #expect(status.contains("{\"path\":\"\(path)\",\"families\":[\"ipv6\",\"ipv4\"]}"), "\(status)")
    }
    #expect(try ask(pair, "\(url)/health") == ("200", "{\"healthy\":true,\"problems\":[]}"))
    #expect(try ask(pair, "\(url)/registry").body.contains("\"number\":14,\"name\":\"Analysis Input\""))
    let document = try ask(pair, "\(url)/openapi.json | tee \(marker.folder)/openapi >/dev/null; echo")
    #expect(document.body.isEmpty)
    let paths = try shell(
      "python3 -c 'import json; d=json.loads(open(\"\(marker.folder)/openapi\").read().rsplit(\"\\n\",1)[0]); print(sorted(d[\"paths\"]))'"
    )
    for route in APIRoutes.all { #expect(paths.contains("'\(route.path)'"), "\(route.path)") }
    try pair.near.shell("ip link del near0")
    var health = try ask(pair, "\(url)/health")
    for _ in 0..<50 where health.status == "200" {
      usleep(20_000)
      health = try ask(pair, "\(url)/health")
    }
    #expect(health == ("503", "{\"healthy\":false,\"problems\":[\"no interface is there to mark on\"]}"))
  }

  @Test func clientsFromElsewhere() throws {
    let pair = try VethPair()
    let wrong = #expect(throws: SystemError.self) {
      try MarkerProcess("--interface near0 --pipe PIPE --api '[\(VethPair.near6)]:7777'", in: pair.near)
    }
    #expect(wrong?.description.contains("is reached from elsewhere: name who may") == true)
    try shell("printf 'abcdefghijklmnop\\n' > /tmp/marker-token-\(getpid())")
    defer { unlink("/tmp/marker-token-\(getpid())") }
    let api =
      "api: {listen: ['[\(VethPair.near6)]:7777'], allow: [2001:db8:9::/48], tokenFile: /tmp/marker-token-\(getpid())}\n"
    let marker = try MarkerProcess(
      "--config CONFIG --pipe PIPE --log-level info --api '[\(VethPair.near6)]:7777'",
      configuration: api + "interfaces: [near0]\n",
      in: pair.near)
    func far(_ options: String) throws -> String {
      try pair.far.shell(
        "curl -s -m 5 -o /dev/null -w '%{http_code}' \(options) 'http://[\(VethPair.near6)]:7777/v1/health'")
    }
    #expect(try far("") == "401" && far("-H 'Authorization: Bearer abcdefghijklmnoq'") == "401")
    #expect(try far("-H 'Authorization: Bearer abcdefghijklmnop'") == "200")
    try pair.far.shell("ip addr add 2001:db8:9::2/128 dev far0 nodad")
    try pair.near.shell("ip route add 2001:db8:9::/48 dev near0")
    #expect(try far("--interface 2001:db8:9::2") == "200")
    #expect(marker.stop() == 0)
  }

  @Test func theFlowCommand() throws {
    let pair = try VethPair()
    let marker = try start("", pair)
    let flow = try Conversation.udp(pair)
    let (local, remote) = (flow.key.local, flow.key.remote)
    let ends = "udp \(local.address) \(local.port) \(remote.address) \(remote.port)"
    let command = "\(MarkerProcess.binary) flow"
    #expect(
      try pair.near.shell("\(command) start \(ends) cms 'Analysis Input' --api \(marker.api)").contains(
        "started"))
    #expect(try label(pair, flow) == 0x30038)
    let listed = try pair.near.shell("\(command) list --api 127.0.0.1:7777")
    #expect(listed.hasPrefix("{\"id\":\"udp,") && listed.split(separator: "\n").count == 1, "\(listed)")
    #expect(try pair.near.shell("\(command) list --experiment 2 --api \(marker.api)") == "")
    let none = #expect(throws: SystemError.self) {
      try pair.near.shell("\(command) list --limit 0 --api \(marker.api)")
    }
    #expect(none?.description.contains("--limit is at least 1, not 0") == true)
    #expect(try pair.near.shell("\(command) end \(ends) 3 14 --api \(marker.api)").contains("ended"))
    let error = #expect(throws: SystemError.self) {
      try pair.near.shell("\(command) end \(ends) 3 14 --api \(marker.api)")
    }
    #expect(error?.description.contains("no such flow") == true)
    #expect(marker.stop() == 0)
    let unheard = #expect(throws: SystemError.self) {
      try pair.near.shell("\(command) list --api \(marker.api)")
    }
    #expect(unheard?.description.contains("no answer, is the daemon running?") == true)
  }

  @Test func aSocketThatWasLeftIsTakenOverAndOneInUseIsNot() throws {
    let pair = try VethPair()
    let marker = try start("", pair)
    let second = #expect(throws: SystemError.self) {
      // Of another network namespace: in its own a second daemon is refused before.
      try MarkerProcess("--interface far0 --pipe PIPE --api \(marker.api)", in: pair.far)
    }
    #expect(second?.description.contains("another daemon serves it") == true)
    let socket = marker.api
    _ = marker.stop(SIGKILL)
    #expect(access(socket, F_OK) == 0)
    let third = try MarkerProcess("--interface near0 --pipe PIPE --api \(socket)", in: pair.near)
    #expect(third.stop() == 0)
  }
}

extension String {
  fileprivate func components(of part: String) -> Int {
    split(separator: part, omittingEmptySubsequences: false).count - 1
  }
}
