import Glibc
import Linux

/// A terminal that is drawn on as a whole. What it was before comes back with `leave`, or when this goes.
///
/// Sequences are those of ECMA-48 and xterm that all terminals of today know.
struct Terminal: ~Copyable {
  private let input: Int32
  private let output: Int32
  private let saved: termios
  private var isEntered = false

  struct Size: Equatable {
    var columns: Int
    var rows: Int
  }

  /// - Throws: where these are no terminals.
  init(input: Int32 = STDIN_FILENO, output: Int32 = STDOUT_FILENO) throws(SystemError) {
    var settings = termios()
    try system("tcgetattr", "standard input") { tcgetattr(input, &settings) }
    self.input = input
    self.output = output
    saved = settings
  }

  deinit {
    if isEntered { Self.leave(input, output, saved) }
  }

  /// Takes the screen: keys come one by one and are not shown. Signals of keys stay.
  mutating func enter() {
    guard !isEntered else { return }
    isEntered = true
    var raw = saved
    raw.c_lflag &= ~tcflag_t(ICANON | ECHO)
    tcsetattr(input, TCSAFLUSH, &raw)
    // The other screen, no cursor, and lines that are too long are cut.
    write("\u{1b}[?1049h\u{1b}[?25l\u{1b}[?7l\u{1b}[2J")
  }

  /// Gives the screen back.
  mutating func leave() {
    guard isEntered else { return }
    isEntered = false
    Self.leave(input, output, saved)
  }

  private static func leave(_ input: Int32, _ output: Int32, _ saved: termios) {
    put("\u{1b}[?7h\u{1b}[?25h\u{1b}[0m\u{1b}[?1049l", to: output)
    var saved = saved
    tcsetattr(input, TCSANOW, &saved)
  }

  var size: Size {
    var window = winsize()
    guard ioctl(output, UInt(TIOCGWINSZ), &window) == 0, window.ws_col > 0, window.ws_row > 0 else {
      return Size(columns: 80, rows: 24)
    }
    return Size(columns: Int(window.ws_col), rows: Int(window.ws_row))
  }

  /// Draws all lines, at most as many as there are rows. Nothing flickers: each is overwritten in place.
  ///
  /// - Parameter highlighted: the line that stands out.
  func draw(_ lines: [String], highlighted: Int, clearing: Bool) {
    var text = clearing ? "\u{1b}[2J" : ""
    for (row, line) in lines.prefix(size.rows).enumerated() {
      text += "\u{1b}[\(row + 1);1H"
      text += row == highlighted ? "\u{1b}[7m\(line)\u{1b}[K\u{1b}[0m" : "\(line)\u{1b}[K"
    }
    write(text + "\u{1b}[J")
  }

  private func write(_ text: String) { Self.put(text, to: output) }

  private static func put(_ text: String, to output: Int32) {
    var rest = Array(text.utf8)[...]
    while !rest.isEmpty {
      let count = rest.withUnsafeBytes { Glibc.write(output, $0.baseAddress, $0.count) }
      // A terminal that is gone sends SIGHUP.
      guard count > 0 || errno == EINTR else { return }
      rest = rest.dropFirst(max(count, 0))
    }
  }
}
