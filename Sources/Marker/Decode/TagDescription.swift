import Flow

/// A tag in all the forms in which it is sent.
struct TagDescription {
  private let tag: SciTag
  private let name: String
  private let standing: MarkNames.Standing
  private let labels: (least: FlowLabel, most: FlowLabel)?
  private let codePoint: CodePointMap.Answer

  init(_ tag: SciTag, _ names: MarkNames, _ map: CodePointMap) {
    self.tag = tag
    name = names.registry.name(of: tag)
    standing = names.standing(of: tag)
    codePoint = map.answer(for: tag)
    if let least = FlowLabel(tag), let most = FlowLabel(tag, entropy: .max) {
      labels = (least, most)
    } else {
      labels = nil
    }
  }

  /// Where nobody knows it, that.
  private var remark: String {
    switch standing {
    case .registered: ""
    case .activityUnknown: ", no such activity is registered"
    case .experimentUnknown:
      tag.namesExperiment
        ? ", no such experiment is registered" : ", which names no experiment and is never marked"
    }
  }

  private var option: String {
    TagOption(tag).map { $0.header(next: 0)[2..<7].map(hexadecimal).joined(separator: " ") } ?? "none"
  }

  private var codePointWords: String {
    switch codePoint {
    case .codePoint(let codePoint): "\(codePoint.value)"
    case .unmarked: "none"
    case .refused: "none by the map, which needs an entry for it"
    }
  }

  private var labelWords: String {
    guard let labels else {
      return tag.namesExperiment ? "none: a label holds experiments up to 511" : "none"
    }
    return "\(labels.least), with entropy up to \(labels.most)"
  }

  var text: String {
    """
    \(name) (experiment \(tag.experiment), activity \(tag.activity)\(remark))
      SciTag      \(tag.packed)
      flow label  \(labelWords)
      DSCP        \(codePointWords)
      option      \(option)
    """
  }

  var json: String { JSONText.object(fields) }

  var fields: [(String, String)] {
    var dscp = "null"
    if case .codePoint(let codePoint) = codePoint { dscp = "\(codePoint.value)" }
    return [
      ("experiment", "\(tag.experiment)"), ("activity", "\(tag.activity)"), ("name", JSONText.quoted(name)),
      ("registered", "\(standing == .registered)"), ("scitag", "\(tag.packed)"),
      ("label", labels.map { JSONText.quoted("\($0.least)") } ?? "null"), ("dscp", dscp),
      ("option", TagOption(tag) == nil ? "null" : JSONText.quoted(option)),
    ]
  }
}

func hexadecimal(_ byte: UInt8) -> String { (byte < 16 ? "0" : "") + String(byte, radix: 16) }
