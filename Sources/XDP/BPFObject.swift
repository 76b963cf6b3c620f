internal import CBPF
internal import CLinux
internal import Glibc
internal import Linux
internal import Synchronization

/// The ELF image of a compiled BPF source, embedded at build time.
struct BPFObjectCode: Sendable {
  let name: String
  /// Bytes of `words` that belong to the image.
  let size: Int
  /// Words, because ELF wants the alignment.
  let words: [UInt64]
}

/// A loaded BPF object. Its programs and maps live as long as it does, and longer where a link holds them.
struct BPFObject: ~Copyable {
  private let raw: OpaquePointer

  /// - Parameters:
  ///   - program: the one to load, of those in the source: verifying takes milliseconds each.
  ///   - mapSizes: the most entries of maps whose size is not fixed in the source.
  ///   - shared: descriptors of another object's maps to use instead of own ones, by name.
  init(
    _ code: BPFObjectCode, program: String, mapSizes: [String: UInt32] = [:], shared: [String: Int32] = [:]
  ) throws(BPFError) {
    LibbpfLog.install()
    // Before 5.11 maps and programs count against RLIMIT_MEMLOCK. Later kernels do not ask, so failing is no error.
    _ = clinux_memlock_unlimited()
    var options = bpf_object_open_opts()
    options.sz = optionsSize(through: \bpf_object_open_opts.kernel_log_level)
    let opened = code.name.withCString { name in
      options.object_name = name
      return code.words.withUnsafeBytes { bpf_object__open_mem($0.baseAddress, code.size, &options) }
    }
    guard let opened else { throw .load(SystemError("open BPF object", code.name), log: LibbpfLog.take()) }
    for (name, size) in mapSizes {
      guard let map = bpf_object__find_map_by_name(opened, name) else {
        bpf_object__close(opened)
        throw .missing("map \(name)")
      }
      bpf_map__set_max_entries(map, size)
    }
    var other = bpf_object__next_program(opened, nil)
    while let candidate = other {
      bpf_program__set_autoload(candidate, String(cString: bpf_program__name(candidate)) == program)
      other = bpf_object__next_program(opened, candidate)
    }
    for (name, fd) in shared {
      let status = Self.map(name, of: opened).map { bpf_map__reuse_fd($0, fd) } ?? -ENOENT
      guard status == 0 else {
        bpf_object__close(opened)
        throw .map(SystemError("share BPF map", name, code: -status))
      }
    }
    let status = bpf_object__load(opened)
    guard status == 0 else {
      bpf_object__close(opened)
      throw .load(SystemError("load BPF object", code.name, code: -status), log: LibbpfLog.take())
    }
    _ = LibbpfLog.take()
    raw = opened
  }

  deinit { bpf_object__close(raw) }

  /// The descriptor of a program; the object owns it.
  borrowing func program(_ name: String) throws(BPFError) -> Int32 {
    guard let program = bpf_object__find_program_by_name(raw, name) else { throw .missing("program \(name)") }
    return bpf_program__fd(program)
  }

  /// The descriptor of a map; the object owns it.
  ///
  /// - Parameter name: as in the source, or `.bss` for the map that holds the source's global variables.
  borrowing func map(_ name: String) throws(BPFError) -> Int32 {
    guard let map = Self.map(name, of: raw) else { throw .missing("map \(name)") }
    return bpf_map__fd(map)
  }

  private static func map(_ name: String, of object: OpaquePointer) -> OpaquePointer? {
    if name != ".bss" { return bpf_object__find_map_by_name(object, name) }
    // libbpf puts a part of the object's name before the section's.
    var map = bpf_object__next_map(object, nil)
    while let candidate = map {
      if String(cString: bpf_map__name(candidate)).hasSuffix(name) { return candidate }
      map = bpf_object__next_map(object, candidate)
    }
    return nil
  }
}

/// libbpf reports by text only why it failed. It keeps the last lines so that an error can carry them.
enum LibbpfLog {
  private static let lines = Mutex<[String]>([])
  private static let limit = 12

  static func install() {
    libbpf_set_print { level, format, arguments in
      guard level == LIBBPF_WARN, let format, let arguments else { return 0 }
      var buffer = [CChar](repeating: 0, count: 1024)
      let count = vsnprintf(&buffer, buffer.count, format, arguments)
      let text = buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
      LibbpfLog.append(String(decoding: text, as: UTF8.self))
      return count
    }
  }

  /// What was reported since the last call.
  static func take() -> String {
    lines.withLock { lines in
      defer { lines.removeAll() }
      return lines.joined()
    }
  }

  private static func append(_ line: String) {
    lines.withLock { lines in
      if lines.count == limit { lines.removeFirst() }
      lines.append(line)
    }
  }
}
