"""Two namespaces in the guest, the daemon in one of them, and what arrives in the other.

  near: marker, the flows' local ends   --- veth ---   far: their remote ends, the capture
  near                                  --- box: a bridge, marker between its ports ---   far
"""

import os
import signal
import socket
import subprocess
import threading
import time

import packets
from plan import FAR4, FAR6, NEAR4, NEAR4_OTHER, NEAR6, NEAR6_OTHER
from traffic import namespace

READY_TIMEOUT = 90  # seconds; emulated processors are slow
COMMAND_TIMEOUT = 120
SO_RCVBUFFORCE = 33
SOL_PACKET, PACKET_STATISTICS, PACKET_IGNORE_OUTGOING = 263, 6, 23
OPTION_HEADERS = (0, 60)  # RFC 8200: hop-by-hop, destination
NEAR_MAC, FAR_MAC = "02:00:00:00:00:01", "02:00:00:00:00:02"
HAS_IPV6 = os.path.exists("/proc/net/if_inet6")


class Refused(Exception):
    """The daemon did not start, and said why."""


class Absent(Exception):
    """The binary does not have what the row is about."""


class Wrong(Exception):
    """What was seen is not what should be."""


def run(*words, netns=None, check=True):
    inside = ("nsenter", f"--net=/run/netns/{netns}") if netns else ()
    done = subprocess.run([*inside, *words], capture_output=True, text=True, timeout=COMMAND_TIMEOUT)
    if check and done.returncode:
        raise Wrong(f"{' '.join(words)}: {(done.stderr or done.stdout).strip()}")
    return done


class Lab:
    """Makes both namespaces, with a quiet wire: static neighbours, whole checksums, no super-packets."""

    def __init__(self, inline=False, automatic_labels=False):
        self.marking = "box" if inline else "near"
        self.automatic_labels = automatic_labels
        self.netns = ("near", "far", "box") if inline else ("near", "far")
        for name in self.netns:
            run("ip", "netns", "add", name)
            run("ip", "-n", name, "link", "set", "lo", "up")
        if inline:
            run("ip", "-n", "near", "link", "add", "near", "address", NEAR_MAC, "type", "veth",
                "peer", "name", "inside", "netns", "box")
            run("ip", "-n", "far", "link", "add", "far", "address", FAR_MAC, "type", "veth",
                "peer", "name", "outside", "netns", "box")
            run("marker", "inline", "up", "--inside", "inside", "--outside", "outside", netns="box")
            run("ethtool", "-K", "outside", "tx", "off", "tso", "off", "gso", "off", netns="box")
        else:
            run("ip", "-n", "near", "link", "add", "near", "address", NEAR_MAC, "type", "veth",
                "peer", "name", "far", "address", FAR_MAC, "netns", "far")
        self.configure("near", FAR_MAC, [NEAR6, NEAR6_OTHER, NEAR4, NEAR4_OTHER], [FAR6, FAR4])
        self.configure("far", NEAR_MAC, [FAR6, FAR4], [NEAR6, NEAR6_OTHER, NEAR4, NEAR4_OTHER])

    def configure(self, name, other_mac, own, others):
        if HAS_IPV6:
            run("sysctl", "-qw", f"net.ipv6.auto_flowlabels={int(self.automatic_labels)}", netns=name)
            run("ip", "-n", name, "link", "set", name, "addrgenmode", "none")
        run("ip", "-n", name, "link", "set", name, "up")
        run("ethtool", "-K", name, "tx", "off", "tso", "off", "gro", "off", netns=name)
        for address in filter(usable, others):
            run("ip", "-n", name, "neighbour", "add", address, "lladdr", other_mac, "dev", name, "nud", "permanent")
        for address in filter(usable, own):
            length, nodad = ("64", ["nodad"]) if ":" in address else ("24", [])
            run("ip", "-n", name, "address", "add", f"{address}/{length}", "dev", name, *nodad)

    @property
    def selection(self):
        """The options by which marker finds its devices."""
        return ("--inside", "inside", "--outside", "outside") if self.marking == "box" else ("--interface", "near")

    def close(self):
        run("marker", "clean", netns=self.marking, check=False)
        for name in self.netns:
            run("ip", "netns", "delete", name, check=False)


