import Flow

/// What fireflies tell of a TCP connection beside its bytes, in their object `netlink`. The keys are those of flowd-go's
/// modes of the same names.
///
/// `compatible` and `full` leave out what is zero, and a firefly that has no room for theirs gets the short form. One
/// that has none for that either gets no `netlink`.
public enum Enrichment: String, Sendable, CaseIterable {
  case none
  /// A dozen fields in `tcpInfo`, and `cong`. Times are in microseconds.
  case lean
  /// flowd's flat object, whose `rtt` is in milliseconds: what the reference collector reads.
  case compatible
  /// All that the kernel tells, in `tcpInfo`, and `cong`. Times are in microseconds.
  case full
}

/// Whether what fireflies tell of a connection stands in their object `skOps` too, which flowd-go has where its
/// sock_ops program found it: for flows that the socket watch found. The object is the same as `netlink`.
public enum SkOps: String, Sendable, CaseIterable {
  case none
  /// In both objects. The second is left out where there is no room for it.
  case besides
  /// In `skOps` alone.
  case instead
}

/// One key of an enrichment, and what stands behind it.
struct EnrichmentKey {
  enum Form {
    case number
    /// From microseconds, with three digits behind the point.
    case milliseconds
    /// Nothing where the threshold was never reached: the kernel has a very large number then.
    case threshold
    /// The name that ss(8) and flowd have for a state.
    case state
    /// A list of names.
    case options
  }

  let name: StaticString
  let field: TCPInfo.Field
  let form: Form

  init(_ name: StaticString, _ field: TCPInfo.Field, _ form: Form = .number) {
    self.name = name
    self.field = field
    self.form = form
  }
}

extension Enrichment {
  /// flowd-go's keys with its struct tag `lean`, which one of its fields lacks: hence the capital letter.
  static let leanKeys: [EnrichmentKey] = [
    .init("Retransmits", .retransmits), .init("sndMss", .sendMSS), .init("pMtu", .pathMTU),
    .init("rtt", .rtt), .init("rttVar", .rttVariance), .init("sndSsThresh", .sendThreshold),
    .init("sndCwnd", .congestionWindow), .init("advMss", .advertisedMSS), .init("minRtt", .minimumRTT),
    .init("deliveryRate", .deliveryRate), .init("bytesSent", .bytesSent),
  ]

  static let fullKeys: [EnrichmentKey] = [
    .init("state", .state), .init("caState", .congestionState), .init("retransmits", .retransmits),
    .init("probes", .probes), .init("backoff", .backoff), .init("options", .options),
    .init("sndWscale", .sendWindowScale), .init("rcvdWscale", .receiveWindowScale),
    .init("deliveryRateAppLimited", .deliveryRateIsLimited), .init("fastOpenClientFail", .fastOpenFailure),
    .init("rto", .rto), .init("ato", .ato), .init("sndMss", .sendMSS), .init("rcvMss", .receiveMSS),
    .init("unAcked", .unacked), .init("sAcked", .sacked), .init("lost", .lost), .init("retrans", .retrans),
    .init("fAckets", .fackets), .init("lastDataSent", .lastDataSent), .init("lastAckSent", .lastAckSent),
    .init("lastDataRecv", .lastDataReceived), .init("lastAckRecv", .lastAckReceived),
    .init("pMtu", .pathMTU), .init("rcvSsThresh", .receiveThreshold), .init("rtt", .rtt),
    .init("rttVar", .rttVariance), .init("sndSsThresh", .sendThreshold), .init("sndCwnd", .congestionWindow),
    .init("advMss", .advertisedMSS), .init("reordering", .reordering), .init("rcvRtt", .receiveRTT),
    .init("rcvSpace", .receiveSpace), .init("totalRetrans", .totalRetrans), .init("pacingRate", .pacingRate),
    .init("maxPacingRate", .maximumPacingRate), .init("bytesAcked", .bytesAcked),
    .init("bytesRecv", .bytesReceived), .init("segsOut", .segmentsOut), .init("segsIn", .segmentsIn),
    .init("notsentBytes", .notSentBytes), .init("minRtt", .minimumRTT), .init("dataSegsIn", .dataSegmentsIn),
    .init("dataSegsOut", .dataSegmentsOut), .init("deliveryRate", .deliveryRate),
    .init("busyTime", .busyTime),
    .init("rwndLimited", .receiveWindowLimited), .init("sndBufLimited", .sendBufferLimited),
    .init("delivered", .delivered), .init("deliveredCe", .deliveredCE), .init("bytesSent", .bytesSent),
    .init("bytesRetrans", .bytesRetransmitted), .init("dsAckDups", .duplicateSACKs),
    .init("reordSeen", .reorderingSeen), .init("rcvOooPack", .receivedOutOfOrder),
    .init("sndWnd", .sendWindow),
  ]

  /// Of the flat keys those that matter most.
  static let shortCompatibleKeys: [EnrichmentKey] = [
    .init("state", .state, .state), .init("rtt", .rtt, .milliseconds),
    .init("rttvar", .rttVariance, .milliseconds), .init("min_rtt", .minimumRTT), .init("pmtu", .pathMTU),
    .init("snd_mss", .sendMSS), .init("snd_cwnd", .congestionWindow),
    .init("snd_ssthresh", .sendThreshold, .threshold), .init("delivery_rate", .deliveryRate),
    .init("bytes_acked", .bytesAcked), .init("bytes_received", .bytesReceived),
    .init("total_retrans", .totalRetrans), .init("lost", .lost),
  ]

  static let compatibleKeys: [EnrichmentKey] =
    shortCompatibleKeys + [
      .init("retrans", .retrans), .init("retransmits", .retransmits), .init("pacing_rate", .pacingRate),
      .init("max_pacing_rate", .maximumPacingRate), .init("segs_in", .segmentsIn),
      .init("segs_out", .segmentsOut), .init("data_segs_in", .dataSegmentsIn),
      .init("data_segs_out", .dataSegmentsOut), .init("ato", .ato, .milliseconds),
      .init("rto", .rto, .milliseconds), .init("snd_wscale", .sendWindowScale),
      .init("rcv_wscale", .receiveWindowScale), .init("rcv_rtt", .receiveRTT, .milliseconds),
      .init("rcv_space", .receiveSpace), .init("opts", .options, .options),
      .init("last_data_sent", .lastDataSent), .init("rcv_ssthresh", .receiveThreshold),
      .init("notsent_bytes", .notSentBytes), .init("rcv_mss", .receiveMSS),
      .init("rwnd_limited", .receiveWindowLimited), .init("probes", .probes),
      .init("reordering", .reordering), .init("last_data_recv", .lastDataReceived),
      .init("fackets", .fackets), .init("last_ack_recv", .lastAckReceived),
      .init("last_ack_sent", .lastAckSent), .init("unacked", .unacked), .init("sacked", .sacked),
      .init("delivery_rate_app_limited", .deliveryRateIsLimited),
      .init("sndbuf_limited", .sendBufferLimited), .init("ca_state", .congestionState),
      .init("busy_time", .busyTime), .init("advmss", .advertisedMSS), .init("backoff", .backoff),
    ]
}
