import CLinux
import Flow
import Glibc

/// Fireflies that are sent together: encoded once, for all their destinations.
struct Burst: ~Copyable {
  /// Sending more with one system call gains nothing measurable.
  static let capacity = 64

  /// The addresses of a flow.
  struct Ends {
    let local: Address
    let remote: Address

    /// For fireflies that do not go to the ends of a flow.
    static let none = Ends(local: .unspecified, remote: .unspecified)
  }

  private(set) var count = 0
  private var used = 0
  private let bytes: UnsafeMutablePointer<UInt8>
  private let ends: UnsafeMutablePointer<Ends>
  private let experiments: UnsafeMutablePointer<UInt16>
  private let vectors: UnsafeMutablePointer<iovec>
  private let headers: UnsafeMutablePointer<clinux_mmsghdr>
  /// Messages of a part of the burst.
  private let part: UnsafeMutablePointer<clinux_mmsghdr>

  init() {
    bytes = .allocate(capacity: Self.size)
    ends = .allocate(capacity: Self.capacity)
    ends.initialize(repeating: .none, count: Self.capacity)
    experiments = .allocate(capacity: Self.capacity)
    experiments.initialize(repeating: 0, count: Self.capacity)
    part = .allocate(capacity: Self.capacity)
    part.initialize(repeating: clinux_mmsghdr(), count: Self.capacity)
    // One set with the header and one without it.
    let sets = FireflyFormat.allCases.count
    vectors = .allocate(capacity: sets * Self.capacity)
    vectors.initialize(repeating: iovec(), count: sets * Self.capacity)
    headers = .allocate(capacity: sets * Self.capacity)
    headers.initialize(repeating: clinux_mmsghdr(), count: sets * Self.capacity)
    for index in 0..<sets * Self.capacity {
      headers[index].msg_hdr.msg_iov = vectors + index
      headers[index].msg_hdr.msg_iovlen = 1
    }
  }

  deinit {
    part.deallocate()
    experiments.deallocate()
    headers.deallocate()
    vectors.deallocate()
    ends.deallocate()
    bytes.deallocate()
  }

  /// More than a firefly with the largest header takes that came in one datagram.
  private static let size = capacity * FireflyEncoder.maximumSize

  /// Whether a firefly of so many bytes can be added.
  func hasRoom(for size: Int) -> Bool { count < Self.capacity && size <= Self.size - used }

  /// Adds the encoder's firefly; the burst must have room for it.
  mutating func append(_ encoder: borrowing FireflyEncoder, _ flow: Ends, experiment: UInt16) {
    append(encoder.datagram, headerSize: encoder.headerSize, flow, experiment: experiment)
  }

  /// Adds a firefly, whose first bytes are the header; the burst must have room for it.
  mutating func append(
    _ datagram: UnsafeBufferPointer<UInt8>, headerSize header: Int, _ flow: Ends, experiment: UInt16
  ) {
    precondition(hasRoom(for: datagram.count))
    let start = bytes + used
    if let base = datagram.baseAddress { start.update(from: base, count: datagram.count) }
    vectors[Self.index(count, .syslog)] = iovec(iov_base: start, iov_len: datagram.count)
    vectors[Self.index(count, .bare)] = iovec(iov_base: start + header, iov_len: datagram.count - header)
    ends[count] = flow
    experiments[count] = experiment
    used += datagram.count
    count += 1
  }

  mutating func removeAll() {
    count = 0
    used = 0
  }

  /// The messages of all fireflies, for a connected socket. Valid as long as the burst.
  func messages(_ format: FireflyFormat) -> UnsafeMutablePointer<clinux_mmsghdr> {
    headers + Self.index(0, format)
  }

  /// The messages that a collector gets, the same each time. Valid until the next call for another collector.
  func messages(for collector: Collector) -> (first: UnsafeMutablePointer<clinux_mmsghdr>, count: Int) {
    let all = messages(collector.format)
    if collector.experiments.isEmpty { return (all, count) }
    var wanted = 0
    for number in 0..<count where collector.wants(experiments[number]) {
      part[wanted] = all[number]
      wanted += 1
    }
    return (part, wanted)
  }

  /// The addresses of all fireflies' flows. Valid as long as the burst.
  var flows: UnsafeBufferPointer<Ends> { UnsafeBufferPointer(start: ends, count: count) }

  private static func index(_ number: Int, _ format: FireflyFormat) -> Int {
    format == .syslog ? number : capacity + number
  }
}
