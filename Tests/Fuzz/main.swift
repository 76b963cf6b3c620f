import CFuzz
import Glibc

guard FuzzTarget.chosen != nil else {
  print("fuzz: FUZZ_TARGET has to be one of: \(FuzzTarget.all.map(\.name).joined(separator: " "))")
  exit(64)
}
var count = CommandLine.argc
var arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>? = CommandLine.unsafeArgv
exit(
  LLVMFuzzerRunDriver(&count, &arguments) { bytes, size in
    FuzzTarget.chosen?.run(UnsafeRawBufferPointer(start: bytes, count: size))
    return 0
  })
