import ArgumentParser
import Flow
import Glibc
import Linux

/// Shows marks on the wire.
struct Sniff: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Show the marks of packets on the wire, whichever agent set them.",
    discussion: """
      Captures packets, or reads them from a file, and shows what their flow labels, DSCPs and extension headers say. A flow \
      label is a mark where its tag is registered; Linux gives every IPv6 flow some label, so others are shown but not \
      counted as marks. Where a daemon runs, packets are held against its flow table, and those without the mark that \
      they should have are told.

      Examples:
        marker sniff -i eth0 --marked
        marker sniff -i eth0 --experiment cms --summary
        marker sniff -i eth0 --missing --duration 60
        marker sniff -i eth0 -w marks.pcapng --count 1000 && wireshark marks.pcapng
        marker sniff -r marks.pcapng --json
      """)

  @Option(
    name: [.long, .customShort("i")], help: ArgumentHelp("Capture at this interface.", valueName: "interface")
  )
  var interface: String?

  @Option(
    name: [.customLong("read"), .customShort("r")],
    help: ArgumentHelp("Read packets from this pcapng or pcap file; - is standard input.", valueName: "file"))
  var input: String?

  @Option(
    name: [.customLong("write"), .customShort("w")],
    help: ArgumentHelp(
      "Write the packets shown into this pcapng file, with their marks as comments; - is standard output. "
        + "Without --json or --summary nothing is printed then.", valueName: "file"))
  var file: String?

  @OptionGroup var filters: SniffFilters

  @Flag(help: "Count packets and bytes by mark instead of printing each packet. On a terminal it is live.")
  var summary = false

  @Flag(help: "Print JSON: an object a line, or one with --summary.")
  var json = false

  @Flag(
    help:
      "Show only packets without the mark that the running daemon's flow table has for them. Exits with 1 where there are any."
  )
  var missing = false

  @Flag(help: "Do not ask a running daemon for its flow table.")
  var noTable = false

  @Option(name: [.long, .customShort("c")], help: "End after so many packets that are shown.")
  var count: Int?

  @Option(
    help: "End after this time: 30s, 5m, or a number of seconds.",
    transform: { try ValueType<Int64>.duration(upTo: 86_400 * 365).argument($0) })
  var duration: Int64?

  @Option(help: "The most bytes of a packet that are kept: 64 to 262144.")
  var snaplen = 256

  @Flag(help: "Have the card let in what is sent to others.")
  var promiscuous = false

  @Option(help: "Only packets that come `in` or go `out`.")
  var direction: CapturedPacket.Direction?

  @OptionGroup var tags: TagOptions
  @OptionGroup var daemon: FlowCommand.DaemonOptions

  func validate() throws {
    guard (interface == nil) != (input == nil) else {
      throw ValidationError(
        "name an interface to capture at with -i, or a file to read with -r: one of the two")
    }
    guard LiveCapture.snapLengths.contains(snaplen) else {
      throw ValidationError("--snaplen is 64 to 262144, not \(snaplen)")
    }
    guard count ?? 1 > 0 else { throw ValidationError("--count is at least 1, not \(count ?? 0)") }
    guard !missing || !noTable else {
      throw ValidationError("--missing needs the flow table that --no-table leaves alone")
    }
    guard file != "-" || !(json || summary) else {
      throw ValidationError("-w - writes packets to standard output, where --json and --summary print")
    }
  }

  func run() throws {
    let names = try tags.names()
    var filter = try filters.filter(names.registry)
    if missing { filter.wanted = .missing }
    let expected = try table()
    var sniffer = Sniffer(names, filter, output, expected, try file.map { try PcapngWriter($0) })
    Interruption.watch()
    let hasFailed =
      if let interface { try capture(interface, &sniffer) } else { try read(input ?? "-", &sniffer) }
    if hasFailed || (missing && sniffer.missing > 0) { throw ExitCode.failure }
  }

  private var output: Sniffer.Output {
    switch (summary, json) {
    case (true, true): .jsonSummary
    case (true, false): .summary
    case (false, true): .json
    case (false, false): file == nil ? .lines : .nothing
    }
  }

  /// Nil where there is no daemon and nobody insists.
  private func table() throws -> ExpectedMarks? {
    if noTable || (input != nil && !missing) { return nil }
    if !missing, case .unix(let path) = daemon.api, access(path, F_OK) != 0 { return nil }
    do { return try ExpectedMarks(daemon.client()) } catch {
      if missing { throw error }
      StandardError.print("the flow table is left out: \(error)")
      return nil
    }
  }

  /// - Returns: whether it ended by a failure, which was told.
  private func capture(_ name: String, _ sniffer: inout Sniffer) throws -> Bool {
    let capture = try LiveCapture(
      name, snapLength: snaplen, isPromiscuous: promiscuous, direction: direction)
    StandardError.print("capturing at \(name), \(snaplen) bytes of each packet")
    let interfaces = [capture.interface]
    let isLive = output == .summary && isatty(STDOUT_FILENO) == 1
    let end = duration.map { MonotonicTime.now().advanced(milliseconds: $0 / 1000) }
    var (nextSecond, hasFailed) = (MonotonicTime.now().advanced(milliseconds: 1000), false)
    while !Interruption.hasCome, !isDone(sniffer) {
      if let end, end < .now() { break }
      do {
        let taken = try capture.turn(milliseconds: 100) { packet throws(SystemError) in
          if !isDone(sniffer) { try sniffer.take(packet, interfaces) }
        }
        if taken == 0 { try sniffer.settle() }
      } catch let error as SystemError where error.code == ENETDOWN || error.code == ENXIO {
        StandardError.print("\(error)")
        hasFailed = true
        break
      }
      if nextSecond < .now() {
        nextSecond = .now().advanced(milliseconds: 1000)
        capture.countDrops()
        try sniffer.settle()
        // Clears the terminal (ECMA-48, CUP and ED).
        if isLive {
          print(
            "\u{1b}[H\u{1b}[2J\(sniffer.summary.text(sniffer.text.names))\(sniffer.totals(dropped: capture.dropped))"
          )
        }
        fflush(nil)
      }
    }
    capture.countDrops()
    try close(&sniffer, dropped: capture.dropped)
    return hasFailed
  }

  private func read(_ path: String, _ sniffer: inout Sniffer) throws -> Bool {
    var reader = try CaptureReader(file: path)
    var hasFailed = false
    do throws(CaptureError) {
      while !Interruption.hasCome, !isDone(sniffer), let packet = try reader.next() {
        do throws(SystemError) { try sniffer.take(packet, reader.interfaces) } catch {
          throw CaptureError(name: file ?? "", offset: 0, reason: "\(error)")
        }
      }
    } catch {
      // What came before is shown all the same.
      StandardError.print("\(error)")
      hasFailed = true
    }
    try close(&sniffer, dropped: nil)
    return hasFailed
  }

  private func isDone(_ sniffer: borrowing Sniffer) -> Bool { count.map { sniffer.shown >= $0 } ?? false }

  private func close(_ sniffer: inout Sniffer, dropped: UInt64?) throws {
    try sniffer.finish(received: UInt64(sniffer.seen) + (dropped ?? 0), dropped: dropped)
    switch output {
    case .summary: print(sniffer.summary.text(sniffer.text.names), terminator: "")
    case .jsonSummary: print(sniffer.summary.json(sniffer.text.names))
    case .lines, .json, .nothing: break
    }
    fflush(nil)
    StandardError.print(sniffer.totals(dropped: dropped))
    if let problem = sniffer.expected?.problem { StandardError.print("the flow table was lost: \(problem)") }
  }
}

extension CapturedPacket.Direction: ExpressibleByArgument {}
