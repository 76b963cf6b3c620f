internal import Flow

/// A flow's record as the text of an element's comment, which `nft list ruleset` shows and `nft -f` takes again:
/// `v1 145 1768468345000000 0-0-1-1 10044 xrdcp`: version, tag (experiment << 6 | activity), start in microseconds since
/// 1970, orientation, origin, holders and whether it has a socket, label in hexadecimal digits, application.
enum RecordText {
  private static let version = "v1"
  /// Stands for an application or a label where there is none.
  private static let none = "-"

  static func text(_ record: FlowRecord, application: String?) -> String {
    let traits = [
      record.orientation.rawValue, record.origin.rawValue, record.holders.rawValue, record.hasSocket ? 1 : 0,
    ]
    return [
      version, "\(record.tag.packed)", "\(record.start.microseconds)",
      traits.map { "\($0)" }.joined(separator: "-"),
      record.label.map { String($0.value, radix: 16) } ?? none,
      application.map(plain) ?? none,
    ].joined(separator: " ")
  }

  /// Nil for what this program never writes.
  static func record(
    _ text: String, of key: FlowKey, _ id: (String) -> ApplicationNames.ID
  ) -> FlowRecord? {
    let parts = text.split(separator: " ", maxSplits: 5).map(String.init)
    guard parts.count == 6, parts[0] == version, let tag = UInt16(parts[1]), let start = Int64(parts[2])
    else {
      return nil
    }
    let traits = parts[3].split(separator: "-").compactMap { UInt8($0) }
    guard traits.count == 4, let orientation = Orientation(rawValue: traits[0]),
      let origin = Origin(rawValue: traits[1])
    else { return nil }
    return FlowRecord(
      key: key, tag: SciTag(packed: tag), orientation: orientation, origin: origin,
      holders: Holders(rawValue: traits[2]), application: parts[5] == none ? .marker : id(parts[5]),
      start: WallClockTime(microseconds: start), label: Int(parts[4], radix: 16).flatMap { FlowLabel($0) },
      hasSocket: traits[3] != 0)
  }

  /// A name without what would end the text that nft shows it in, and not longer than there is room for.
  private static func plain(_ name: String) -> String {
    var plain = ""
    for scalar in name.unicodeScalars {
      let isSafe = scalar.value > 0x20 && scalar != "\"" && scalar != "\\" && scalar.value != 0x7f
      plain.unicodeScalars.append(isSafe || scalar == " " ? scalar : "?")
      if plain.utf8.count >= 60 { break }
    }
    return plain.isEmpty ? none : plain
  }
}
