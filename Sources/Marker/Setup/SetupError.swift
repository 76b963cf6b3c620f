/// Why `marker setup` did not do what it was asked for.
enum SetupError: Error, CustomStringConvertible {
  case activityAlone
  case noInterface(String, [String])
  /// Neither perfSONAR's file nor the routes name one.
  case noInterfaceFound
  case notConfirmed
  case failed(String, Int32)
  case needsRoot

  var description: String {
    switch self {
    case .activityAlone: "--activity says nothing without --experiment"
    case .noInterface(let name, let present):
      "no interface \(name) here; there are \(present.joined(separator: ", "))"
    case .noInterfaceFound:
      "no interface was found that traffic leaves through: name it with --interfaces, as `ip link` lists them"
    case .notConfirmed: "nothing was changed: answer y, or give --yes"
    case .failed(let command, let status):
      "`\(command)` ended with status \(status); `journalctl -u marker -n 30` says more"
    case .needsRoot: "this needs root; --dry-run shows what would be done"
    }
  }
}
