import Glibc
import Linux
import Testing

@testable import XDP

/// Which of the many reasons for EPERM an operator is told.
@Suite struct BPFRefusalTests {
  private func need(
    _ code: Int32, unknown: Int32 = EINVAL, capable: Bool = true, filter: Bool? = false,
    initial: Bool? = true,
    setting: String? = "2"
  ) -> String {
    BPFRefusal(
      code: code, unknownCommand: unknown, hasCapability: capable,
      confinement: Confinement(hasFilter: filter, isInInitialUserNamespace: initial),
      unprivilegedDisabled: setting
    ).need
  }

  @Test func aMissingCapabilityIsNamedWithTheSetting() {
    #expect(need(EPERM, capable: false).contains("CAP_BPF"))
    #expect(need(EPERM, capable: false).contains("unprivileged_bpf_disabled is 2"))
    #expect(!need(EPERM, capable: false, setting: nil).contains("unprivileged"))
  }

  @Test func aFilterRefusesCommandsThatDoNotExistToo() {
    #expect(need(EPERM, unknown: EPERM, filter: true).contains("system call filter"))
    // Linux before 5.19 refuses every command to those without a capability.
    #expect(need(EPERM, unknown: EPERM, capable: false, filter: false).contains("CAP_BPF"))
    // There is a filter, and it is not what refuses.
    #expect(need(EPERM, capable: false, filter: true).contains("CAP_BPF"))
    #expect(need(ENOSYS, unknown: ENOSYS, filter: true).contains("system call filter"))
    #expect(need(ENOSYS, unknown: ENOSYS) == "a kernel with CONFIG_BPF_SYSCALL")
  }

  @Test func capabilitiesOfAnotherUserNamespaceDoNotCount() {
    #expect(need(EPERM, initial: false).contains("user namespace"))
    #expect(need(EPERM).contains("security module"))
    #expect(need(EPERM, initial: nil).contains("security module"))
  }
}
