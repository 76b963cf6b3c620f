import CLinux
import Glibc
import Linux

/// Wakes a thread that sleeps.
struct Alarm: ~Copyable, Sendable {
  private let eventDescriptor: Descriptor

  init() throws(SystemError) {
    eventDescriptor = try Descriptor("eventfd") { eventfd(0, Int32(EFD_CLOEXEC | EFD_NONBLOCK)) }
  }

  /// Readable once it rang.
  var descriptor: Int32 { eventDescriptor.raw }

  func ring() { _ = eventfd_write(eventDescriptor.raw, 1) }

  /// Sleeps until the alarm rings, or rang since the last sleep, or the time is over.
  func sleep(milliseconds: Int32) {
    var entry = pollfd(fd: eventDescriptor.raw, events: Int16(POLLIN), revents: 0)
    _ = poll(&entry, 1, milliseconds)
    var rings: eventfd_t = 0
    _ = eventfd_read(eventDescriptor.raw, &rings)
  }
}
