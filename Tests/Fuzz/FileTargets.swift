import Flow

@testable import Marker

extension FuzzTarget {
  /// Capture files, pcapng and pcap. The first byte says in which pieces they are delivered, which changes nothing.
  static var capture: FuzzTarget {
    FuzzTarget(name: "capture") { input in
      guard let first = input.first else { return }
      let bytes = UnsafeRawBufferPointer(rebasing: input.dropFirst())
      require(
        packets(bytes, piece: Int(first) + 1) == packets(bytes, piece: 1 << 16), "pieces change nothing")
    }
  }

  /// What is told of each packet, and how it ends.
  private static func packets(_ bytes: UnsafeRawBufferPointer, piece: Int) -> [String] {
    var place = 0
    var told: [String] = []
    do throws(CaptureError) {
      var reader = try CaptureReader("fuzz") { room in
        let count = min(piece, room.count, bytes.count - place)
        room.copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[place..<place + count]))
        place += count
        return count
      }
      while let packet = try reader.next() {
        require(packet.frame.count <= packet.length, "no more was kept than there was")
        require(reader.interfaces.indices.contains(packet.interface), "its interface is described")
        let interface = reader.interfaces[packet.interface]
        let marked = LinkType(rawValue: interface.link).flatMap { MarkedPacket(packet, $0) }
        told.append("\(Array(packet.frame)) \(packet.length) \(packet.time) \(interface) \(marked as Any)")
      }
    } catch {
      require(
        !error.reason.isEmpty && error.offset <= UInt64(bytes.count), "the error has a place in the file")
      told.append("\(error)")
    }
    return told
  }

  /// Registries as scitags.org serves them. What is accepted can be looked up.
  static var registry: FuzzTarget {
    FuzzTarget(name: "registry") { input in
      do throws(RegistryProblem) {
        let registry = try RegistryFile.parse(Array(input.bindMemory(to: UInt8.self)), source: "fuzz")
        for experiment in registry.experiments {
          do throws(SciTagError) {
            require(try registry.experiment(experiment.name) == experiment.number, "its name leads to it")
          } catch {
            fatalError("\(experiment) is not found: \(error)")
          }
        }
      } catch {
        require(!error.reason.isEmpty, "the error says something")
      }
    }
  }
}
