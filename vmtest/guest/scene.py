"""What the rows share: the flows that they send, the lab and the daemon for the time of a row."""

import contextlib

import traffic
from lab import Daemon, Lab
from plan import DURING, FAR4, FAR6, NEAR4, NEAR6, tcp, udp

traffic.TIMEOUT = 60  # emulated processors are slow
TAG = (3, 14)
VOLUME = {"up": 200_000, "down": 60_000}


def flows(stamp, only_tcp):
    """A tagged flow of each protocol, and an untagged one that differs in a port from the first."""
    near, far = (NEAR6, FAR6) if stamp == "label" else (NEAR4, FAR4)
    tagged = [tcp("tagged TCP", (near, 40001), (far, 5001), tag=TAG, **VOLUME)]
    if not only_tcp:
        tagged.append(udp("tagged UDP", (near, 40004), (far, 5004), tag=TAG, up=30, down=5))
    return tagged, tcp("untagged TCP", (near, 41001), (far, 5001), **VOLUME)


@contextlib.contextmanager
def lab(**shape):
    made = Lab(**shape)
    try:
        yield made
    finally:
        made.close()


@contextlib.contextmanager
def daemon(place, *options, **more):
    started = Daemon(place, *options, **more)
    try:
        yield started
    finally:
        started.stop()


def send(flow):
    kind = traffic.Tcp if flow.protocol == "tcp" else traffic.Udp
    kind(flow, "near", "far").run(DURING)


def configured(text):
    """The option that has the daemon read this configuration."""
    with open("/tmp/marker.yaml", "w", encoding="ascii") as file:
        file.write(text)
    return ("--config", "/tmp/marker.yaml")
