import Flow

extension Configuration {
  /// What plugins.iperf3 finds, as a rule. flowd-go looks at TCP alone; its sources are local ports.
  mutating func takeRules(
    _ said: FlowdGoConfiguration, _ reading: Schema<FlowdGoConfiguration>.Reading,
    _ problems: inout [YAMLProblem]
  ) {
    let section = "plugins.iperf3"
    guard let mark = reading.places[section] else { return }
    func place(_ keys: String...) -> SourceMark {
      keys.lazy.compactMap { reading.places["\(section).\($0)"] }.first ?? mark
    }
    guard let local = said.sourcePorts.ranges else {
      problems.append(
        YAMLProblem(place("maxSourcePort"), "\(section): maxSourcePort is less than minSourcePort"))
      return
    }
    guard let remote = said.destinationPorts.ranges else {
      problems.append(
        YAMLProblem(
          place("maxDestinationPort"), "\(section): maxDestinationPort is less than minDestinationPort"))
      return
    }
    guard said.flowExperiments.count == said.flowActivities.count, !said.flowExperiments.isEmpty else {
      problems.append(
        YAMLProblem(
          place("activityIDs", "activityIds", "experimentIDs", "experimentIds"),
          "\(section): there are \(said.flowActivities.count) activityIDs and \(said.flowExperiments.count) "
            + "experimentIDs; each activity needs its experiment"))
      return
    }
    var tags: [SciTag] = []
    for (experiment, activity) in zip(said.flowExperiments, said.flowActivities) {
      do throws(SciTagError) {
        tags.append(try SciTag(experiment: Int(experiment), activity: Int(activity)))
      } catch {
        problems.append(YAMLProblem(place("experimentIDs", "experimentIds"), "\(section): \(error)"))
        return
      }
    }
    if tags.contains(where: { !$0.namesExperiment }) {
      warnings.append(
        Warning(
          mark: place("experimentIDs", "experimentIds"),
          message:
            "\(section) has experiment 0, which names none: flows that get it are announced and not marked"))
    }
    settings.rules = [
      SocketRule(.tag(tags), localPorts: local, remotePorts: remote, transports: [.tcp])
    ]
    set(.file(line: mark.line), of: "rules")
    // flowd-go's default is where all of the host is, wherever that is mounted.
    if let mark = reading.places["\(section).cgroupPath"], said.group != FlowdGoConfiguration().group {
      settings.sockets.group = .folder(said.group)
      set(.file(line: mark.line), of: "sockets.cgroup")
    }
  }
}
