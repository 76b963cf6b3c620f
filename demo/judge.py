#!/usr/bin/python3
"""Compare the capture and the received fireflies with the plan; exit 0 only if nothing differs.

Usage: judge.py STRATEGY PCAP FIREFLIES STATISTICS SCHEMA

In the lab every packet's header is known beforehand: automatic flow labels are off, so that a
packet which nobody marked has label 0, or the one its application set, and the traffic class
of its socket. Anything else on the wire was changed.
"""

import json
import os
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass, field

import fireflies
from packets import FIN, SYN, TCP, UDP, packets
from plan import (AFTER, BEFORE, DURING, MARK_BITS, NEAR4, NEAR4_OTHER, NEAR6, NEAR6_OTHER, PLANS,
                  decode_label, dscp_mark, label_mark, tag_name)

NEAR = {NEAR4, NEAR4_OTHER, NEAR6, NEAR6_OTHER}
PROTOCOLS = {"tcp": TCP, "udp": UDP}
ECT_0 = 0b10
COLOURS = sys.stdout.isatty() and "NO_COLOR" not in os.environ


def paint(code, text):
    return f"\033[{code}m{text}\033[0m" if COLOURS else text


@dataclass
class Seen:
    """What the capture holds of one flow, local -> remote."""
    packets: int = 0  # in the phase in which the flow is announced
    marked: int = 0
    outside: int = 0  # before its start line or after its end line
    labels: set = field(default_factory=set)
    dscps: set = field(default_factory=set)
    first_seq: int = 0  # of the data
    data: bytearray = None  # one for each byte of the stream that was seen
    kinds: Counter = field(default_factory=Counter)


class Capture:
    def __init__(self, strategy):
        self.strategy = strategy
        self.flows = {(PROTOCOLS[f.protocol], *f.near, *f.far): f for f in PLANS[strategy]}
        self.seen = defaultdict(Seen)
        self.faults = {}  # text: [count, number of the first packet]
        self.outgoing = self.incoming = self.others = 0

    def fault(self, packet, text):
        self.faults.setdefault(text, [0, packet.number])[0] += 1

    def add(self, packet):
        if not packet.sound:
            self.fault(packet, f"packet from {packet.src} to {packet.dst} has a wrong length or checksum")
        if packet.src not in NEAR:
            # Captured before it could meet the marker: shows that the lab itself adds no label.
            self.incoming += 1
            if packet.label:
                self.fault(packet, f"packet from {packet.src} has label {packet.label:05x} in a lab without labels")
            return
        self.outgoing += 1
        flow = self.flows.get((packet.protocol, packet.src, packet.sport, packet.dst, packet.dport))
        if flow is None:  # fireflies
            self.others += 1
            self.unchanged(packet, "packet of no flow", 0, 0)
            return
        self.of_flow(flow, packet)

    def unchanged(self, packet, name, label, tclass):
        if packet.label != label:
            self.fault(packet, f"{name}: label {packet.label:05x}, should be {label:05x} as sent")
        self.traffic_class(packet, name, tclass)

    def traffic_class(self, packet, name, tclass):
        if packet.tclass >> 2 != tclass >> 2:
            self.fault(packet, f"{name}: DSCP {packet.tclass >> 2}, should be {tclass >> 2}")
        if packet.tclass & 3 != tclass & 3:
            self.fault(packet, f"{name}: ECN {packet.tclass & 3:02b}, should be {tclass & 3:02b}")

    def of_flow(self, flow, packet):
        seen = self.seen[flow]
        tclass = flow.tclass | self.ecn_of_tcp(seen, packet)
        phase = DURING
        if flow.protocol == "udp":
            phase = packet.payload.split(b" ")[0].decode("ascii", "replace")
        if phase in (BEFORE, AFTER):
            seen.outside += 1
            self.unchanged(packet, f"{flow.name}, {phase} its announcement", flow.label, tclass)
            return
        seen.packets += 1
        seen.labels.add(packet.label)
        seen.dscps.add(packet.tclass >> 2)
        if not flow.marked(self.strategy):
            self.unchanged(packet, flow.name, flow.label, tclass)
        elif self.strategy == "label":
            mark = label_mark(*flow.tag)
            seen.marked += packet.label & MARK_BITS == mark
            if packet.label & MARK_BITS != mark:
                self.fault(packet, f"{flow.name}: label {packet.label:05x} carries {packet.label & MARK_BITS:05x},"
                                   f" should be {mark:05x} = {tag_name(*flow.tag)}")
            self.traffic_class(packet, flow.name, tclass)
        else:
            dscp = dscp_mark(flow.tag[0])
            seen.marked += packet.tclass >> 2 == dscp
            self.traffic_class(packet, flow.name, dscp << 2 | tclass & 3)

    def ecn_of_tcp(self, seen, packet):
        """The lab negotiates ECN: new data is sent ECT(0), all else of TCP without ECN (RFC 3168 section 6.1)."""
        if packet.protocol != TCP:
            return 0
        seen.kinds["SYN"] += bool(packet.flags & SYN)
        seen.kinds["FIN"] += bool(packet.flags & FIN)
        seen.kinds["pure ACK"] += not packet.payload and not packet.flags & (SYN | FIN)
        if packet.flags & SYN:
            seen.first_seq, seen.data = packet.seq + 1, bytearray()
        if not packet.payload or seen.data is None:
            return 0
        at = packet.seq - seen.first_seq & 0xFFFFFFFF
        beyond = at + len(packet.payload)
        seen.data.extend(bytes(max(0, beyond - len(seen.data))))
        sent_again = any(seen.data[at:beyond])
        seen.data[at:beyond] = b"\1" * len(packet.payload)
        return packet.tclass & ECT_0 if sent_again else ECT_0

    def all_faults(self):
        for text, (count, first) in self.faults.items():
            yield f"{text} ({count} packets, the first is number {first})"
        yield from self.of_whole_flows()

    def of_whole_flows(self):
        """Faults that no single packet shows, among them that a flow was not captured whole."""
        for flow in self.flows.values():
            seen = self.seen[flow]
            if len(seen.labels) > 1:
                labels = ", ".join(f"{label:05x}" for label in sorted(seen.labels))
                yield f"{flow.name}: more than one label in one flow, which ECMP would reorder: {labels}"
            if flow.protocol == "udp":
                expected = flow.up, flow.up * (len(flow.phases) - 1)
                if (seen.packets, seen.outside) != expected:
                    yield (f"{flow.name}: captured {seen.packets} packets while announced and {seen.outside} else,"
                           f" should be {expected[0]} and {expected[1]}")
                continue
            data = (seen.data or b"").count(1)
            if data != flow.up:
                yield f"{flow.name}: captured {data} bytes of data, should be {flow.up}"
            for kind in ("SYN", "FIN", "pure ACK"):
                if not seen.kinds[kind]:
                    yield f"{flow.name}: captured no {kind}"


