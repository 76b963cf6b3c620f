internal import CBPF
internal import CTable
internal import Glibc
internal import Linux

/// The reading end of the ring buffer in which a program leaves `marker_event`s.
final class EventRing {
  private let ring: OpaquePointer
  private let sink = Sink()

  /// Events that are handed out at once: whoever reads them has other things to do.
  private static let most = 4096

  /// Where libbpf's calls arrive. It lives as long as the ring.
  private final class Sink {
    var body: ((ConnectionWatch.Event) -> Void)?
    var count = 0
  }

  /// - Parameter map: a descriptor that outlives this object.
  init(map: Int32) throws(BPFError) {
    LibbpfLog.install()
    let context = Unmanaged.passUnretained(sink).toOpaque()
    let made = ring_buffer__new(
      map,
      { context, data, size in
        guard let context, let data, size >= MemoryLayout<marker_event>.size else { return 0 }
        let sink = Unmanaged<Sink>.fromOpaque(context).takeUnretainedValue()
        if let event = ConnectionWatch.Event(data.loadUnaligned(as: marker_event.self)) { sink.body?(event) }
        sink.count += 1
        // Anything below 0 ends the round, with this event taken.
        return sink.count >= EventRing.most ? -1 : 0
      }, context, nil)
    guard let made else {
      throw .map(SystemError("ring_buffer__new", "events"))
    }
    ring = made
  }

  deinit { ring_buffer__free(ring) }

  /// Readable while events wait.
  var descriptor: Int32 { ring_buffer__epoll_fd(ring) }

  /// Hands out the events that wait, `most` of them at a time.
  ///
  /// - Returns: how many there were.
  func take(_ body: (ConnectionWatch.Event) -> Void) -> Int {
    withoutActuallyEscaping(body) { body in
      sink.body = body
      sink.count = 0
      ring_buffer__consume(ring)
      sink.body = nil
    }
    return sink.count
  }
}
