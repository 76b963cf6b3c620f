internal import Glibc
internal import Linux

extension NFTPath {
  /// What the kernel's answer means, and what would help.
  static func explain(_ error: BatchError) -> String {
    switch error {
    case .system(let error): explain(error)
    case .refused, .unanswered: "\(error)" + hint(error.code)
    }
  }

  static func explain(_ error: SystemError) -> String {
    let missing = [EPROTONOSUPPORT, EAFNOSUPPORT, EINVAL, EOPNOTSUPP].contains(error.code)
    return "\(error)"
      + (missing
        ? "; is the kernel without nf_tables (CONFIG_NF_TABLES, module nf_tables)?" : hint(error.code))
  }

  private static func hint(_ code: Int32) -> String {
    switch code {
    case EPERM, EACCES: "; this needs CAP_NET_ADMIN"
    case EOPNOTSUPP, ENOENT:
      "; is the kernel without CONFIG_NF_TABLES_INET or one of its parts (modules nf_tables, nft_hash)?"
    case ENFILE, ENOSPC: "; the set is full"
    case ENOMEM, ENOBUFS: "; the kernel is short of memory for it"
    default: ""
    }
  }
}
