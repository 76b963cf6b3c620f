internal import Flow
internal import Glibc
internal import Linux

/// How the table is made, and replaced while packets are in its chains.
///
/// A packet that chose its rules before a transaction looks its flow up after it (see `NFTPath.makeChains`): where a
/// table is replaced, it is asked for by the rules of the old one and found in none. So another table with the same
/// marks stands beside the old one meanwhile. To be stamped twice makes no difference.
extension NFTPath {
  func install(_ flows: Flows) throws(PathError) {
    var words: [UInt32: Int] = [:]
    var elements = Elements()
    flows { key, mark, usage in
      guard families.contains(key), let word = MarkWord(mark, isIPv4: key.isIPv4) else { return }
      words[word.rawValue, default: 0] += 1
      let element = Element(key: key.element, data: .mark(word.rawValue), usage: usage)
      if key.isIPv4 { elements.ipv4.append(element) } else { elements.ipv6.append(element) }
    }
    let isReplaced: Bool
    do { isReplaced = try socket.has(table) } catch { throw PathError(.nft, Self.explain(error)) }
    // Where the kernel refuses the stand-in, for want of memory for example, the table matters more than the few
    // packets that are in its chains.
    if isReplaced { try? socket.commit(making(table.standIn, words.keys, elements)) }
    do { try socket.commit(making(table, words.keys, elements)) } catch {
      throw PathError(.nft, Self.explain(error))
    }
    self.words = words
    // One of an earlier process may be there too, which was killed at this place.
    var batch = Batch(table.standIn)
    batch.deleteTable()
    do { try socket.commit(batch) } catch {
      guard error.code == ENOENT else { throw PathError(.nft, Self.explain(error)) }
    }
  }

  private struct Elements {
    var ipv4: [Element] = []
    var ipv6: [Element] = []
  }

  /// The transaction that puts a table with everything that is marked in the place of one of that name.
  private func making(
    _ table: TableName, _ words: some Sequence<UInt32>, _ elements: Elements
  ) -> Batch {
    var batch = Batch(table)
    // Deleting wants a table to be there, so that one is made first.
    batch.addTable()
    batch.deleteTable()
    batch.addTable()
    Ruleset.add(to: &batch, interfaces: interfaces, flowLimit: flowLimit)
    for packetMark in keptMarks where packetMark != 0 { Ruleset.serve(packetMark, &batch) }
    for word in words { MarkWord(rawValue: word).map { Ruleset.addMark($0, &batch) } }
    batch.add(elements.ipv4[...], to: Ruleset.flows4)
    batch.add(elements.ipv6[...], to: Ruleset.flows6)
    if let scope { MarkAll.add(scope, seed: seed, &batch) }
    return batch
  }
}
