import Linux

/// The file in which perfSONAR hosts with several cards name them: shell assignments, of which `NIC_NAMES=(eth0 "eth1")`
/// is read. Nothing of it is run.
enum MultiNICFile {
  static let path = "/etc/perfSONAR-multi-nic-config.conf"

  /// The names; none where there is no such file, or it says nothing that can be read.
  static func interfaces(root: String = "") -> [String] {
    guard let text = try? contents(ofSmallFile: root + path) else { return [] }
    return interfaces(in: text)
  }

  static func interfaces(in text: String) -> [String] {
    // Comments first: a parenthesis in one would end the list.
    let lines = text.split(separator: "\n").map { line in String(line.prefix { $0 != "#" }) }
    let code = lines.joined(separator: "\n")
    var names: [String] = []
    for assignment in code.split(separator: "NIC_NAMES=(", omittingEmptySubsequences: false).dropFirst() {
      // As in a shell, the last assignment holds.
      let words = assignment.prefix { $0 != ")" }.split { $0.isWhitespace }
      names = words.map { word in word.filter { $0 != "\"" && $0 != "'" } }
    }
    // A word that the shell would have to expand is no name.
    return names.filter { !$0.isEmpty && !$0.contains("$") && !$0.contains("`") }
  }
}
