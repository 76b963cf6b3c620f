import ArgumentParser
import Glibc
import Testing

@testable import Lab
@testable import Marker

/// The manual pages are made of what the program says of itself, and troff takes them without a word.
@Suite struct ManualTests {
  private let top = "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/")

  /// A page as it is read, without line breaks.
  private func page(_ name: String, warnings: inout String) throws -> String {
    let folder = try shell("mktemp -d").filter { $0 != "\n" }
    defer { _ = try? shell("rm -r \(folder)") }
    try shell("\(top)/scripts/make-manual \(MarkerProcess.binary) \(folder)")
    warnings = try shell("groff -ww -man -Tutf8 \(folder)/\(name) 2>&1 >/dev/null")
    warnings += try shell(
      "LC_ALL=C.UTF-8 man --warnings -E UTF-8 -l -Tutf8 -Z \(folder)/\(name) 2>&1 >/dev/null")
    // -rLL is the line length; -c and col leave plain text.
    return try shell("groff -c -man -Tutf8 -rLL=400n \(folder)/\(name) | col -bx").split(
      whereSeparator: \.isWhitespace
    ).joined(separator: " ")
  }

  @Test func theCommandsPageHasEveryOption() throws {
    var warnings = ""
    let page = try page("marker.1", warnings: &warnings)
    #expect(warnings == "")
    for setting in Setting.all { if let flag = setting.flag { #expect(page.contains(flag), "\(flag)") } }
    for command in MarkerCommand.configuration.subcommands where command.configuration.shouldDisplay {
      #expect(page.contains("marker \(command._commandName)"), "\(command)")
      #expect(page.contains(command.configuration.abstract), "\(command)")
    }
    #expect(!page.contains("prepare"), "what only the unit runs is no part of the manual")
    for status in ExitStatus.allCases { #expect(page.contains(status.meaning)) }
    // What troff would eat: backslashes, a line that begins with a dot, dashes that are copied.
    #expect(
      page.contains("echo \"start tcp 2001:db8::1 34567 2001:db8::2 1094 atlas 17\" > /var/run/flowd-go/np"))
  }

  @Test func theConfigurationsPageHasEverySetting() throws {
    var warnings = ""
    let page = try page("marker.yaml.5", warnings: &warnings)
    #expect(warnings == "")
    for setting in Setting.all {
      #expect(page.contains(" \(setting.path) "), "\(setting.path)")
      #expect(page.contains("default: \(setting.defaultText) "), "\(setting.path)")
    }
  }
}
