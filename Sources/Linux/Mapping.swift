internal import Glibc

/// Memory mapped by mmap(2), readable and writable, and unmapped once.
public struct Mapping: ~Copyable {
  public let start: UnsafeMutableRawPointer
  /// Bytes.
  public let size: Int

  /// - Parameters:
  ///   - subject: for the error.
  ///   - flags: `MAP_SHARED` and the like.
  ///   - descriptor: of what is mapped; -1 with `MAP_ANONYMOUS`.
  ///   - place: where in it, bytes.
  public init(
    _ subject: String, size: Int, flags: Int32, _ descriptor: Int32 = -1, at place: Int = 0
  ) throws(SystemError) {
    guard let mapped = mmap(nil, size, PROT_READ | PROT_WRITE, flags, descriptor, place), mapped != MAP_FAILED
    else { throw SystemError("mmap", subject) }
    start = mapped
    self.size = size
  }

  deinit { munmap(start, size) }
}
