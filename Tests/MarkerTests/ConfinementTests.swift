import Testing

@testable import Linux

@Suite struct ConfinementTests {
  @Test func theStatusFileSaysWhetherThereIsAFilter() {
    #expect(Confinement.filter(status: "Name:\tx\nSeccomp:\t0\nSeccomp_filters:\t0\n") == false)
    #expect(Confinement.filter(status: "Name:\tx\nSeccomp:\t2\nSeccomp_filters:\t1\n") == true)
    #expect(Confinement.filter(status: "Name:\tx\n") == nil, "a kernel without seccomp")
  }

  @Test func onlyTheInitialNamespaceMapsEveryUserToItself() {
    #expect(Confinement.isWhole(uidMap: "         0          0 4294967295\n"))
    #expect(!Confinement.isWhole(uidMap: "         0       1000          1\n"))
    #expect(!Confinement.isWhole(uidMap: "         0     100000      65536\n"))
    #expect(!Confinement.isWhole(uidMap: ""))
  }

  @Test func theGroupIsFoundUnderItsMount() {
    let listing = "5:memory:/a\n0::/system.slice/marker.service\n"
    #expect(
      ControlGroup.path(in: listing, [("/", "/sys/fs/cgroup")])
        == "/sys/fs/cgroup/system.slice/marker.service")
    #expect(ControlGroup.path(in: "0::/\n", [("/", "/sys/fs/cgroup/unified")]) == "/sys/fs/cgroup/unified")
    #expect(ControlGroup.path(in: listing, [("/system.slice", "/mnt")]) == "/mnt/marker.service")
    #expect(ControlGroup.path(in: "0::/system.slice\n", [("/system.slice", "/mnt")]) == "/mnt")
    // A part of the hierarchy that the group is not in, one whose name only begins the same, and none.
    #expect(ControlGroup.path(in: listing, [("/user.slice", "/mnt")]) == nil)
    #expect(ControlGroup.path(in: listing, [("/system", "/mnt")]) == nil)
    #expect(ControlGroup.path(in: listing, []) == nil)
    // Outside of the cgroup namespace; only version 1.
    #expect(ControlGroup.path(in: "0::/../other\n", [("/", "/sys/fs/cgroup")]) == nil)
    #expect(ControlGroup.path(in: "5:memory:/a\n", [("/", "/sys/fs/cgroup")]) == nil)
  }
}