def short(address, port):
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def print_table(capture):
    strategy = capture.strategy
    rows = []
    for flow in capture.flows.values():
        seen = capture.seen[flow]
        field_text = " ".join(f"{label:05x}" for label in sorted(seen.labels)[:2]) if strategy == "label" \
            else " ".join(str(dscp) for dscp in sorted(seen.dscps)[:2])
        if flow.family == 4 and strategy == "label":
            field_text = "-"
        meaning = "untagged"
        if flow.marked(strategy):
            tags = [decode_label(label) for label in seen.labels] if strategy == "label" \
                else [(dscp >> 2,) for dscp in seen.dscps if dscp & 3 == 3]
            meaning = ", ".join(tag_name(*tag) for tag in tags[:2]) or "nothing"
        elif flow.tag:
            meaning = "announced, not marked"
        route = f"{flow.protocol} {short(*flow.near)} > {short(*flow.far)}"
        outside = f" +{seen.outside} plain" if seen.outside else ""
        rows.append((flow, seen, route, field_text, meaning, f"{seen.marked:>5} / {seen.packets:<5}{outside}"))
    width = [max(len(row[0].name) for row in rows), *(max(len(row[i]) for row in rows) for i in (2, 3, 4))]
    heads = ("flow", "local > remote", strategy, "decoded")
    print(paint(1, "  ".join(head.ljust(w) for head, w in zip(heads, width)) + "  marked / seen"))
    for flow, seen, *cells, counts in rows:
        line = "  ".join(cell.ljust(w) for cell, w in zip((flow.name, *cells), width)) + "  " + counts
        whole = seen.marked == (seen.packets if flow.marked(strategy) else 0)
        colour = 31 if not whole else 32 if flow.marked(strategy) else 0
        print(paint(colour, line.rstrip()))


def print_fireflies(messages):
    print(paint(1, "fireflies, as received"))
    for received, message in messages:
        if message is None:
            print(paint(31, f"  {fireflies.destination(received):10}  {received['text'][:100]!r}"))
            continue
        identity, context, usage = message["flow-id"], message["context"], message.get("usage", {})
        volume = f"  sent {usage.get('sent', '-')} received {usage.get('received', '-')}" if usage else ""
        print(f"  {fireflies.destination(received):10}  {message['flow-lifecycle']['state']:7}"
              f"  {identity['protocol']} {short(identity['src-ip'], identity['src-port'])} > "
              f"{short(identity['dst-ip'], identity['dst-port'])}"
              f"  {tag_name(context['experiment-id'], context['activity-id'])}{volume}")
    ends = [received for received, message in messages if message and message["flow-lifecycle"]["state"] == "end"]
    if ends:
        print(f"\none of them, raw:\n  {ends[0]['text']}")


def print_notes(flows):
    unknown = {flow.tag for flow in flows if flow.tag and "experiment" in tag_name(*flow.tag)}
    for tag in sorted(unknown):
        print(f"  {tag_name(*tag)} is not in the registry: the highest values that a label can carry")


def main():
    strategy, pcap, received_path, statistics, schema = sys.argv[1:]
    capture = Capture(strategy)
    for packet in packets(pcap):
        capture.add(packet)
    with open(statistics, encoding="ascii") as file:
        requested = json.load(file)["requested"]

    print_table(capture)
    print_notes(capture.flows.values())
    print(f"\n{capture.outgoing} packets went out and {capture.incoming} came in,"
          f" {capture.others} of the first belong to no flow above (fireflies)")
    print(f"IP handed {requested} to the device: the rest was cut from super-packets after the marker's hook (GSO)\n")
    messages, faults = fireflies.judge(capture.flows.values(), fireflies.read(received_path), schema)
    print_fireflies(messages)
    print()

    faults = [*capture.all_faults(), *faults]
    if requested >= capture.outgoing:
        faults.append("no super-packet was sent: GSO was not put to the test")
    for fault, count in Counter(faults).items():
        print(paint(31, f"WRONG  {fault}" + (f" ({count} times)" if count > 1 else "")))
    if faults:
        print(paint("1;31", f"FAIL: {len(faults)} things are wrong"))
        return 1
    print(paint("1;32", "PASS: every packet of the tagged flows is marked, no other packet differs,"
                        " all fireflies are there"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
