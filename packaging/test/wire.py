#!/usr/bin/env python3
"""wire.py send ADDRESS PORT LOCAL_PORT | wire.py watch INTERFACE PORT FILE: numbered UDP packets, and what is stamped on
them where they arrive.

watch writes a line for each packet, NUMBER LABEL DSCP, until it is ended, the label without its free bits. Both run in namespaces of the test.
"""

import socket
import struct
import sys
import time

# Beside these five bits a flow label is the SciTag's (draft-cc-v6ops-wlcg-flow-label-marking).
ENTROPY = 0xC0103
# ETH_P_ALL (linux/if_ether.h) and PACKET_OUTGOING (linux/if_packet.h).
ALL, OUTGOING = 0x0003, 4
# asm-generic/socket.h
SO_RCVBUFFORCE = 33


def send(address, port, local_port):
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("::" if ":" in address else "0.0.0.0", local_port))
    sock.connect((address, port))
    number = 0
    while True:
        try:
            sock.send(struct.pack("!Q", number))
            number += 1
        except ConnectionRefusedError:
            # Of the packet before: this one was not sent.
            continue
        time.sleep(0.002)


def watch(interface, port, path):
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL))
    sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 24)
    sock.bind((interface, 0))
    with open(path, "w", buffering=1) as log:
        while True:
            frame, where = sock.recvfrom(2048)
            if where[2] == OUTGOING:
                continue
            kind = struct.unpack_from("!H", frame, 12)[0]
            if kind == 0x86DD and frame[20] == socket.IPPROTO_UDP:
                word, udp = struct.unpack_from("!I", frame, 14)[0], 54
                label, dscp = word & 0xFFFFF & ~ENTROPY, word >> 22 & 0x3F
            elif kind == 0x0800 and frame[23] == socket.IPPROTO_UDP:
                label, dscp, udp = 0, frame[15] >> 2, 34
            else:
                continue
            if struct.unpack_from("!H", frame, udp + 2)[0] == port and len(frame) >= udp + 16:
                print(struct.unpack_from("!Q", frame, udp + 8)[0], label, dscp, file=log)


def main():
    if sys.argv[1] == "send":
        send(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    else:
        watch(sys.argv[2], int(sys.argv[3]), sys.argv[4])


if __name__ == "__main__":
    main()
