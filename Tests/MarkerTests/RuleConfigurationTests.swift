import Flow
import Testing

@testable import Marker

@Suite struct RuleConfigurationTests {
  /// What is written is read again as it was.
  @Test(arguments: [
    "{experiment: 2, activity: 17}",
    "{tags: [\"2/17\", \"3/14\"], localPorts: [1094, 5200-5210], remotePorts: 443, protocol: udp}",
    "{exclude: true, remote: [\"192.0.2.0/24\", \"2001:db8::/32\"], uid: [root, 1000], process: xrootd}",
    "{experiment: 1, activity: 1, cgroup: /system.slice/x.service, process: [a, \"b c\"], protocol: tcp}",
  ])
  func aRuleIsWrittenAsItIsRead(text: String) throws {
    let read = try configuration("rules: [\(text)]\n").settings
    let line = try #require(Setting.named("rules")).write(read)
    #expect(try configuration("rules: \(line)\n").settings == read, "\(line)")
    #expect(read.rules.count == 1)
  }

  @Test func namesAndNumbersAreTheSame() throws {
    let read = try configuration(
      "rules:\n  - {experiment: cms, activity: Analysis Input}\n  - {experiment: 3, activity: 14}\n")
    #expect(read.settings.rules[0] == read.settings.rules[1])
    #expect(try configuration("rules: {tags: 2/1}").settings.rules.count == 1, "one alone")
  }

  @Test(arguments: [
    ("{experiment: 2}", "1:9: rules: a rule needs experiment and activity, or tags, or exclude: true"),
    ("{localPorts: 1}", "1:8: rules: a rule needs experiment and activity, or tags, or exclude: true"),
    ("{tags: []}", "1:9: rules: a rule needs experiment and activity, or tags, or exclude: true"),
    (
      "{exclude: true, activity: 1}",
      "1:24: rules: exclude: true leaves sockets without a tag; leave one of the two out"
    ),
    ("{tags: [2/1], activity: 1}", "1:22: rules: there are tags already; leave one of the two out"),
    ("{experiment: 2, activity: 64}", "1:9: rules: activity 64 is out of range: it is 0 to 63"),
    (
      "{experiment: nobody, activity: 1}",
      "1:9: rules: no experiment is called \"nobody\"; the registry at scitags.org lists them, a number works too"
    ),
    (
      "{exclude: true, localPorts: 5210-5200}",
      "1:36: rules: localPorts: expected a port from 1 to 65535, or a range of ports such as 5201-5300, not \"5210-5200\""
    ),
    (
      "{exclude: true, localPorts: []}",
      "1:36: rules: localPorts: an empty list fits nothing; leave the condition out to fit everything"
    ),
    (
      "{exclude: true, remote: 192.0.2.1/24}",
      "1:32: rules: remote: 192.0.2.1/24: bits behind the length are set; did you mean 192.0.2.0/24?"
    ),
    (
      "{exclude: true, uid: nobody-here}",
      "1:29: rules: uid: this host has no user \"nobody-here\"; a number works too"
    ),
    (
      "{exclude: true, process: a-name-of-16-byt}",
      "1:33: rules: process: expected the name of a process, 1 to 15 bytes as ps -o comm shows it, not \"a-name-of-16-byt\""
    ),
    (
      "{exclude: true, cgroup: x.slice}",
      "1:32: rules: cgroup: expected a control group such as /system.slice/xrootd.service, not \"x.slice\""
    ),
    (
      "{exclude: true, cgroup: /sys/fs/cgroup/x.slice}",
      "1:32: rules: cgroup: /sys/fs/cgroup/x.slice: the path begins below the cgroup2 mount; did you mean /x.slice?"
    ),
    (
      "{exclude: true, protocol: sctp}",
      "1:34: rules: protocol: expected tcp or udp, not \"sctp\"; did you mean \"tcp\"?"
    ),
    (
      "{exclude: true, port: 1}",
      "1:24: rules: unknown key \"port\"; known here: experiment, activity, tags, exclude, localPorts, remotePorts, remote, uid, cgroup, process, protocol"
    ),
    (
      "2/1",
      "1:8: rules: expected a section with experiment and activity (or tags, or exclude: true) and conditions of localPorts, remotePorts, remote, uid, cgroup, process and protocol, not \"2/1\""
    ),
  ])
  func everyMistakeHasItsPlaceAndItsRemedy(text: String, want: String) {
    let error = #expect(throws: ConfigurationError.self) { try configuration("rules: \(text)") }
    #expect(error?.description == "x.yaml:\(want)")
  }

  @Test func markAllIsTheLastRule() throws {
    let read = try configuration("rules: [{exclude: true, localPorts: 22}]\nmarkAll: 2/1\n").settings
    let far = FlowKey(
      local: Endpoint(Address(ipv4: 0xc000_0201), 9), remote: Endpoint(Address(ipv4: 0xc000_0202), 10),
      transport: .udp)
    let near = FlowKey(
      local: Endpoint(Address(ipv4: 0x7f00_0001), 9), remote: Endpoint(Address(ipv4: 0x7f00_0001), 10),
      transport: .tcp)
    let ssh = FlowKey(local: Endpoint(far.local.address, 22), remote: far.remote, transport: .tcp)
    #expect(read.socketRules.answer(far) == .tags([SciTag(packed: 129)], .perfSONAR))
    #expect(read.socketRules.answer(near) == .none && read.socketRules.answer(ssh) == .none)
    // What mark-all leaves alone is not announced; a rule's flows are.
    let except = try configuration(
      "rules: [{tags: 3/14, remotePorts: 10}]\nmarkAll: 2/1\nmarkAllExcept: {networks: 192.0.2.0/24, ports: [9, 11]}\n"
    ).settings.socketRules
    let elsewhere = Endpoint(Address(ipv4: 0xc633_6401), 12)
    #expect(except.answer(far) == .tags([SciTag(packed: 206)], .socketWatch))
    #expect(
      except.answer(FlowKey(local: ssh.local, remote: Endpoint(far.remote.address, 12), transport: .tcp))
        == .none)
    #expect(
      except.answer(FlowKey(local: far.local, remote: elsewhere, transport: .tcp)) == .none,
      "a port of this end")
    #expect(
      except.answer(FlowKey(local: ssh.local, remote: Endpoint(elsewhere.address, 11), transport: .tcp))
        == .none)
    #expect(
      except.answer(FlowKey(local: ssh.local, remote: elsewhere, transport: .tcp))
        == .tags([SciTag(packed: 129)], .perfSONAR))
    var quiet = read
    quiet.announcesMarkAll = false
    #expect(quiet.socketRules == quiet.rules)
  }
}
