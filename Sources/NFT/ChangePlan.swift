internal import Flow

/// How one transaction carries out a run of changes.
struct ChangePlan {
  private(set) var batch: Batch
  /// The mark words that have a chain afterwards, with their numbers of flows.
  private(set) var words: [UInt32: Int]
  /// The changes that unmark, in the order in which the kernel will report their elements.
  private(set) var unmarking: [Int32] = []
  /// Which messages make the chain of which word.
  private(set) var making: [(messages: Range<Int>, word: UInt32)] = []

  struct Options {
    /// Changes that the kernel refused.
    var skipped: Set<Int32> = []
    /// One element a message, so that an error names it.
    var alone = false
  }

  /// The flows that are to be marked anew, as the kernel has them: word and count.
  typealias Present = [FlowKey: (word: UInt32, usage: Usage)]

  init(
    _ changes: ArraySlice<ChangeBatch.Change>, _ words: [UInt32: Int], _ present: Present, _ table: TableName,
    _ options: Options
  ) {
    batch = Batch(table)
    self.words = words
    var present = present
    var runs = Runs(alone: options.alone)

    for index in changes.indices where !options.skipped.contains(Int32(index)) {
      let change = changes[index]
      guard let word = MarkWord(change.mark, isIPv4: change.key.isIPv4) else { continue }
      let owner = Int32(index)
      let map = change.key.map
      var element = Element(key: change.key.element, owner: owner)
      switch change.action {
      case .mark:
        element.data = .mark(word.rawValue)
        runs.append(element, .add, map)
        self.words[word.rawValue, default: 0] += 1
        present[change.key]?.word = word.rawValue
      case .unmark:
        runs.append(element, .delete, map)
        unmarking.append(owner)
        self.words[word.rawValue, default: 0] -= 1
      case .remark:
        guard let old = present[change.key] else { continue }
        runs.append(element, .replace, map)
        element.data = .mark(word.rawValue)
        element.usage = old.usage
        runs.append(element, .add, map)
        self.words[old.word, default: 0] -= 1
        self.words[word.rawValue, default: 0] += 1
        present[change.key]?.word = word.rawValue
      }
    }

    // Chains first: from the moment of the commit on every element finds the one that it names.
    for (word, count) in self.words where count > 0 && words[word] == nil {
      guard let made = MarkWord(rawValue: word) else { continue }
      let first = batch.count
      Ruleset.addMark(made, &batch)
      making.append((first..<batch.count, word))
    }
    runs.add(to: &batch)
    // Marks that nobody uses any more keep their chains until the next transaction, see `MarkChains`.
    for (word, count) in self.words where count <= 0 { self.words[word] = words[word] == nil ? nil : 0 }
  }
}

/// Elements in the order of their changes; neighbours of one kind share a message.
private struct Runs {
  enum Kind {
    case add
    /// Reports the element's last count.
    case delete
    case replace
  }

  private var runs: [(kind: Kind, set: String, elements: [Element])] = []
  private let alone: Bool

  init(alone: Bool) { self.alone = alone }

  mutating func append(_ element: Element, _ kind: Kind, _ set: String) {
    if let last = runs.last, last.kind == kind, last.set == set {
      runs[runs.count - 1].elements.append(element)
    } else {
      runs.append((kind, set, [element]))
    }
  }

  func add(to batch: inout Batch) {
    for (kind, set, elements) in runs {
      switch kind {
      case .add: batch.add(elements[...], to: set, alone: alone)
      case .delete: batch.delete(elements[...], from: set, echoes: true, alone: alone)
      case .replace: batch.delete(elements[...], from: set, alone: alone)
      }
    }
  }
}
