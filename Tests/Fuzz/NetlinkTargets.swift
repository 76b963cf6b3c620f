import Flow

@testable import Linux
@testable import NFT

// The payloads stand in memory of their own, which ends where they end: AddressSanitizer sees a read beyond.
extension FuzzTarget {
  /// Payloads of RTM_NEWLINK.
  static var rtnetlink: FuzzTarget {
    FuzzTarget(name: "rtnetlink") { payload in
      guard let interface = Interface(payload) else { return }
      require(!interface.name.utf8.contains(0), "a name ends at its zero")
    }
  }

  /// Payloads of SOCK_DIAG_BY_FAMILY.
  static var sockdiag: FuzzTarget {
    FuzzTarget(name: "sockdiag") { payload in
      for transport in [TransportProtocol.tcp, .udp] {
        guard let socket = SocketDescription(payload, transport) else { continue }
        require(socket.key.local.address.isIPv4 == socket.key.remote.address.isIPv4, "one address family")
        _ = (socket.bytes, socket.isConnection, socket.cgroup)
        _ = socket.tcpInfo?.bytes
      }
    }
  }

  /// Datagrams of nf_tables: elements, their counters and the records in their comments.
  static var nftables: FuzzTarget {
    FuzzTarget(name: "nftables") { datagram in
      Message.forEach(in: datagram) { message in
        _ = (message.errorCode, message.nfTables, message.family)
        ReportedElement.forEach(in: message) { element in
          _ = (element.key.count, element.mark, element.usage?.bytes)
          guard let comment = element.comment else { return }
          let key = FlowKey(
            local: Endpoint(Address(ipv4: 1), 1), remote: Endpoint(Address(ipv4: 2), 2), transport: .tcp)
          guard let record = RecordText.record(comment, of: key, { _ in .marker }) else { return }
          let again = RecordText.record(RecordText.text(record, application: nil), of: key) { _ in .marker }
          require(again == record, "written and read a record is the same: \(comment)")
        }
      }
    }
  }
}
