import Firefly
import Flow
import Linux
import Logging

/// Reads listening sockets and hands on what their fireflies say. Used by the listener's thread only.
struct FireflyReader: ~Copyable {
  private(set) var counts = FireflyCounts()
  private var decoder: FireflyDecoder
  private var datagrams = ReceivedDatagrams()
  private var limits: SenderLimits
  private var relays: Bool
  private let heard: HeardFireflies
  private var events: ContiguousArray<FlowEvent> = []
  private var relayed = RelayBatch()
  private var complaints = Complaints()
  private let log: Logger

  /// Each kind on its own, so that a flood of one hides no other.
  private struct Complaints {
    var senders = ComplaintLimit()
    var rates = ComplaintLimit()
    var contents = ComplaintLimit()
    var losses = ComplaintLimit()
  }

  /// System calls for one socket before others have their turn.
  private static let share = 16

  init(_ settings: Listening, applications: ApplicationNames, heard: HeardFireflies, log: Logger) {
    decoder = FireflyDecoder(applications: applications)
    limits = SenderLimits(from: settings.senders, rate: settings.rate, at: .now())
    relays = settings.relays
    self.heard = heard
    self.log = log
  }

  /// Judges by other settings from now on.
  mutating func follow(_ settings: Listening) {
    limits = SenderLimits(from: settings.senders, rate: settings.rate, at: .now())
    relays = settings.relays
  }

  /// Reads what waits at a socket, but not for ever: a sender that never stops must not keep others waiting.
  ///
  /// - Returns: false where the inbox takes nothing any more.
  mutating func drain(
    _ socket: SharedListeningSocket, into inbox: BoundedQueue<FlowEvent>, relay: RelayQueue
  ) -> Bool {
    for _ in 0..<Self.share {
      do throws(SystemError) {
        guard try datagrams.receive(from: socket.socket) else { break }
      } catch {
        complaints.losses.report(
          log, "cannot read fireflies", ["address": "\(socket.address)", "error": "\(error)"])
        break
      }
      let now = Moment.now()
      for index in 0..<datagrams.count { take(index, at: now) }
      if datagrams.count < ReceivedDatagrams.capacity { break }
    }
    noteLosses(socket)
    pass(to: relay)
    // Waits where the table cannot keep up; the kernel drops what its buffer has no room for meanwhile, and counts it.
    let isOpen = inbox.add(events)
    events.removeAll(keepingCapacity: true)
    return isOpen
  }

  private mutating func take(_ index: Int, at now: Moment) {
    counts.received += 1
    guard let sender = datagrams.sender(index) else { return }
    switch limits.judge(sender.address, at: now.monotonic) {
    case .allowed: break
    case .notAllowed:
      counts.notAllowed += 1
      complaints.senders.report(
        log, "a firefly's sender is not in listen.from; it is not heard", ["sender": "\(sender)"])
      return
    case .limited:
      counts.limited += 1
      complaints.rates.report(
        log, "a sender's fireflies exceed listen.rate; the rest is not heard", ["sender": "\(sender.address)"]
      )
      return
    }
    let datagram = datagrams.datagram(index).span
    do throws(FireflyError) {
      take(try decoder.decode(datagram), datagram, from: sender, at: now)
    } catch {
      counts.malformed += 1
      complaints.contents.report(
        log, "a datagram is not a firefly",
        ["sender": "\(sender)", "error": "\(error)", "datagram": "\(datagram.excerpt(around: error.offset))"])
    }
  }

  private mutating func take(
    _ firefly: ReceivedFirefly, _ datagram: Span<UInt8>, from sender: Endpoint, at now: Moment
  ) {
    guard !heard.isEcho(datagram.extracting(firefly.json), andNotes: relays) else {
      counts.echoes += 1
      return
    }
    heard.note(sender: sender.address)
    if relays {
      relayed.append(datagram, json: firefly.json, from: sender, experiment: firefly.tag.experiment)
    }
    guard firefly.namesOneFlow else {
      counts.telemetry += 1
      return
    }
    counts.taken += 1
    events.append(firefly.event(at: now.wall))
  }

  private mutating func pass(to relay: RelayQueue) {
    guard relayed.count > 0 else { return }
    if relay.add(relayed) {
      counts.relayed += UInt64(relayed.count)
    } else {
      counts.notRelayed += UInt64(relayed.count)
      complaints.losses.report(
        log, "the collectors are too slow; fireflies are not relayed", ["count": "\(counts.notRelayed)"])
    }
    relayed.removeAll()
  }

  private mutating func noteLosses(_ socket: SharedListeningSocket) {
    let new = socket.newlyDropped()
    guard new > 0 else { return }
    counts.overflowed += UInt64(new)
    complaints.losses.report(
      log, "fireflies come faster than they are read; the kernel dropped some",
      ["address": "\(socket.address)", "count": "\(new)"])
  }
}

extension Span where Element == UInt8 {
  /// The bytes before and behind a place, as far as a message has room for them.
  fileprivate func excerpt(around offset: Int) -> String {
    let first = Swift.max(0, Swift.min(offset, count) - 40)
    let last = Swift.min(count, first + 80)
    return (first > 0 ? "…" : "") + text(first..<last).printable + (last < count ? "…" : "")
  }
}
