import Flow
import Linux

extension ValueType where Value == SocketRule {
  private static let ruleForm =
    "a section with experiment and activity (or tags, or exclude: true) and conditions of localPorts, remotePorts, "
    + "remote, uid, cgroup, process and protocol"

  static let socketRule = ValueType(ruleForm) { node throws(YAMLProblem) in
    guard case .mapping = node.content else { throw node.expected(ruleForm) }
    var read = Parts()
    let reading = parts.read(node, into: &read)
    if let problem = reading.problems.first { throw problem }
    read.rule.verdict = try read.verdict(node, reading.places)
    return read.rule
  } write: { rule in
    YAMLText.mapping(verdictEntries(rule.verdict) + conditionEntries(rule))
  }

  private struct Parts {
    var rule = SocketRule(.exclude)
    var experiment: String?
    var activity: String?
    var tags: [SciTag]?
    var isExcluded = false

    /// Exactly one of the three ways to say it.
    func verdict(_ node: YAMLNode, _ places: [String: SourceMark]) throws(YAMLProblem) -> SocketRule.Verdict {
      let needed = "a rule needs experiment and activity, or tags, or exclude: true"
      let numbers = ["experiment", "activity"].compactMap { places[$0] }
      if isExcluded {
        guard let extra = numbers.first ?? places["tags"] else { return .exclude }
        throw YAMLProblem(extra, "exclude: true leaves sockets without a tag; leave one of the two out")
      }
      if let tags {
        if let extra = numbers.first {
          throw YAMLProblem(extra, "there are tags already; leave one of the two out")
        }
        guard !tags.isEmpty else { throw YAMLProblem(places["tags"] ?? node.mark, needed) }
        return .tag(tags)
      }
      guard let experiment, let activity else { throw YAMLProblem(numbers.first ?? node.mark, needed) }
      do throws(SciTagError) {
        return .tag([try Registry.embedded.tag(experiment: experiment, activity: activity)])
      } catch {
        throw YAMLProblem(numbers.first ?? node.mark, "\(error)")
      }
    }
  }

  private static let parts = Schema<Parts>([
    .init("experiment") { node, parts throws(YAMLProblem) in
      parts.experiment = try ValueType<String>.text("an experiment, by number or name").read(node)
    },
    .init("activity") { node, parts throws(YAMLProblem) in
      parts.activity = try ValueType<String>.text("an activity, by number or name").read(node)
    },
    .init("tags") { node, parts throws(YAMLProblem) in
      parts.tags = try ValueType<[SciTag]>.list(of: .tag).read(node)
    },
    .init("exclude") { node, parts throws(YAMLProblem) in
      parts.isExcluded = try ValueType<Bool>.bool.read(node)
    },
    .init("localPorts") { node, parts throws(YAMLProblem) in
      parts.rule.localPorts = try condition(.portRange).read(node)
    },
    .init("remotePorts") { node, parts throws(YAMLProblem) in
      parts.rule.remotePorts = try condition(.portRange).read(node)
    },
    .init("remote") { node, parts throws(YAMLProblem) in
      parts.rule.networks = try condition(.network).read(node)
    },
    .init("uid") { node, parts throws(YAMLProblem) in
      parts.rule.users = try condition(.user).read(node)
    },
    .init("cgroup") { node, parts throws(YAMLProblem) in
      parts.rule.group = try ValueType<String>.controlGroup.read(node)
    },
    .init("process") { node, parts throws(YAMLProblem) in
      parts.rule.processes = try condition(.processName).read(node)
    },
    .init("protocol") { node, parts throws(YAMLProblem) in
      parts.rule.transports = [try ValueType<RuleProtocol>.word().read(node).transport]
    },
  ])

  /// A list that has something in it: an empty one could be meant as "any" or as "none".
  private static func condition<Item>(_ type: ValueType<Item>) -> ValueType<[Item]> {
    let list = ValueType<[Item]>.list(of: type)
    return ValueType<[Item]>(list.form) { node throws(YAMLProblem) in
      let items = try list.read(node)
      guard !items.isEmpty else {
        throw YAMLProblem(node.mark, "an empty list fits nothing; leave the condition out to fit everything")
      }
      return items
    } write: {
      list.write($0)
    }
  }

