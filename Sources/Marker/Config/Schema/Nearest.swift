/// Finds the word that somebody may have meant.
enum Nearest {
  /// The word that takes the fewest changes, where they are few for its length.
  static func of(_ text: String, in words: some Sequence<String>) -> String? {
    let nearest = words.map { ($0, distance(text.lowercased(), $0.lowercased())) }.min { $0.1 < $1.1 }
    guard let (word, distance) = nearest, distance <= max(2, word.count / 3), distance < word.count else {
      return nil
    }
    return word
  }

  /// How many characters have to be inserted, removed, replaced or swapped with their neighbour.
  static func distance(_ left: String, _ right: String) -> Int {
    let (left, right) = (Array(left.utf8.prefix(100)), Array(right.utf8.prefix(100)))
    var beforeLast: [Int] = []
    var last = Array(0...right.count)
    for (row, a) in left.enumerated() {
      var current = [row + 1]
      for (column, b) in right.enumerated() {
        var cost = min(current[column] + 1, last[column + 1] + 1, last[column] + (a == b ? 0 : 1))
        if row > 0, column > 0, a == right[column - 1], left[row - 1] == b {
          cost = min(cost, beforeLast[column - 1] + 1)
        }
        current.append(cost)
      }
      (beforeLast, last) = (last, current)
    }
    return last[right.count]
  }
}
