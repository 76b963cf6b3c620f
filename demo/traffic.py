#!/usr/bin/python3
"""Announce the plan's flows on marker's pipe and send real traffic through both ends of the lab.

Usage: traffic.py STRATEGY NEAR_NETNS FAR_NETNS PIPE STATISTICS

One process holds both ends: a socket belongs for good to the namespace in which it was made,
so nothing has to be arranged between two programs.
"""

import contextlib
import ctypes
import json
import os
import socket
import struct
import sys
import threading
import time

from plan import AFTER, BEFORE, DURING, PLANS

SETTLE = 0.4  # seconds for a flow line, or a firefly, to have done its work
TIMEOUT = 5  # seconds for anything on the veth pair
CLONE_NEWNET = 0x40000000
IPV6_FLOWLABEL_MGR, IPV6_FLOWINFO_SEND, IPV6_TCLASS = 32, 33, 67


@contextlib.contextmanager
def namespace(name):
    """Sockets made inside the block belong to the named network namespace."""
    libc = ctypes.CDLL(None, use_errno=True)

    def enter(descriptor):
        if libc.setns(descriptor, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"setns to {name}")

    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{name}", os.O_RDONLY)
    try:
        enter(there)
        yield
    finally:
        enter(home)
        os.close(there)
        os.close(home)


def new_socket(flow, end):
    family = socket.AF_INET6 if flow.family == 6 else socket.AF_INET
    kind = socket.SOCK_STREAM if flow.protocol == "tcp" else socket.SOCK_DGRAM
    made = socket.socket(family, kind)
    made.settimeout(TIMEOUT)
    # Flows share a far port, or a near port one after the other: that is what makes them near misses.
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if end == flow.near and flow.tclass:
        if flow.family == 6:
            made.setsockopt(socket.IPPROTO_IPV6, IPV6_TCLASS, flow.tclass)
        else:
            made.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, flow.tclass)
    made.bind(end)
    return made


def lease_label(sender, flow):
    """The kernel sends a label of ours only with a lease for it (struct in6_flowlabel_req)."""
    get, any_share, create = 0, 255, 1
    request = struct.pack(
        "=16s4sBBHHHI", socket.inet_pton(socket.AF_INET6, flow.far[0]),
        struct.pack("!I", flow.label), get, any_share, create, 0, 0, 0)
    sender.setsockopt(socket.IPPROTO_IPV6, IPV6_FLOWLABEL_MGR, request)
    sender.setsockopt(socket.IPPROTO_IPV6, IPV6_FLOWINFO_SEND, 1)


class TrafficStuck(Exception):
    """A flow's packets did not get through: the rest of the traffic is not sent."""


class Udp:
    def __init__(self, flow, near_netns, far_netns):
        self.flow = flow
        with namespace(near_netns):
            self.near = new_socket(flow, flow.near)
        with namespace(far_netns):
            self.far = new_socket(flow, flow.far)
        if flow.label:
            lease_label(self.near, flow)
            self.near.connect((*flow.far, flow.label, 0))
        else:
            self.near.connect(flow.far)
        self.far.connect(flow.near)

    def run(self, phase):
        """The payload names the phase: the judge then knows it without comparing clocks."""
        for sender, receiver, count in ((self.near, self.far, self.flow.up),
                                        (self.far, self.near, self.flow.down)):
            for number in range(count):
                sender.send(f"{phase} {number}".encode().ljust(64 + 70 * (number % 20)))
            for _ in range(count):
                receiver.recv(2048)


class Tcp:
    def __init__(self, flow, near_netns, far_netns):
        self.flow = flow
        opener, listener = (flow.near, flow.far) if flow.opener == "near" else (flow.far, flow.near)
        with namespace(far_netns if listener is flow.far else near_netns):
            self.listener = new_socket(flow, listener)
            self.listener.listen()
        with namespace(near_netns if opener is flow.near else far_netns):
            self.opener = new_socket(flow, opener)
        self.listening_at = listener

    def run(self, _phase):
        """Up, then down: near sends data, and after that nothing but acknowledgements."""
        self.opener.connect(self.listening_at)
        accepted, _ = self.listener.accept()
        accepted.settimeout(TIMEOUT)
        self.listener.close()
        near, far = (self.opener, accepted) if self.flow.opener == "near" else (accepted, self.opener)
        self.transfer(near, far, self.flow.up)
        self.transfer(far, near, self.flow.down)
        self.opener.close()
        accepted.recv(1)  # waits for the FIN
        accepted.close()

    def transfer(self, sender, receiver, size):
        writer = threading.Thread(target=sender.sendall, args=(bytes(size),))
        writer.start()
        left = size
        while left:
            part = receiver.recv(1 << 18)
            if not part:
                raise ConnectionError(f"{self.flow.name}: closed with {left} bytes to go")
            left -= len(part)
        writer.join()


def announce(pipe, state, flows):
    for flow in flows:
        print(f"  {flow.line(state)}")
    text = "".join(flow.line(state) + "\n" for flow in flows)
    try:
        os.write(pipe, text.encode())
    except OSError as error:
        sys.exit(f"traffic: the daemon let go of its pipe: {error.strerror}")
    time.sleep(SETTLE)


def packets_requested(netns):
    """How often IP was asked to send: a super-packet counts once, its segments don't."""
    with namespace(netns):
        with open("/proc/thread-self/net/snmp6", encoding="ascii") as file:
            six = dict(line.split() for line in file)["Ip6OutRequests"]
        with open("/proc/thread-self/net/snmp", encoding="ascii") as file:
            keys, values = [line.split() for line in file if line.startswith("Ip:")]
        return int(six) + int(dict(zip(keys, values))["OutRequests"])


def main():
    strategy, near_netns, far_netns, pipe_path, statistics = sys.argv[1:]
    flows = PLANS[strategy]
    announced = [flow for flow in flows if flow.tag]
    # A UDP flow keeps its sockets over all phases; listeners on one port must come one after the other.
    udp = {flow: Udp(flow, near_netns, far_netns) for flow in flows if flow.protocol == "udp"}

    def send(phase):
        for flow in flows:
            if phase not in flow.phases:
                continue
            try:
                (udp.get(flow) or Tcp(flow, near_netns, far_netns)).run(phase)
            except OSError as error:
                raise TrafficStuck(f"{flow.name}, {phase} its announcement: {error}") from error

    try:  # without O_NONBLOCK a daemon that doesn't read would keep us here for ever
        pipe = os.open(pipe_path, os.O_WRONLY | os.O_NONBLOCK)
    except OSError as error:
        sys.exit(f"traffic: nobody reads the pipe {pipe_path}: {error.strerror}")
    requested = packets_requested(near_netns)
    try:
        send(BEFORE)
        announce(pipe, "start", announced)
        send(DURING)
        announce(pipe, "end", announced)
        send(AFTER)
        stuck = None
    except TrafficStuck as error:
        stuck = f"traffic: {error}"
    with open(statistics, "w", encoding="ascii") as file:
        json.dump({"requested": packets_requested(near_netns) - requested}, file)
    sys.exit(stuck)


if __name__ == "__main__":
    main()
