import Linux

/// What each interface is, and which way of choosing interfaces would take it.
struct InterfaceReport {
  struct Row: Equatable {
    let details: InterfaceDetails
    /// The bond, bridge or team that it is a port of.
    let master: String?
    /// What it is stacked on.
    let below: String?
    /// An interface that its packets pass as well; where both are chosen, that one marks them.
    let coveredBy: String?
    let isOnDefaultRoute: Bool
    let hasGlobalAddress: Bool
    /// What `--discover` would have to be to take it.
    let discoveredBy: [InterfaceSelection.Discovery]

    var name: String { details.interface.name }
  }
  let rows: [Row]

  /// Looks at the calling thread's namespace; changes nothing.
  ///
  /// - Parameter selection: the interfaces to show; all but the loopback where it is empty.
  init(_ selection: InterfaceSelection) throws(SystemError) {
    let addresses = try LocalAddress.all()
    self.init(
      selection, try InterfaceDetails.all(),
      InterfaceSelection.Facts(
        onDefaultRoute: try DefaultRoutes.interfaces(),
        withGlobalAddress: Set(addresses.filter(\.isGlobal).map(\.interface))))
  }

  init(_ selection: InterfaceSelection, _ details: [InterfaceDetails], _ facts: InterfaceSelection.Facts) {
    let interfaces = details.map(\.interface)
    let names = Dictionary(interfaces.map { ($0.index, $0.name) }) { first, _ in first }
    let covers = InterfaceSelection(names: ["*"]).select(among: interfaces, facts).covered
    let discovered = InterfaceSelection.Discovery.allCases.map { discovery in
      (discovery, InterfaceSelection(discovery: discovery).select(among: interfaces, facts).selected)
    }
    let shown =
      selection.isEmpty
      ? interfaces.filter { !$0.isLoopback } : selection.select(among: interfaces, facts).selected
    rows = details.filter { shown.contains($0.interface) }.map { details in
      let interface = details.interface
      return Row(
        details: details, master: names[interface.master],
        below: interface.isStacked ? names[interface.lower] : nil,
        coveredBy: covers.first { $0.interface == interface }?.by.name,
        isOnDefaultRoute: facts.onDefaultRoute.contains(interface.index),
        hasGlobalAddress: facts.withGlobalAddress.contains(interface.index),
        discoveredBy: discovered.filter { $0.1.contains(interface) }.map(\.0))
    }
  }
}

extension InterfaceReport {
  /// AF_XDP on the host's own cards: what their drivers say, because trying would stop somebody's traffic.
  var xdpAttempts: [Attempt] {
    rows.filter { $0.details.interface.kind.isEmpty }.map { row in
      let says = row.details.xdp.map { $0.words.isEmpty ? "nothing" : $0.words.joined(separator: " ") }
      return Attempt(
        "AF_XDP on \(row.name)",
        .untried(
          says.map { "the driver offers \($0); binding would reset its queues" }
            ?? "this kernel cannot say what the driver offers; binding would reset its queues",
          needs: row.details.xdp == nil ? "Linux 6.3 to be told" : ""))
    }
  }
}

extension InterfaceReport {
  /// The engine that `inline.engine: auto` would take where an interface is a port, and why.
  var inlineAttempts: [Attempt] {
    rows.filter { $0.details.interface.linkHeader == .ethernet && $0.details.interface.kind != "bridge" }.map
    { row in
      Attempt(
        "engine at \(row.name)",
        .untried(
          row.details.suitsXDP
            ? "xdp, if the other port's does too: its driver runs XDP programs and redirects"
            : row.details.interface.kind.isEmpty && row.details.driver != "virtio_net"
              ? "raw: its driver does not run XDP programs with redirects"
              : "raw: on \(row.details.interface.kind.isEmpty ? row.details.driver : row.details.interface.kind) packets "
                + "come 64 KB at a time, which XDP would end"))
    }
  }
}

extension InterfaceDetails {
  /// Whether AF_XDP is the better engine there.
  var suitsXDP: Bool {
    interface.kind.isEmpty && driver != "virtio_net" && xdp?.isSuperset(of: [.native, .redirect]) == true
  }
}

extension InterfaceReport.Row {
  /// Whether packets can be marked there, and what it is.
  var finding: Finding {
    guard let header = details.interface.linkHeader else {
      return .no(
        "link type \(details.interface.hardwareType) (ARPHRD_…), whose header is not known",
        needs: "an interface with Ethernet or without a link header")
    }
    return .yes((properties(header) + uses).joined(separator: ", "))
  }

  private func properties(_ header: Interface.LinkHeader) -> [String] {
    let kind = details.interface.kind
    var words = [kind.isEmpty ? details.driver : kind]
    switch header {
    case .ethernet: words.append("Ethernet")
    case .none: words.append("no link header")
    }
    words.append(!details.isUp ? "down" : details.hasCarrier ? "up" : "up without carrier")
    words.append("MTU \(details.mtu)")
    if let queues = details.queues { words.append("\(queues) queue\(queues == 1 ? "" : "s")") }
    if let xdp = details.xdp {
      words.append("XDP: \(xdp.words.isEmpty ? "none" : xdp.words.joined(separator: " "))")
    }
    return words.filter { !$0.isEmpty }
  }

  private var uses: [String] {
    var words: [String] = []
    if let master { words.append("port of \(master)") }
    if let below { words.append("on \(below)") }
    if let coveredBy { words.append("covered by \(coveredBy)") }
    if isOnDefaultRoute { words.append("default route") }
    if hasGlobalAddress { words.append("global address") }
    if !discoveredBy.isEmpty {
      words.append("--discover \(discoveredBy.map(\.rawValue).joined(separator: " or ")) takes it")
    }
    return words
  }
}
