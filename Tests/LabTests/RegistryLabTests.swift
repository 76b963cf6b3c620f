import Glibc
import Lab
import Linux
import Testing

/// `marker registry update` from a server and from files.
@Suite(.enabled(if: geteuid() == 0, "needs root")) struct RegistryLabTests {
  private static func registry(_ name: String, _ date: String) -> String {
    "{\"experiments\":[{\"expName\":\"\(name)\",\"expId\":77,\"activities\":[{\"activityName\":\"Thaw\",\"activityId\":5}]}],"
      + "\"version\":1,\"modified\":\"\(date)\"}"
  }

  /// Runs in the folder; the status comes last.
  private func run(_ host: NetworkNamespace, _ folder: String, _ arguments: String, path: String? = nil)
    throws -> String
  {
    try host.shell(
      "cd \(folder) && \(path.map { "PATH=\($0) " } ?? "")\(MarkerProcess.binary) registry \(arguments) 2>&1; echo status $?"
    )
  }

  @Test func updates() throws {
    let host = try NetworkNamespace()
    let folder = try shell("mktemp -d /tmp/marker-registry-XXXXXX").filter { $0 != "\n" }
    defer { _ = try? shell("rm -rf \(folder)") }
    for (file, text) in [
      ("new.json", Self.registry("icefield", "2026-02-01T00:00:00Z")),
      ("old.json", Self.registry("glacier", "2025-12-01T00:00:00Z")), ("broken.json", "{\"experiments\":["),
    ] {
      try shell("cat > \(folder)/\(file) <<'EOF'\n\(text)\nEOF")
    }
    let server = try host.run { () throws(SystemError) in
      try startShell("cd \(folder) && exec python3 -m http.server --bind 127.0.0.1 8000 >\(folder)/log 2>&1")
    }
    defer {
      kill(server, SIGKILL)
      waitpid(server, nil, 0)
    }
    try host.shell(
      "for i in $(seq 1000); do curl -s -o \(folder)/probe http://127.0.0.1:8000/new.json && break; sleep 0.01; done"
    )

    let url = "http://127.0.0.1:8000"
    let updated = try run(host, folder, "update \(url)/new.json --to used.json")
    #expect(updated.contains("of 2026-02-01T00:00:00Z") && updated.contains("status 0"), "\(updated)")
    let used = try shell("cat \(folder)/used.json")
    #expect(used == (try shell("cat \(folder)/new.json")))
    let found = try run(host, folder, "find thaw --registry used.json")
    #expect(found.contains("77/5  icefield/Thaw") && found.contains("status 0"), "\(found)")
    #expect(try run(host, folder, "list icefield --registry used.json").contains("used.json"))
    let shown = try run(host, folder, "show icefield Thaw --registry used.json")
    #expect(shown.contains("experiment 77, activity 5") && shown.contains("flow label"), "\(shown)")

    for (source, reason) in [
      ("\(url)/broken.json", "expected"), ("broken.json", "expected"),
      ("\(url)/nothing.json", "could not fetch it"),
      ("old.json", "older than what is in use"), ("http://127.0.0.1:1/x", "could not fetch it"),
      ("ftp://127.0.0.1/x", "https:// or http://"), ("nothing.json", "No such file"),
    ] {
      let said = try run(host, folder, "update \(source) --to used.json")
      let status = source == "nothing.json" ? 71 : 1
      #expect(said.contains(reason) && said.contains("status \(status)"), "\(source): \(said)")
      #expect(try shell("cat \(folder)/used.json") == used, "\(source)")
    }
    let lacking = try run(host, folder, "update \(url)/new.json --to used.json", path: folder)
    #expect(lacking.contains("takes curl") && lacking.contains("marker registry update FILE"), "\(lacking)")
    #expect(try run(host, folder, "update old.json --older --to used.json").contains("status 0"))
    #expect(try shell("ls \(folder)").contains(".new") == false)
    #expect(try run(host, folder, "list --registry broken.json").contains("status 1"))
  }
}
