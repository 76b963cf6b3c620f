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

  @Test func closingFreesAProducerThatWaits() async throws {
    let queue = try BoundedQueue<Int>(capacity: 1)
    #expect(queue.add([1]))
    async let waiting: Void = runOnThread(named: "producer") { #expect(!queue.add([2])) }
    try await Task.sleep(for: .milliseconds(20))
    queue.close()
    await waiting
    var buffer: ContiguousArray<Int> = []
    #expect(queue.take(into: &buffer) && buffer == [1], "what was accepted can still be taken")
    #expect(!queue.take(into: &buffer))
  }
}
