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

  /// Interfaces, addresses or routes may have changed.
  private(set) var network = false
  /// The keepers that are to be tended, by their places on the desk.
  private(set) var keepers: [Int] = []

  init(
    _ desk: borrowing TableWriter.Desk, _ inbox: BoundedQueue<FlowEvent>,
    _ reconfigurations: ReconfigurationBox, _ requests: TableRequests
  ) {
    descriptors = [
      inbox.descriptor, desk.network.descriptor, reconfigurations.descriptor, requests.descriptor,
    ].map(Self.watch)
    due = []
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
    let next = due.compactMap(\.self).reduce(check, min)
    // Rounded up: waking a moment too early would go round for nothing.
    let milliseconds = next.microseconds(since: start) / 1000 + 1
    for index in descriptors.indices { descriptors[index].revents = 0 }
    _ = poll(&descriptors, nfds_t(descriptors.count), next <= start ? 0 : Int32(clamping: milliseconds))

    let now = MonotonicTime.now()
    network = descriptors[1].revents != 0
    keepers.removeAll(keepingCapacity: true)
    for (index, keeper) in desk.keepers.enumerated() {
      let isDue = due[index].map { $0 <= now } ?? false
      guard isDue || places[index].map({ descriptors[$0].revents != 0 }) ?? false else { continue }
      keepers.append(index)
      if let period = keeper.period { due[index] = now.advanced(milliseconds: Int64(period)) }
    }
  }

  private static func watch(_ descriptor: Int32) -> pollfd {
    pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
  }
}
