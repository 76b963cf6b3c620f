"""Whether the packets of a capture carry what they have to, and no others do."""

from lab import Wrong
from packets import FIN, SYN, TCP, UDP
from plan import MARK_BITS, dscp_mark, label_mark

PROTOCOLS = {"tcp": TCP, "udp": UDP}


def of(flow, seen):
    key = (PROTOCOLS[flow.protocol], *flow.near, *flow.far)
    found = [packet for packet in seen
             if (packet.protocol, packet.src, packet.sport, packet.dst, packet.dport) == key]
    if not found:
        raise Wrong(f"{flow.name}: no packet of it arrived")
    if broken := [packet for packet in found if not packet.sound]:
        raise Wrong(f"{flow.name}: {len(broken)} of {len(found)} packets have a wrong length or checksum")
    return found


def carries(flow, packet, stamp):
    if stamp == "label":
        return packet.label & MARK_BITS == label_mark(*flow.tag)
    return packet.tclass >> 2 == dscp_mark(flow.tag[0])


def value(packet, stamp):
    if stamp == "headers":
        return f"headers {packet.options}"
    return f"label {packet.label:05x}" if stamp == "label" else f"DSCP {packet.tclass >> 2}"


def marked(flow, seen, stamp):
    """All packets of a tagged flow carry its mark, the same one; returns how many they were."""
    found = of(flow, seen)
    if without := [packet for packet in found if not carries(flow, packet, stamp)]:
        raise Wrong(f"{flow.name}: {len(without)} of {len(found)} packets lack the mark, the first is"
                    f" {position(without[0], found)} with {value(without[0], stamp)}")
    values = sorted({value(packet, stamp) for packet in found})
    if len(values) > 1:
        raise Wrong(f"{flow.name}: its packets carry more than one mark: {', '.join(values)}")
    return len(found)


def option(flow):
    """As flowd-go 2.3 writes it: type 0x1e, three bytes of data, a Pad1."""
    experiment, activity = flow.tag
    return bytes([0x1E, 3, experiment >> 8, experiment & 0xFF, activity, 0])


def with_headers(flow, seen, least):
    """At least this part of the flow's packets has both headers; those within them of the segment size have none."""
    found = of(flow, seen)
    right = [(0, option(flow)), (60, option(flow))]
    if strange := [packet for packet in found if packet.options not in ([], right)]:
        raise Wrong(f"{flow.name}: {len(strange)} of {len(found)} packets have other headers: {strange[0].options}")
    have = sum(packet.options == right for packet in found)
    if have < least * len(found):
        raise Wrong(f"{flow.name}: only {have} of {len(found)} packets have the headers")
    return f"{have} of {len(found)} {flow.protocol.upper()}"


def position(packet, found):
    kind = "a SYN" if packet.flags & SYN else "a FIN" if packet.flags & FIN else "a packet"
    return f"{kind}, number {found.index(packet) + 1} of the flow"


def whole(flow, seen):
    """The capture has all of a TCP flow that near sent: SYN, data, FIN."""
    found = of(flow, seen)
    data = sum({packet.seq: len(packet.payload) for packet in found}.values())
    if data < flow.up:
        raise Wrong(f"{flow.name}: captured {data} bytes of data, should be {flow.up}")
    for name, bit in (("SYN", SYN), ("FIN", FIN)):
        if not any(packet.flags & bit for packet in found):
            raise Wrong(f"{flow.name}: captured no {name}")


def unmarked(flow, like, seen, stamp, automatic_labels):
    """An untagged flow left as it came, though it resembles the tagged one in all but one thing."""
    found = of(flow, seen)
    if stamp == "headers":
        touched = [packet for packet in found if packet.options]
    elif automatic_labels and stamp == "label":
        touched = [packet for packet in found if carries(like, packet, stamp)]
    else:
        touched = [packet for packet in found if packet.label or packet.tclass >> 2]
    if touched:
        raise Wrong(f"{flow.name}: {len(touched)} of {len(found)} packets of an untagged flow carry"
                    f" {value(touched[0], stamp)}")
