import Glibc
import Linux
import Synchronization
import Testing

@testable import Marker

@Suite struct BoundedQueueTests {
  @Test func nothingIsLostBetweenThreads() async throws {
    let queue = try BoundedQueue<Int>(capacity: 100)
    let producers = 4
    let each = 20_000
    try await withThrowingTaskGroup { group in
      for producer in 0..<producers {
        group.addTask {
          await runOnThread(named: "producer") {
            for number in stride(from: 0, to: each, by: 10) {
              let batch = ContiguousArray((number..<number + 10).map { producer * each + $0 })
              #expect(queue.add(batch))
            }
          }
        }
      }
      group.addTask {
        await runOnThread(named: "consumer") {
          var seen = [Bool](repeating: false, count: producers * each)
          var last = [Int](repeating: -1, count: producers)
          var count = 0
          var buffer: ContiguousArray<Int> = []
          while count < seen.count {
            queue.wait()
            #expect(queue.take(into: &buffer))
            #expect(buffer.count < 110, "producers wait at the limit")
            for number in buffer {
              #expect(!seen[number] && last[number / each] < number)
              seen[number] = true
              last[number / each] = number
              count += 1
            }
          }
        }
      }
      try await group.waitForAll()
    }
  }

  @Test func closingFreesAllProducersThatWait() async throws {
    let queue = try BoundedQueue<Int>(capacity: 1)
    #expect(queue.add([1]))
    let freed = Count()
    try await withThrowingTaskGroup { group in
      for _ in 0..<5 {
        group.addTask {
          await runOnThread(named: "producer") {
            if !queue.add([2]) { freed.add() }
          }
        }
      }
      try await Task.sleep(for: .milliseconds(50))
      queue.close()
      for _ in 0..<200 where freed.value < 5 { try await Task.sleep(for: .milliseconds(10)) }
      #expect(freed.value == 5)
      guard freed.value == 5 else { exit(1) }  // the threads would never end
      try await group.waitForAll()
    }
    var buffer: ContiguousArray<Int> = []
    #expect(queue.take(into: &buffer) && buffer == [1], "what was accepted can still be taken")
    #expect(!queue.take(into: &buffer))
  }
}

private final class Count: Sendable {
  private let atomic = Atomic<Int>(0)
  var value: Int { atomic.load(ordering: .relaxed) }
  func add() { atomic.add(1, ordering: .relaxed) }
}
