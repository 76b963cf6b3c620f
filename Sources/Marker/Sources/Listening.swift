import Flow

/// Where fireflies of others are heard, and whose.
struct Listening: Equatable, Sendable {
  /// Without any, nothing is heard.
  var addresses: [Endpoint] = []
  /// Who may send. UDP's senders are easily forged beyond the host.
  var senders = Network.loopback
  /// Fireflies of one sender in a second.
  var rate = 10_000
  /// Whether what is heard goes to the collectors.
  var relays = false

  var isOn: Bool { !addresses.isEmpty }
}
