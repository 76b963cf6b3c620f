import Flow
import Glibc
import Testing

@testable import Lab
@testable import Marker

/// What the packages are made of goes together. Whether they install and run is `make packagetest`.
@Suite struct PackagingTests {
  private let top = "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/")

  private func text(_ path: String) throws -> String { try shell("cat '\(top)/\(path)'") }

  /// systemd-analyze gives the exposure in tenths, and fails above the threshold.
  @Test func theUnitIsConfined() throws {
    try shell(
      "systemd-analyze security --offline=true --threshold=20 --no-pager \(top)/packaging/marker.service")
  }

  @Test(arguments: ["inline", "old-kernel", "process-rules"]) func theExamplesAreDropIns(name: String) throws
  {
    let folder = try shell("mktemp -d").filter { $0 != "\n" }
    defer { _ = try? shell("rm -r \(folder)") }
    // Its programs are in the package only.
    let result = try shell(
      """
      sed -E 's#^(Exec[A-Za-z]*=[-+]*)/usr/bin/marker#\\1/bin/true#' \(top)/packaging/marker.service > \(folder)/marker.service
      mkdir \(folder)/marker.service.d && cp \(top)/packaging/examples/\(name).conf \(folder)/marker.service.d/
      SYSTEMD_UNIT_PATH=\(folder): systemd-analyze verify --man=no --recursive-errors=no \(folder)/marker.service 2>&1
      """)
    #expect(!result.contains("marker.service"), "\(result)")
  }

  @Test func theUnitNamesTheExitStatusesThatStay() throws {
    #expect(
      try text("packaging/marker.service").contains(
        "RestartPreventExitStatus=\(ExitStatus.usage.rawValue) \(ExitStatus.configuration.rawValue)\n"))
  }

  @Test func theDefaultConfigurationSetsNothing() throws {
    let configuration = try configuration(try text("packaging/marker.yaml"))
    #expect(!configuration.saysSomething)
  }

  /// Each line that may be taken into use is right, together with the others.
  @Test func theDefaultConfigurationsExamplesAreRight() throws {
    let lines = try text("packaging/marker.yaml").split(separator: "\n").filter { line in
      // Settings, and what is indented below them; not sentences.
      line.hasPrefix("#") && (!line.hasPrefix("# ") || line.hasPrefix("#  "))
    }
    let all = try configuration(lines.map { $0.dropFirst() }.joined(separator: "\n") + "\n")
    #expect(all.settings.interfaces.names == ["eth0"])
    #expect(all.settings.markAll?.experiment == 2)
    #expect(all.settings.rules.count == 1)
    #expect(all.settings.collectors.count == 1)
  }

  @Test func theVersionIsOne() throws {
    #expect(try text("packaging/debian/changelog").hasPrefix("marker (\(Daemon.version)) "))
    #expect(try text("packaging/rpm/marker.spec").contains("global version_ \(Daemon.version)}"))
  }

  @Test func everyCommandOfTheDocumentationIsRunOrSaysWhyNot() throws {
    let lines = try shell("\(top)/packaging/test/commands").split(separator: "\n")
    #expect(lines.count > 20)
    #expect(lines.allSatisfy { $0.split(separator: "\t").count == 3 })
  }

  @Test func exitStatusesAreDocumented() throws {
    let rows = ExitStatus.allCases.map { "| \($0.rawValue) | \($0.meaning) |" }
    let found = try text("docs/operations.md").components(after: "## Exit status").filter {
      $0.hasPrefix("| ")
    }
    #expect(found.dropFirst() == rows[...])
  }

  /// The licence of everything that is linked in or loaded is named.
  @Test func theCopyrightNamesEveryDependency() throws {
    let copyright = try text("packaging/debian/copyright")
    for name in try text("Package.resolved").split(separator: "\n").filter({ $0.contains("\"identity\"") }) {
      let identity = name.split(separator: "\"")[3]
      #expect(copyright.contains(identity), "\(identity)")
    }
    #expect(copyright.contains("bpf/*"))
  }
}

extension String {
  /// The lines behind the one given.
  fileprivate func components(after line: String) -> [String] {
    let lines = split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
    guard let place = lines.firstIndex(of: line) else { return [] }
    return Array(lines[(place + 1)...])
  }
}
