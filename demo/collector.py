#!/usr/bin/python3
"""Receive fireflies on both ports and note each datagram, as it came, as one JSON line.

Usage: collector.py OUT   (prints "ready" once it listens; ends on SIGTERM)
"""

import json
import selectors
import socket
import sys

from plan import COLLECTOR_PORT, REMOTE_PORT

IPV6_RECVPKTINFO, IPV6_PKTINFO = 49, 50


def listen(port):
    """One socket for IPv6 and IPv4 that also tells which of our addresses a datagram was sent to."""
    receiver = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    receiver.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    receiver.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVPKTINFO, 1)
    receiver.bind(("::", port))
    return receiver


def plain(address):
    return address.removeprefix("::ffff:")


def receive(receiver):
    data, ancillary, _, sender = receiver.recvmsg(65535, 256)
    arrived_at = next(
        plain(socket.inet_ntop(socket.AF_INET6, value[:16]))
        for _, kind, value in ancillary if kind == IPV6_PKTINFO)
    return {
        "from": plain(sender[0]),
        "to": arrived_at,
        "port": receiver.getsockname()[1],
        "text": data.decode("utf-8", errors="backslashreplace"),
    }


def main():
    with selectors.DefaultSelector() as selector, open(sys.argv[1], "w", encoding="utf-8") as out:
        for port in (REMOTE_PORT, COLLECTOR_PORT):
            selector.register(listen(port), selectors.EVENT_READ)
        print("ready", flush=True)
        while True:
            for key, _ in selector.select():
                print(json.dumps(receive(key.fileobj)), file=out, flush=True)


if __name__ == "__main__":
    main()
