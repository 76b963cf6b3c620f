import NIOHTTP1

/// What `marker top` shows, and what its keys change of it.
struct TopState {
  var order = FlowOrder.rate
  var isAscending = false
  var filter = ""
  var isPaused = false
  /// What is being typed in place of the filter.
  private(set) var typed: String?
  /// What there is to say besides the flows.
  var message = ""
  private(set) var page: JSONValue?

  enum Outcome { case quit, ask, redraw, nothing }

  /// The keys, as the last line tells them.
  static let help =
    "r rate  b bytes  p packets  a age  i idle  t tag  o other way round  / filter  space pause  q quit"

  /// What a key does.
  mutating func press(_ key: UInt8) -> Outcome {
    if typed != nil { return type(key) }
    switch key {
    case UInt8(ascii: "q"): return .quit
    case UInt8(ascii: "r"): return sort(.rate)
    case UInt8(ascii: "b"): return sort(.bytes)
    case UInt8(ascii: "p"): return sort(.packets)
    case UInt8(ascii: "a"): return sort(.age)
    case UInt8(ascii: "i"): return sort(.idle)
    case UInt8(ascii: "t"): return sort(.tag)
    case UInt8(ascii: "o"):
      isAscending.toggle()
      return .ask
    case UInt8(ascii: "/"):
      typed = filter
      return .redraw
    case UInt8(ascii: " "):
      isPaused.toggle()
      return isPaused ? .redraw : .ask
    case 0x0c: return .redraw
    default: return .nothing
    }
  }

  private mutating func sort(_ order: FlowOrder) -> Outcome {
    self.order = order
    return .ask
  }

  private mutating func type(_ key: UInt8) -> Outcome {
    guard let text = typed else { return .nothing }
    switch key {
    case 0x0a, 0x0d:
      filter = text
      typed = nil
      return .ask
    case 0x1b: typed = nil
    case 0x7f, 0x08: typed = String(text.dropLast())
    case 0x15: typed = ""
    case 0x20..<0x7f: typed = text + String(UnicodeScalar(key))
    default: return .nothing
    }
    return .redraw
  }

  /// What the daemon is asked for.
  func path(limit: Int) -> String {
    let words = filter.utf8.map { byte in
      let isPlain =
        byte < 0x80 && (Character(UnicodeScalar(byte)).isLetter || Character(UnicodeScalar(byte)).isNumber)
      let digits = String(byte, radix: 16)
      return isPlain ? String(UnicodeScalar(byte)) : "%" + (digits.count == 1 ? "0" : "") + digits
    }.joined()
    return
      "/v1/top?sort=\(order.rawValue)&order=\(isAscending ? "ascending" : "descending")&limit=\(limit)&filter=\(words)"
  }

  /// Takes over what the daemon answered; what it refused stands beside the flows that were there before.
  mutating func take(_ answer: APIClient.Answer) {
    do throws(JSONProblem) {
      let body = try JSONValue(answer.body)
      guard answer.status == 200 else {
        message = body["error"]["reason"].text
        return
      }
      message = ""
      page = body
    } catch {
      message = "the daemon's answer is no JSON: \(error.reason)"
    }
  }

  private var summary: String {
    let total = page?["total"].number ?? 0
    let matched = page?["matched"].number ?? 0
    let shown = page?["flows"].items.count ?? 0
    let time = page.map { $0["time"].text.dropFirst(11).prefix(8) + "Z" } ?? "waiting for the daemon"
    return "marker top  \(time)  \(shown) of \(Scaled.count(matched)) flows"
      + (matched == total ? "" : ", \(Scaled.count(total)) in all") + "  by \(order.rawValue)"
      + (isAscending ? ", least first" : "") + (isPaused ? "  paused" : "")
  }

  private var note: String {
    if let typed {
      return "filter: \(typed)_  (Enter applies, Esc gives up: experiment, tag, address, port, protocol)"
    }
    if !message.isEmpty { return message.escapingControls }
    return filter.isEmpty ? Self.help : "filter: \(filter.escapingControls)   \(Self.help)"
  }

  /// The screen's lines: a summary, a note, the table's heads, the flows.
  func lines(width: Int, rows: Int) -> [String] {
    let table = TopTable(page ?? .null).lines(width: width)
    return ([summary, note].map { String($0.prefix(width)) } + table).prefix(rows).map(\.self)
  }

  /// The same for what is no terminal.
  var plainLines: [String] {
    [summary] + (message.isEmpty ? [] : [message]) + TopTable(page ?? .null).lines(width: nil)
  }
}