  private static func verdictEntries(_ verdict: SocketRule.Verdict) -> [(key: String, value: String)] {
    switch verdict {
    case .exclude: [("exclude", "true")]
    case .tag(let tags) where tags.count == 1:
      [("experiment", "\(tags[0].experiment)"), ("activity", "\(tags[0].activity)")]
    case .tag(let tags): [("tags", ValueType<[SciTag]>.list(of: .tag).write(tags))]
    }
  }

  private static func conditionEntries(_ rule: SocketRule) -> [(key: String, value: String)] {
    var entries: [(key: String, value: String)] = []
    func add<Item>(_ key: String, _ items: [Item], _ type: ValueType<Item>) {
      guard !items.isEmpty else { return }
      entries.append(
        (key, items.count == 1 ? type.write(items[0]) : ValueType<[Item]>.list(of: type).write(items)))
    }
    add("localPorts", rule.localPorts, .portRange)
    add("remotePorts", rule.remotePorts, .portRange)
    add("remote", rule.networks, .network)
    add("uid", rule.users, .user)
    if let group = rule.group { entries.append(("cgroup", ValueType<String>.controlGroup.write(group))) }
    add("process", rule.processes, .processName)
    if rule.transports.count == 1 { entries.append(("protocol", rule.transports[0].name)) }
    return entries
  }
}

private enum RuleProtocol: String, CaseIterable {
  case tcp, udp

  var transport: TransportProtocol { self == .tcp ? .tcp : .udp }
}

extension ValueType where Value == SocketRule.User {
  static let user = ValueType("a user's number or name") { node throws(YAMLProblem) in
    guard let text = node.text, !text.isEmpty else { throw node.expected("a user's number or name") }
    if let number = UInt32(text) { return SocketRule.User(number) }
    guard let number = UserAccount.number(of: text) else {
      throw YAMLProblem(node.mark, "this host has no user \"\(text)\"; a number works too")
    }
    return SocketRule.User(number, name: text)
  } write: { user in
    user.name.map(YAMLText.scalar) ?? "\(user.number)"
  }
}

extension ValueType where Value == String {
  /// The name of a process, which the kernel keeps 15 bytes of.
  fileprivate static let processName = ValueType(
    "the name of a process, 1 to 15 bytes as ps -o comm shows it"
  ) {
    node throws(YAMLProblem) in
    guard let text = node.text, (1...SocketRule.longestProcessName).contains(text.utf8.count),
      !text.contains("/")
    else {
      throw node.expected("the name of a process, 1 to 15 bytes as ps -o comm shows it")
    }
    return text
  } write: {
    YAMLText.scalar($0)
  }

  /// A control group, as systemd-cgls and /proc/PID/cgroup name it.
  static let controlGroup = ValueType("a control group such as /system.slice/xrootd.service") {
    node throws(YAMLProblem) in
    let form = "a control group such as /system.slice/xrootd.service"
    guard let text = node.text, text.hasPrefix("/"), !text.contains("\0") else { throw node.expected(form) }
    let parts = text.split(separator: "/")
    guard !parts.contains(".."), !parts.contains(".") else { throw node.expected(form) }
    if parts.starts(with: ["sys", "fs", "cgroup"]) {
      throw YAMLProblem(
        node.mark,
        "\(text): the path begins below the cgroup2 mount; did you mean /\(parts.dropFirst(3).joined(separator: "/"))?"
      )
    }
    return "/" + parts.joined(separator: "/")
  } write: {
    YAMLText.scalar($0)
  }
}

extension ValueType where Value == SocketSettings.Group {
  static let socketGroup = ValueType("auto, none, or the folder of a control group, from / on") {
    node throws(YAMLProblem) in
    switch node.plain {
    case "auto": return .root
    case "none": return .none
    default:
      guard let path = try? ValueType<String>.path.read(node) else {
        throw node.expected("auto, none, or the folder of a control group, from / on")
      }
      return .folder(path)
    }
  } write: {
    switch $0 {
    case .root: "auto"
    case .none: "none"
    case .folder(let path): YAMLText.scalar(path)
    }
  }
}
