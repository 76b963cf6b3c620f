import Flow

/// The numbers of application names that were seen lately, found by the names' bytes: a string need not be made for
/// each firefly.
struct ApplicationCache: ~Copyable {
  /// The longest name in bytes; longer ones are cut.
  static let longestName = 64
  private static let slots = 64

  private struct Slot {
    var count = 0
    var id = ApplicationNames.ID.marker
  }

  private let names: ApplicationNames
  private let entries: UnsafeMutablePointer<Slot>
  private let bytes: UnsafeMutablePointer<UInt8>

  init(_ names: ApplicationNames) {
    self.names = names
    entries = .allocate(capacity: Self.slots)
    entries.initialize(repeating: Slot(), count: Self.slots)
    bytes = .allocate(capacity: Self.slots * Self.longestName)
  }

  deinit {
    entries.deallocate()
    bytes.deallocate()
  }

  /// The number of the writer's text, which is brought into the form that a name has here: not longer than
  /// `longestName`, `_` for each byte of a control character. An empty text names nobody.
  func id(of text: inout ByteWriter) -> ApplicationNames.ID {
    if text.count > Self.longestName {
      text.truncate(to: Self.longestName)
      text.trimToCharacter()
    }
    let name = UnsafeMutableBufferPointer(start: text.start, count: text.count)
    guard !name.isEmpty else { return .marker }
    // FNV-1a: enough to spread names over slots; a collision costs a string, no more.
    var hash: UInt32 = 0x811c_9dc5
    for index in name.indices {
      let byte = name[index]
      if byte < 0x20 || byte == 0x7f {
        name[index] = UInt8(ascii: "_")
      } else if byte == 0xc2, index + 1 < name.count, name[index + 1] < 0xa0 {
        // U+0080 to U+009F.
        name[index] = UInt8(ascii: "_")
        name[index + 1] = UInt8(ascii: "_")
      }
      hash = (hash ^ UInt32(name[index])) &* 0x0100_0193
    }
    let slot = Int(hash % UInt32(Self.slots))
    let known = UnsafeMutableBufferPointer(start: bytes + slot * Self.longestName, count: entries[slot].count)
    if known.elementsEqual(name) { return entries[slot].id }
    let id = names.id(of: String(decoding: name, as: UTF8.self))
    (bytes + slot * Self.longestName).update(from: text.start, count: name.count)
    entries[slot] = Slot(count: name.count, id: id)
    return id
  }
}