def usable(address):
    return HAS_IPV6 or ":" not in address


class Daemon:
    """`marker run` in the lab; `confined` are words before it that take rights away."""

    def __init__(self, lab, *options, confined=()):
        self.lab = lab
        self.log = open("/tmp/marker.log", "w+", encoding="utf-8")
        words = ["nsenter", f"--net=/run/netns/{lab.marking}", *confined, "marker", "run", *lab.selection,
                 "--pipe", "/run/marker-pipe", "--no-remote-fireflies", "--log-level", "info", *options]
        self.process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + READY_TIMEOUT
        while "msg=ready" not in self.said():
            if self.process.poll() is not None:
                # Complaints come last; the usage that follows mistakes in options is no answer.
                lines = [line for line in self.said().splitlines() if line.strip()] or [
                    f"ended with {self.process.returncode}"]
                raise Refused(next((line for line in lines if line.startswith("Error: ")), lines[-1]))
            if time.monotonic() > deadline:
                self.stop(signal.SIGKILL)
                raise Wrong(f"not ready after {READY_TIMEOUT} s: {self.said()[-300:]}")
            time.sleep(0.1)

    def said(self):
        with open("/tmp/marker.log", encoding="utf-8", errors="replace") as log:
            return log.read()

    def tag(self, flow, state="start"):
        """Done when the flow's packets are marked."""
        (source, source_port), (destination, destination_port) = flow.endpoints
        experiment, activity = map(str, flow.tag)
        run("marker", "flow", state, flow.protocol, source, str(source_port), destination, str(destination_port),
            experiment, activity, netns=self.lab.marking)

    def stop(self, how=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(how)
        status = self.process.wait(timeout=READY_TIMEOUT)
        self.log.close()
        if how == signal.SIGTERM and status:
            raise Wrong(f"the daemon ended with {status}: {self.said()[-300:]}")


def ipv6(number, data):
    """A packet whose `options` are its hop-by-hop and destination headers, taken out of the rest."""
    options, following, at = [], data[6], 40
    while following in OPTION_HEADERS:
        length = (data[at + 1] + 1) * 8
        options.append((following, data[at + 2:at + length]))
        following, at = data[at], at + length
    length = int.from_bytes(data[4:6], "big") - (at - 40)
    packet = packets.ipv6(
        number, data[:4] + length.to_bytes(2, "big") + bytes([following]) + data[7:40] + data[at:])
    packet.options = options
    return packet


class Capture:
    """All IP packets that arrive at far, decoded."""

    def __init__(self):
        with namespace("far"):
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))  # ETH_P_ALL
            self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
            self.socket.bind(("far", 0))
        self.socket.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        self.socket.settimeout(0.5)
        self.frames = []
        self.ending = False
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        while True:
            try:
                self.frames.append(self.socket.recv(65536))
            except TimeoutError:
                if self.ending:
                    return

    def packets(self):
        """Ends the capture once nothing has come for half a second."""
        self.ending = True
        self.thread.join(timeout=COMMAND_TIMEOUT)
        found = self.snapshot()
        self.socket.close()
        return found

    def snapshot(self):
        """What has come so far; the capture goes on."""
        data = self.socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8)
        seen, dropped = int.from_bytes(data[:4], "little"), int.from_bytes(data[4:], "little")
        if dropped:
            raise Wrong(f"the capture lost {dropped} of {seen} packets")
        return list(self.decoded())

    def decoded(self):
        for number, frame in enumerate(list(self.frames), 1):
            kind = int.from_bytes(frame[12:14], "big")
            if kind == 0x86DD:
                yield ipv6(number, frame[14:])
            elif kind == 0x0800:
                yield packets.ipv4(number, frame[14:])
