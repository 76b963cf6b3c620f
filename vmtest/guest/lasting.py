"""Rows in which traffic outlives the daemon."""

import contextlib
import signal
import socket
import threading
import time

import judge
import traffic
from lab import COMMAND_TIMEOUT, Capture, Daemon, Wrong, run
from scene import daemon, flows, lab

GAP = 0.005  # seconds between the packets of a sender
SENT_LEAST = 40
LEASE = 1.5  # seconds; where the hook outlives the daemon it gives packets back after a second at most


class Sender:
    """A connection that goes on sending whatever the daemon does."""

    def __init__(self, flow):
        self.flow = flow
        self.sent = 0
        self.stopping = False
        if flow.protocol == "udp":
            pair = traffic.Udp(flow, "near", "far")
            self.near, self.far = pair.near, pair.far
        else:
            pair = traffic.Tcp(flow, "near", "far")
            pair.opener.connect(flow.far)
            self.near, self.far = pair.opener, pair.listener.accept()[0]
            self.near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.far.setblocking(False)
        self.thread = threading.Thread(target=self.go_on, daemon=True)
        self.thread.start()

    def go_on(self):
        while not self.stopping:
            self.near.send(b"payload" * 8)
            self.sent += 1
            with contextlib.suppress(BlockingIOError):  # read, or TCP's window fills
                self.far.recv(65536)
            time.sleep(GAP)

    def wait(self, more=SENT_LEAST):
        goal, deadline = self.sent + more, time.monotonic() + COMMAND_TIMEOUT
        while self.sent < goal:
            if time.monotonic() > deadline:
                raise Wrong(f"{self.flow.name}: packets no longer leave")
            time.sleep(0.02)

    def stop(self):
        self.stopping = True
        self.thread.join()
        self.near.close()
        self.far.close()


def adoption(stamp, path, *options):
    """Marks stay, unchanged, while the daemon is killed and another one takes its flows over; `clean` ends them."""
    sock = path == "sock"
    options = ("--strategy", stamp, "--path", path, *options, *(() if sock else ("--entropy", "flow")))
    tagged, _ = flows(stamp, only_tcp=sock)
    flow = tagged[-1]
    with lab(automatic_labels=sock) as place:
        first = Daemon(place, *options)
        try:
            first.tag(flow)
            capture = Capture()
            sender = Sender(flow)
            sender.wait()
        finally:
            first.stop(signal.SIGKILL)
        sender.wait()
        with daemon(place, *options) as second:
            if "going on with the flows" not in second.said():
                raise Wrong(f"the second daemon took no flows over: {second.said()[-300:]}")
            sender.wait()
            listed = run("marker", "flow", "list", netns="near").stdout.splitlines()
            if len(listed) != 1:
                raise Wrong(f"the second daemon has {len(listed)} flows, should be 1")
        sender.wait()
        count = judge.marked(flow, capture.snapshot(), stamp)
        if not sock:
            run("marker", "clean", netns="near")
            sender.wait()  # what was on its way may carry a mark still
            after = Capture()
            sender.wait()
            sender.stop()
            if still := [packet for packet in judge.of(flow, after.packets()) if judge.carries(flow, packet, stamp)]:
                raise Wrong(f"{len(still)} packets are marked after `marker clean`")
        else:
            sender.stop()
    return f"{count} packets while a daemon was killed, followed and stopped: all with one mark"


def open_bridge(path):
    """The daemon between two ports is killed: packets go on through the bridge, unmarked."""
    tagged, _ = flows("label", only_tcp=False)
    flow = tagged[1]
    with lab(inline=True) as place:
        marker = Daemon(place, "--strategy", "label", "--path", path)
        try:
            marker.tag(flow)
            sender = Sender(flow)
            sender.wait()
        finally:
            marker.stop(signal.SIGKILL)
        time.sleep(LEASE)
        capture = Capture()
        before = sender.sent
        sender.wait()
        sender.stop()
        arrived, sent = len(judge.of(flow, capture.packets())), sender.sent - before
    if arrived < sent:
        raise Wrong(f"{arrived} of {sent} packets arrived after the daemon was killed")
    return f"{arrived} packets arrived after the daemon was killed, of {sent} sent"
