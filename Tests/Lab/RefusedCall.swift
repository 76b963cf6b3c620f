import CLinux
import Glibc
public import Linux

/// Runs the body on a thread that the kernel refuses bpf(2), as containers and strict service managers do (seccomp(2)).
/// Processes and threads started there are refused it too, for good; the rest of this process is not.
///
/// - Parameter code: the errno that the call gives.
public func refusingBPF<T: ~Copyable>(
  with code: Int32, _ body: () throws(SystemError) -> T
) throws(SystemError) -> T {
  #if arch(x86_64)
    let number: UInt32 = 321
  #else
    let number: UInt32 = 280  // include/uapi/asm-generic/unistd.h
  #endif
  // Classic BPF on struct seccomp_data, which begins with the call's number: load it, compare, answer.
  // SECCOMP_RET_ERRNO and SECCOMP_RET_ALLOW of <linux/seccomp.h>.
  let filter = [
    sock_filter(code: 0x20, jt: 0, jf: 0, k: 0),
    sock_filter(code: 0x15, jt: 0, jf: 1, k: number),
    sock_filter(code: 0x06, jt: 0, jf: 0, k: 0x0005_0000 | UInt32(code)),
    sock_filter(code: 0x06, jt: 0, jf: 0, k: 0x7fff_0000),
  ]
  return try onThread { () throws(SystemError) -> T in
    try system("seccomp") { clinux_seccomp(filter, UInt16(filter.count)) }
    return try body()
  }
}
