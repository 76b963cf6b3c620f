import CLinux
import Flow
import Glibc
import Linux

/// What the table's writer waits for besides events, and what of it has come.
struct PendingWork {
  private var descriptors: [pollfd]
  /// The place of each keeper's descriptor among them, nil for keepers without.
  private var places: [Int?] = []
  /// When each keeper is to be tended next, nil for keepers without a period.
  private var due: [MonotonicTime?]

  /// The descriptors that tell of closed sockets and of connections that begin, with their places.
  private var paced: [(place: Int, descriptor: Int32)] = []
  private var nextPaced = MonotonicTime(nanoseconds: 0)

  /// On a host whose sockets come and go all the time the writer would be woken for each; it looks at them together.
  /// Milliseconds.
  private static let pacedPause: Int64 = 2

  /// Interfaces, addresses or routes may have changed.
  private(set) var network = false
  /// The keepers that are to be tended, by their places on the desk.
  private(set) var keepers: [Int] = []

  init(
    _ desk: borrowing TableWriter.Desk, _ inbox: BoundedQueue<FlowEvent>,
    _ reconfigurations: ReconfigurationBox, _ requests: TableRequests
  ) {
    due = []
    descriptors = [
      inbox.descriptor, desk.network.descriptor, reconfigurations.descriptor, requests.descriptor,
    ].map(Self.watch)
    if let sockets = desk.sockets {
      descriptors.append(Self.watch(sockets.watch.facts.descriptor))
      if let ends = sockets.endsDescriptor { pace(ends) }
    }
    if let connections = desk.connections.descriptor { pace(connections) }
    let now = MonotonicTime.now()
    for keeper in desk.keepers {
      due.append(keeper.period.map { now.advanced(milliseconds: Int64($0)) })
      guard let descriptor = keeper.descriptor else {
        places.append(nil)
        continue
      }
      places.append(descriptors.count)
      descriptors.append(Self.watch(descriptor))
    }
  }

  /// Waits until there is something to do, or it is the time given.
  mutating func wait(_ desk: borrowing TableWriter.Desk, until check: MonotonicTime) {
    let start = MonotonicTime.now()
    var next = due.compactMap(\.self).reduce(check, min)
    let isPaused = start < nextPaced
    // poll passes over negative descriptors.
    for (place, descriptor) in paced { descriptors[place].fd = isPaused ? -1 : descriptor }
    if isPaused { next = min(next, nextPaced) }
    // Rounded up: waking a moment too early would go round for nothing.
    let milliseconds = next.microseconds(since: start) / 1000 + 1
    for index in descriptors.indices { descriptors[index].revents = 0 }
    _ = poll(&descriptors, nfds_t(descriptors.count), next <= start ? 0 : Int32(clamping: milliseconds))

    let now = MonotonicTime.now()
    if paced.contains(where: { descriptors[$0.place].revents != 0 }) {
      nextPaced = now.advanced(milliseconds: Self.pacedPause)
    }
    network = descriptors[1].revents != 0
    keepers.removeAll(keepingCapacity: true)
    for (index, keeper) in desk.keepers.enumerated() {
      let isDue = due[index].map { $0 <= now } ?? false
      guard isDue || places[index].map({ descriptors[$0].revents != 0 }) ?? false else { continue }
      keepers.append(index)
      if let period = keeper.period { due[index] = now.advanced(milliseconds: Int64(period)) }
    }
  }

  private mutating func pace(_ descriptor: Int32) {
    paced.append((descriptors.count, descriptor))
    descriptors.append(Self.watch(descriptor))
  }

  private static func watch(_ descriptor: Int32) -> pollfd {
    pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
  }
}
