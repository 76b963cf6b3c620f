import Glibc

/// What is fed with inputs, by name.
struct FuzzTarget: Sendable {
  let name: String
  /// Ends the process where something does not hold.
  let run: @Sendable (UnsafeRawBufferPointer) -> Void

  static let all = [
    firefly, syslog, stun, pipe, yaml, http, json, capture, registry, rtnetlink, sockdiag, nftables, rewriter,
  ]

  /// The one that the environment names. libFuzzer starts this program again for its own purposes, with its own
  /// arguments, so these cannot name it.
  static let chosen = getenv("FUZZ_TARGET").flatMap { name in all.first { $0.name == String(cString: name) } }
}

/// A property that an input has broken ends the process: libFuzzer keeps the input.
func require(
  _ condition: Bool, _ property: @autoclosure () -> String, file: StaticString = #file, line: UInt = #line
) {
  if !condition { fatalError(property(), file: file, line: line) }
}
