import Firefly
import Flow
import Glibc
import Testing

@testable import Lab
@testable import Marker

/// `marker setup` on a root of its own. On a host with systemd and flowd-go it is run by `make packagetest`.
@Suite struct SetupTests {
  private let root: String
  private let fixtures =
    "/" + #filePath.split(separator: "/").dropLast(2).joined(separator: "/") + "/Fixtures/configs"

  init() throws {
    root = try shell("mktemp -d /tmp/marker-setup-XXXXXX").filter { $0 != "\n" }
    // What `systemctl --root` wants to enable.
    try shell("mkdir -p \(root)/etc/marker \(root)/etc/flowd-go \(root)/usr/lib/systemd/system")
    try shell(
      "printf '[Install]\\nWantedBy=multi-user.target\\n' > \(root)/usr/lib/systemd/system/marker.service")
  }

  private func setup(_ arguments: String, input: String = "") throws -> String {
    try shell("printf '\(input)' | \(MarkerProcess.binary) setup --root \(root) \(arguments) 2>&1")
  }

  /// What it says where it fails.
  private func failure(_ arguments: String) throws -> String { try setup("\(arguments) && exit 9 || true") }

  private var file: String { "\(root)/etc/marker/marker.yaml" }
  private func written() throws -> Configuration { try Configuration(file: file) }

  @Test func takesOverFlowdGo() throws {
    defer { _ = try? shell("rm -r \(root)") }
    try shell(
      "cp \(fixtures)/osg-htc-perfsonar.yaml \(root)/etc/flowd-go/conf.yaml; echo '# empty' > \(file)")
    let first = try setup("--yes")
    #expect(first.contains("flowd-go's \(root)/etc/flowd-go/conf.yaml is taken over"))
    let settings = try written().settings
    #expect(settings.markAll?.packed == 130)
    #expect(settings.interfaces.names == ["eth0", "eth1"])
    #expect(settings.collectors.map(\.host) == ["global.scitags.org"])
    #expect(
      try shell("readlink \(root)/etc/systemd/system/multi-user.target.wants/marker.service").contains(
        "marker"))
    #expect(try shell("cat \(file).before-*") == "# empty\n")

    let second = try setup("--yes")
    #expect(second.contains("is as it should be"), "\(second)")
    #expect(!second.contains("systemctl --root"), "\(second)")
  }

  @Test func wishesLieOverWhatIsThere() throws {
    defer { _ = try? shell("rm -r \(root)") }
    try shell("printf 'interfaces: [eth7]\\nrestart: {keep: false}\\n' > \(file)")
    _ = try setup(
      "--yes --experiment-id cms --activity-id 14 --firefly-receiver a.example.org --firefly-receiver-port 99 --firefly-bind-port 10515"
    )
    let settings = try written().settings
    #expect(settings.markAll == SciTag(packed: 206))
    #expect(settings.interfaces.names == ["eth7"])
    #expect(settings.collectors.map { "\($0)" } == ["a.example.org:99"])
    #expect(settings.listen.addresses.map(\.port) == [10515])
    #expect(settings.listen.relays)
    #expect(!settings.keepsMarks, "what was not asked for stays")
    #expect(try failure("--yes --activity 3").contains("without --experiment"))
    _ = try setup("--yes --experiment none --no-firefly-receiver")
    #expect(try written().settings.markAll == nil)
    #expect(try written().settings.collectors.isEmpty)
  }

  @Test func perfSONARsFileNamesInterfaces() throws {
    defer { _ = try? shell("rm -r \(root)") }
    try shell(
      "printf '# (old)\\nNIC_NAMES=(\\n  \"eno1\" # first\\n  eno2\\n)\\n' > \(root)\(MultiNICFile.path)")
    #expect(try setup("--yes --experiment atlas").contains("names them"))
    #expect(try written().settings.interfaces.names == ["eno1", "eno2"])
  }

  @Test func nothingOfThatFileIsRun() {
    #expect(MultiNICFile.interfaces(in: "NIC_NAMES=(${OTHER} `id` eth0 'eth1')") == ["eth0", "eth1"])
    // A parenthesis of the shell's ends the list early: fewer names are better than wrong ones.
    #expect(MultiNICFile.interfaces(in: "NIC_NAMES=($(reboot) eth0)") == [])
    #expect(MultiNICFile.interfaces(in: "NIC_NAMES=(a)\nNIC_NAMES=(b c)\nOTHERS=(d)") == ["b", "c"])
    #expect(MultiNICFile.interfaces(in: "# NIC_NAMES=(a)") == [])
    #expect(MultiNICFile.interfaces(in: "NIC_NAMES=(") == [])
  }

  @Test func asksAndTakesNoForAnAnswer() throws {
    defer { _ = try? shell("rm -r \(root)") }
    let asked = try setup("--interfaces eth0 --no-collector", input: "nowhere\\natlas\\ny\\n")
    #expect(asked.contains("nowhere"), "a name that nobody has is refused, and asked for again")
    #expect(try written().settings.markAll?.packed == 130)
    try shell("rm \(file)")
    #expect(try setup("--interfaces eth0 || true", input: "atlas\\nn\\n").contains("nothing was changed"))
    #expect(access(file, F_OK) != 0)
  }

  @Test func aDryRunWritesNothing() throws {
    defer { _ = try? shell("rm -r \(root)") }
    #expect(try setup("--dry-run --interfaces eth0").contains("nothing was done"))
    #expect(access(file, F_OK) != 0)
  }

  @Test func uninstallPutsTheConfigurationAside() throws {
    defer { _ = try? shell("rm -r \(root)") }
    _ = try setup("--yes --interfaces eth0 --experiment atlas")
    _ = try setup("--yes --uninstall")
    #expect(access(file, F_OK) != 0)
    #expect(try shell("cat \(file).before-*").contains("eth0"))
    #expect(try shell("ls \(root)/etc/systemd/system/multi-user.target.wants 2>/dev/null || true") == "")
    #expect(try setup("--yes --uninstall").contains("done"), "twice is as good as once")
  }

  @Test(arguments: [
    ("--experiment nowhere", "nowhere"),
    ("--experiment atlas --interfaces eth0 --collector a,b", "has \",\" in its name"),
    ("--experiment atlas --interfaces a-very-long-interface", "1 to 15 characters"),
    ("--experiment atlas", "--interfaces"), ("--uninstall --experiment atlas", "takes no settings"),
    ("--experiment atlas --activity 64 --interfaces eth0", "64"),
  ]) func refuses(arguments: String, words: String) throws {
    defer { _ = try? shell("rm -r \(root)") }
    let said = try failure("--yes \(arguments)")
    #expect(said.contains("Error: ") && said.contains(words), "\(said)")
    #expect(access(file, F_OK) != 0)
  }

  @Test func aBrokenConfigurationIsNotOverwritten() throws {
    defer { _ = try? shell("rm -r \(root)") }
    try shell("echo 'interfaces: {' > \(file)")
    #expect(try failure("--yes --experiment atlas").contains("\(file):2:1"))
    #expect(try shell("cat \(file)") == "interfaces: {\n")
  }
}
