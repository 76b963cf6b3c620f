"""Packets of a pcap file, decoded as far as the judge needs them. Knows nothing of flows or marks."""

import ipaddress
import struct
from dataclasses import dataclass

TCP, UDP = 6, 17
SYN, FIN = 0x02, 0x01


@dataclass
class Packet:
    number: int  # as Wireshark counts: from 1
    family: int
    protocol: int
    src: str
    dst: str
    tclass: int  # IPv6 traffic class or IPv4 TOS: DSCP and ECN
    label: int  # 0 on IPv4
    sound: bool  # version, lengths and checksums are right
    sport: int = 0
    dport: int = 0
    seq: int = 0
    flags: int = 0
    payload: bytes = b""


def ones_complement_sound(data):
    """A right checksum makes the one's complement sum of all 16-bit words 0xFFFF, which is 0 mod 0xFFFF."""
    if len(data) % 2:
        data += b"\0"
    return any(data) and int.from_bytes(data, "big") % 0xFFFF == 0


def transport(packet, source, destination, segment):
    pseudo = source + destination + struct.pack("!II", len(segment), packet.protocol)
    if packet.protocol == TCP and len(segment) >= 20:
        packet.sport, packet.dport, packet.seq = struct.unpack_from("!HHI", segment)
        packet.flags = segment[13]
        packet.payload = segment[(segment[12] >> 4) * 4:]
        packet.sound &= ones_complement_sound(pseudo + segment)
    elif packet.protocol == UDP and len(segment) >= 8:
        packet.sport, packet.dport, length, checksum = struct.unpack_from("!HHHH", segment)
        packet.payload = segment[8:]
        packet.sound &= length == len(segment)
        packet.sound &= checksum != 0 and ones_complement_sound(pseudo + segment)
    elif packet.protocol in (TCP, UDP):
        packet.sound = False
    return packet


def ipv6(number, data):
    word, length, protocol = struct.unpack_from("!IHB", data)
    source, destination = data[8:24], data[24:40]
    packet = Packet(
        number, 6, protocol, str(ipaddress.IPv6Address(source)),
        str(ipaddress.IPv6Address(destination)), tclass=word >> 20 & 0xFF, label=word & 0xFFFFF,
        sound=word >> 28 == 6 and len(data) >= 40 + length)
    return transport(packet, source, destination, data[40:40 + length])


def ipv4(number, data):
    header = (data[0] & 0xF) * 4
    length, fragment = struct.unpack_from("!HxxH", data, 2)
    source, destination = data[12:16], data[16:20]
    packet = Packet(
        number, 4, data[9], str(ipaddress.IPv4Address(source)),
        str(ipaddress.IPv4Address(destination)), tclass=data[1], label=0,
        sound=data[0] >> 4 == 4 and len(data) >= length and fragment & 0x3FFF == 0
        and ones_complement_sound(data[:header]))
    return transport(packet, source, destination, data[header:length])


def frames(path):
    with open(path, "rb") as file:
        head = file.read(24)
        order = {b"\xd4\xc3\xb2\xa1": "<", b"\x4d\x3c\xb2\xa1": "<",
                 b"\xa1\xb2\xc3\xd4": ">", b"\xa1\xb2\x3c\x4d": ">"}.get(head[:4])
        if order is None or len(head) < 24:
            raise ValueError(f"{path} is not a pcap file")
        if struct.unpack(order + "I", head[20:])[0] != 1:
            raise ValueError(f"{path} does not hold Ethernet frames")
        while record := file.read(16):
            _, _, captured, original = struct.unpack(order + "IIII", record)
            data = file.read(captured)
            if len(data) < captured or captured < original:
                raise ValueError(f"{path} holds cut packets")
            yield data


def packets(path):
    """All IPv6 and IPv4 packets, in order; a frame of another kind is an error in a lab with static neighbours."""
    for number, frame in enumerate(frames(path), 1):
        kind = int.from_bytes(frame[12:14], "big")
        if kind == 0x86DD and len(frame) >= 54:
            yield ipv6(number, frame[14:])
        elif kind == 0x0800 and len(frame) >= 34:
            yield ipv4(number, frame[14:])
        else:
            raise ValueError(f"{path}: frame {number} is neither IPv6 nor IPv4 (type 0x{kind:04x})")
