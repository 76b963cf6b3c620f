import Flow

@testable import Firefly

extension FuzzTarget {
  /// Datagrams of the listener.
  static var firefly: FuzzTarget {
    FuzzTarget(name: "firefly") { input in
      // Names are kept for good, so there is a table for each input.
      let names = ApplicationNames(own: "own")
      var decoder = FireflyDecoder(applications: names)
      let bytes = Array(input.bindMemory(to: UInt8.self))
      do throws(FireflyError) {
        let heard = try decoder.decode(bytes.span)
        require(SciTag.experiments.contains(Int(heard.tag.experiment)), "the experiment is in range")
        require(SciTag.activities.contains(Int(heard.tag.activity)), "the activity is in range")
        require(
          heard.flow.source.address.isIPv4 == heard.flow.destination.address.isIPv4, "one address family")
        for time in [heard.start, heard.end].compactMap(\.self) {
          require(Timestamp.range.contains(time.microseconds), "times are in range")
        }
        let json = heard.json
        require(json.lowerBound >= 0 && json.upperBound <= bytes.count, "the JSON lies in the datagram")
        require(
          bytes[json.lowerBound] == UInt8(ascii: "{") && bytes[json.upperBound - 1] == UInt8(ascii: "}"),
          "the JSON is an object")
        let name = names.name(of: heard.application)
        require(
          name.utf8.count <= ApplicationCache.longestName
            && !name.unicodeScalars.contains { $0.value < 0x20 }, "the name can be shown")
        // What the relay cuts out says the same.
        var again = FireflyDecoder(applications: names)
        do throws(FireflyError) {
          let part = try again.decode(bytes.span.extracting(json))
          require(part.flow == heard.flow && part.tag == heard.tag, "the JSON alone says the same")
        } catch {
          fatalError("the JSON alone is refused: \(error)")
        }
      } catch {
        require((0...bytes.count).contains(error.offset), "the error lies in the datagram")
        require(!"\(error)".isEmpty, "the error says something")
      }
    }
  }

  /// What stands before a firefly's JSON, and names that become a header of our own.
  static var syslog: FuzzTarget {
    FuzzTarget(name: "syslog") { input in
      let bytes = Array(input.bindMemory(to: UInt8.self))
      _ = SyslogHeader.isProper(bytes.span)
      let half = bytes.count / 2
      var writer = ByteWriter(capacity: FireflyEncoder.maximumSize)
      SyslogHeader.append(
        host: String(decoding: bytes[..<half], as: UTF8.self),
        application: String(decoding: bytes[half...], as: UTF8.self), to: &writer)
      // As if the time were there.
      writer.start[SyslogHeader.timestampOffset] = UInt8(ascii: "2")
      require(SyslogHeader.isProper(writer.bytes.span), "our own header is one that collectors understand")
    }
  }

  /// Datagrams on the STUN client's socket.
  static var stun: FuzzTarget {
    FuzzTarget(name: "stun") { input in
      let datagram = Array(input.bindMemory(to: UInt8.self))
      // The number that the input has where an answer has it, else all but the first byte would never be read.
      let id = STUNMessage.TransactionID(
        bytes: datagram.count >= 20 ? Array(datagram[8..<20]) : [UInt8](repeating: 0, count: 12))
      do throws(STUNError) {
        let address = try STUNMessage.reflexiveAddress(in: datagram, for: id)
        require(address == nil || datagram.count >= 28, "an address takes eight bytes")
      } catch {
        require(!"\(error)".isEmpty, "the error says something")
      }
    }
  }
}
