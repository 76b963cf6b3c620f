import BenchReport
import Testing

@Suite struct MachineTests {
  /// Lines as Linux prints them on x86_64 and on arm64.
  @Test func processors() {
    let intel =
      "processor\t: 0\nmodel\t\t: 143\nmodel name\t: Intel(R) Xeon(R) @ 2.00GHz\nflags\t\t: fpu hypervisor avx\n"
    #expect(Machine.processor(cpuinfo: intel) == ("Intel(R) Xeon(R) @ 2.00GHz", true))
    #expect(Machine.processor(cpuinfo: "model name\t: B\nflags\t: fpu hypervisors\n") == ("B", false))
    let arm = "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd40\n"
    #expect(Machine.processor(cpuinfo: arm) == ("implementer 0x41, part 0xd40", false))
    #expect(Machine.processor(cpuinfo: "") == ("unknown", false))
  }

  @Test func versions() {
    #expect(
      Machine.swift(version: "Swift version 6.3.1 (swift-6.3.1-RELEASE)\nTarget: x86_64-unknown-linux-gnu\n")
        == "6.3.1")
    #expect(Machine.swift(version: "sh: swift: not found") == "unknown")
  }
}
