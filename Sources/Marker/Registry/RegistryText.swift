import Firefly
import Flow

/// The registry as people and programs read it.
enum RegistryText {
  static func table(_ experiments: [Registry.Experiment], withActivities: Bool) -> String {
    var rows: [[String]] = []
    for experiment in experiments {
      guard withActivities else {
        rows.append(["\(experiment.number)", experiment.name, "\(experiment.activities.count) activities"])
        continue
      }
      rows.append(["\(experiment.number)", experiment.name])
      rows += experiment.activities.map {
        ["\(experiment.number)/\($0.number)", "\(experiment.name)/\($0.name)"]
      }
    }
    return TextTable.text(rows)
  }

  static func json(_ file: RegistryFile, _ experiments: [Registry.Experiment]) -> String {
    let list = experiments.map { experiment in
      let activities = experiment.activities.map {
        JSONText.object([("number", "\($0.number)"), ("name", JSONText.quoted($0.name))])
      }
      return JSONText.object([
        ("number", "\(experiment.number)"), ("name", JSONText.quoted(experiment.name)),
        ("activities", JSONText.list(activities)),
      ])
    }
    return JSONText.object([
      ("modified", JSONText.quoted(file.registry.modified)),
      ("file", file.path.map(JSONText.quoted) ?? "null"),
      ("experiments", JSONText.list(list)),
    ])
  }

  /// Experiments whose name or number it is with all their activities, and others with those activities that have it in
  /// their name.
  static func find(_ text: String, in registry: Registry) -> [Registry.Experiment] {
    let wanted = text.lowercased()
    return registry.experiments.compactMap { experiment in
      if "\(experiment.number)" == wanted || experiment.name.lowercased().contains(wanted) {
        return experiment
      }
      let activities = experiment.activities.filter {
        $0.name.lowercased().contains(wanted) || "\(experiment.number)/\($0.number)" == wanted
      }
      return activities.isEmpty
        ? nil
        : Registry.Experiment(number: experiment.number, name: experiment.name, activities: activities)
    }
  }

  /// What has no date is older than all that has one.
  static func time(_ modified: String) -> WallClockTime {
    Timestamp.read(Array(modified.utf8).span) ?? WallClockTime(microseconds: .min)
  }
}
