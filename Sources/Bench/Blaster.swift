import CLinux
import Flow
import Glibc
import Lab
import Linux
import Synchronization

/// Small datagrams, as many as a thread sends, and a thread that counts those that arrive.
final class Blaster {
  private let near: LabSocket
  private let far: LabSocket
  let key: FlowKey

  init(_ lab: any TwoEnds) throws {
    (near, far, key) = try udpEnds(lab)
  }

  /// Datagrams a second that arrive.
  func arrivals(seconds: Double) throws -> Double {
    let counter = ArrivalThread(far.descriptor.raw, try EventCounter(), try EventCounter())
    counter.start()
    let burst = 32
    var bytes = [UInt8](repeating: 0, count: 64)
    let start = MonotonicTime.now()
    bytes.withUnsafeMutableBytes { bytes in
      var vector = iovec(iov_base: bytes.baseAddress, iov_len: bytes.count)
      withUnsafeMutablePointer(to: &vector) { vector in
        var message = clinux_mmsghdr()
        message.msg_hdr.msg_iov = vector
        message.msg_hdr.msg_iovlen = 1
        var messages = [clinux_mmsghdr](repeating: message, count: burst)
        while Double(MonotonicTime.now().microseconds(since: start)) < seconds * 1e6 {
          _ = clinux_sendmmsg(near.descriptor.raw, &messages, UInt32(burst), 0)
        }
      }
    }
    let duration = Double(MonotonicTime.now().microseconds(since: start)) / 1e6
    // What is on its way.
    usleep(20_000)
    counter.stop.signal()
    counter.done.wait()
    return Double(counter.count.load(ordering: .relaxed)) / duration
  }
}

private final class ArrivalThread: Sendable {
  private let socket: Int32
  let stop: EventCounter
  let done: EventCounter
  let count = Atomic<Int>(0)

  init(_ socket: Int32, _ stop: consuming EventCounter, _ done: consuming EventCounter) {
    self.socket = socket
    self.stop = stop
    self.done = done
  }

  func start() {
    startThread { [self] in
      var buffer = [UInt8](repeating: 0, count: 64)
      buffer.withUnsafeMutableBytes { buffer in
        var vector = iovec(iov_base: buffer.baseAddress, iov_len: buffer.count)
        withUnsafeMutablePointer(to: &vector) { vector in
          var message = clinux_mmsghdr()
          message.msg_hdr.msg_iov = vector
          message.msg_hdr.msg_iovlen = 1
          var messages = [clinux_mmsghdr](repeating: message, count: 64)
          var waiting = [
            pollfd(fd: socket, events: Int16(POLLIN), revents: 0),
            pollfd(fd: stop.descriptor, events: Int16(POLLIN), revents: 0),
          ]
          while true {
            let taken = clinux_recvmmsg(socket, &messages, 64, Int32(MSG_DONTWAIT))
            if taken > 0 {
              count.wrappingAdd(Int(taken), ordering: .relaxed)
              continue
            }
            guard poll(&waiting, 2, -1) >= 0, waiting[1].revents == 0 else { break }
          }
        }
      }
      done.signal()
    }
  }
}
