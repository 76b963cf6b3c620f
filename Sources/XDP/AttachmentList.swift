/// The attachments of a path by interface. Arrays take no noncopyable elements, so each has a box of its own.
struct AttachmentList {
  private final class Entry {
    let interface: UInt32
    let attachment: TCAttachment

    init(_ interface: UInt32, _ attachment: consuming TCAttachment) {
      self.interface = interface
      self.attachment = attachment
    }
  }
  private var entries: [Entry] = []

  var indexes: [UInt32] { entries.map(\.interface) }

  /// Those that somebody took away.
  var lost: [UInt32] { entries.filter { !$0.attachment.isThere }.map(\.interface) }

  func hook(on interface: UInt32) -> TCHook? {
    entries.first { $0.interface == interface }?.attachment.hook
  }

  func isMisplaced(on interface: UInt32) -> Bool {
    entries.contains { $0.interface == interface && $0.attachment.isMisplaced }
  }

  /// Where the link at an interface is pinned; nil for nowhere.
  func pin(on interface: UInt32) -> String? {
    entries.first { $0.interface == interface }?.attachment.pinned
  }

  mutating func append(_ attachment: consuming TCAttachment, _ interface: UInt32) {
    entries.append(Entry(interface, attachment))
  }

  /// Has all of them outlive the process.
  ///
  /// - Throws: the first failure; the others are kept.
  func keep(at pins: (UInt32) -> (link: String, qdisc: String)) throws(BPFError) {
    var failure: BPFError?
    for entry in entries {
      let (link, qdisc) = pins(entry.interface)
      do throws(BPFError) { try entry.attachment.keep(at: link, qdisc: qdisc) } catch {
        failure = failure ?? error
      }
    }
    if let failure { throw failure }
  }

  /// Takes an attachment away.
  mutating func remove(_ interface: UInt32) {
    for entry in entries where entry.interface == interface { entry.attachment.withdraw() }
    entries.removeAll { $0.interface == interface }
  }
}
