import Flow
import Glibc
import Lab
import Linux
import Testing

/// What the probe says, against what is so. The kernel is one that has everything: each test takes something away.
@Suite(.enabled(if: geteuid() == 0, "needs root"), .serialized) struct ProbeLabTests {
  private static let privileges = "setpriv --no-new-privs --inh-caps=-all --bounding-set=-all"

  @Test func rootCanDoItAll() throws {
    let namespace = try NetworkNamespace()
    let (output, status) = try namespace.run { try ProbeOutput.of() }
    #expect(status == 0 && output.problem == nil)
    #expect(output.ipv6?.path == "sock" && output.ipv4?.path == "sock")
    for group in ["tc", "nft", "sock", "sockets"] {
      #expect(output.verdicts(group) == ["yes"], "\(output.tried.filter { $0.group == group })")
    }
    let tolerated = ["kernel lockdown", "bpf file system", "locked memory without limit"]
    for row in output.tried where row.group == "kernel" && !tolerated.contains(row.what) {
      #expect(row.verdict == "yes", "\(row)")
    }
    #expect(try output.row("AF_XDP on veth: native program, copy").verdict == "yes")
    #expect(try output.row("AF_XDP on veth: generic program, copy").verdict == "yes")
    let zeroCopy = try output.row("AF_XDP on veth: zero-copy")
    #expect(zeroCopy.verdict == "no" && zeroCopy.answer.contains("not supported"))
    #expect(output.interfaces.isEmpty, "nothing but a loopback device")
  }

  @Test func interfacesAsTheyAre() throws {
    let namespace = try NetworkNamespace()
    try namespace.shell(
      """
      ip link add br0 type bridge && ip link add v0 type veth peer name v1 && ip link set v0 master br0
      ip addr add 2001:db8::1/64 dev v1 nodad && ip link set v1 up mtu 1400
      ip -6 route add default via 2001:db8::9 dev v1
      ip addr add 192.0.2.1/24 dev br0
      """)
    let tunnel = try Tunnel(in: namespace)
    let (output, _) = try namespace.run { try ProbeOutput.of() }
    withExtendedLifetime(tunnel) {}
    let named = Dictionary(uniqueKeysWithValues: output.interfaces.map { ($0.name, $0) })
    #expect(Set(named.keys) == ["br0", "v0", "v1", "tun0"])
    let (v0, v1, br0) = (
      try #require(named["v0"]), try #require(named["v1"]), try #require(named["br0"])
    )
    #expect(v0.master == "br0" && v0.kind == "veth" && !v0.up && v0.coveredBy == nil)
    #expect(v1.up && v1.mtu == 1400 && v1.defaultRoute && v1.globalAddress)
    #expect(v1.discoveredBy == ["defaultRoute", "globalAddress"])
    #expect(!br0.defaultRoute && br0.globalAddress && br0.discoveredBy == ["globalAddress"])
    #expect(v1.xdp?.contains("native") ?? true, "veth runs programs itself, where the kernel tells")
    #expect(v1.linkHeader == "ethernet" && named["tun0"]?.linkHeader == "none")
    let chosen = try namespace.run { try ProbeOutput.of("--interface 'v*'").output.interfaces }
    #expect(chosen.map(\.name).sorted() == ["v0", "v1"])
    let discovered = try namespace.run { try ProbeOutput.of("--discover defaultRoute").output.interfaces }
    #expect(discovered.map(\.name) == ["v1"])
  }

  @Test func withoutAnyCapability() throws {
    let (output, status) = try ProbeOutput.of(by: "\(Self.privileges) PROBE")
    #expect(status == 1, "nothing is proven")
    #expect(try output.row("CAP_BPF").verdict == "no")
    let call = try output.row("bpf(2)")
    #expect(call.verdict == "no" && call.needs.contains("CAP_BPF"), "\(call)")
    #expect(try output.row("map of AF_XDP sockets (xskmap)").verdict == "untried")
    #expect(output.verdicts("tc") == ["untried"], "no namespace to try it in")
    #expect(output.verdicts("nft") == ["untried"])
    #expect(try output.row("tc by tcx: the flow label on IPv6").needs.contains("CAP_SYS_ADMIN"))
    #expect(try output.row("packet socket with vnet headers").needs == "CAP_NET_RAW")
    #expect(try output.row("sock_diag").verdict == "yes", "everybody may ask")
  }

  @Test func asAnotherUser() throws {
    // A copy, where the build folder is closed to others.
    let folder = try shell("mktemp -d /tmp/marker-lab-XXXXXX").filter { $0 != "\n" }
    defer { _ = try? shell("rm -rf \(folder)") }
    try shell("chmod 755 \(folder) && cp \(MarkerProcess.binary) \(folder)/marker")
    let (output, status) = try ProbeOutput.of(
      by: "setpriv --reuid 65534 --regid 65534 --clear-groups PROBE", binary: "\(folder)/marker")
    #expect(status == 1)
    #expect(try output.row("bpf(2)").verdict == "no")
    #expect(try output.row("sock_ops attached to a control group").verdict == "no")
    #expect(!output.verdicts("tc").contains("yes") && !output.verdicts("nft").contains("yes"))
  }

  @Test func withoutCapBPFOnly() throws {
    let without = "setpriv --inh-caps=-bpf,-sys_admin --bounding-set=-bpf,-sys_admin PROBE"
    let (output, _) = try ProbeOutput.of(by: without)
    #expect(try output.row("CAP_NET_ADMIN").verdict == "yes" && output.row("CAP_BPF").verdict == "no")
    #expect(try output.row("bpf(2)").needs.contains("CAP_BPF"))
    #expect(try output.row("packet socket with vnet headers").verdict == "yes")
  }

  @Test(arguments: [EPERM, ENOSYS]) func aFilterThatRefusesBPF(code: Int32) throws {
    let (output, status) = try refusingBPF(with: code) { () throws(SystemError) in
      Result { try ProbeOutput.of() }
    }.get()
    #expect(try output.row("no system call filter").verdict == "untried")
    let call = try output.row("bpf(2)")
    #expect(call.verdict == "no" && call.needs.contains("system call filter"), "\(call)")
    #expect(!output.verdicts("tc").contains("yes"))
    #expect(output.verdicts("nft") == ["yes"], "nftables asks for no BPF")
    #expect(output.ipv6?.path == "nft" && output.ipv4?.path == "nft" && status == 0)
  }

  @Test func asRootOfAnotherUserNamespace() throws {
    let (output, status) = try ProbeOutput.of(by: "unshare --user --map-root-user PROBE")
    #expect(try output.row("the host's user namespace").verdict == "no")
    #expect(try output.row("CAP_BPF").verdict == "yes", "which is why it has to be tried")
    let call = try output.row("bpf(2)")
    #expect(call.verdict == "no" && call.needs.contains("user namespace"), "\(call)")
    #expect(output.verdicts("nft") == ["yes"] && output.ipv6?.path == "nft" && status == 0)
  }

  @Test func theTableSaysTheSame() throws {
    let namespace = try NetworkNamespace()
    let table = try namespace.shell("\(MarkerProcess.binary) probe")
    let (output, _) = try namespace.run { try ProbeOutput.of() }
    let headings = table.split(separator: "\n").filter { !$0.hasPrefix(" ") }
    #expect(
      headings == [
        "process", "kernel", "tc", "nft", "sock", "sockets", "AF_XDP", "inline", "interfaces",
        "decision for strategy auto, path auto",
      ])
    for row in output.tried {
      let line = table.split(separator: "\n").first { $0.hasPrefix("  \(row.what)  ") }
      #expect(line?.dropFirst(row.what.count + 2).trimmingPrefix { $0 == " " }.hasPrefix(row.verdict) == true)
    }
  }

  @Test func theBPFFileSystem() throws {
    func probe(_ prepare: String) throws -> ProbeOutput.Row {
      let script = "umount /sys/fs/bpf 2>/dev/null; \(prepare); PROBE"
      return try ProbeOutput.of(by: "unshare --mount --propagation private sh -c '\(script)'")
        .output.row("bpf file system")
    }
    let without = try probe("true")
    #expect(without.verdict == "no" && without.needs == "mount -t bpf bpf /sys/fs/bpf")
    #expect(try probe("mount -t bpf bpf /sys/fs/bpf").verdict == "yes")
    #expect(try probe("mount -t bpf -o ro bpf /sys/fs/bpf").verdict == "no", "read-only")
  }

  @Test func withoutControlGroups() throws {
    let script = "umount -l $(awk \"\\$9 == \\\"cgroup2\\\" {print \\$5}\" /proc/self/mountinfo); PROBE"
    let (output, _) = try ProbeOutput.of(by: "unshare --mount --propagation private sh -c '\(script)'")
    let row = try output.row("sock_ops attached to a control group")
    #expect(row.verdict == "no" && row.needs.contains("cgroup2"), "\(row)")
    #expect(try output.row("program for TCP's events (sock_ops)").verdict == "yes")
  }
}
