"""The demo's flows: what traffic.py sends, and what judge.py expects to see of it.

`near` is the host that marks, `far` the remote end that captures. Every number below is
known before the first packet leaves, so that the judge compares with a plan, not with the
daemon's word.

Run as a program, it prints the addresses and ports as shell assignments.
"""

from dataclasses import dataclass

NEAR6, NEAR6_OTHER, FAR6 = "2001:db8:5c17::1", "2001:db8:5c17::11", "2001:db8:5c17::2"
NEAR4, NEAR4_OTHER, FAR4 = "192.0.2.1", "192.0.2.11", "192.0.2.2"
BOX6, BOX4 = "2001:db8:5c17::3", "192.0.2.3"  # of the box between them, where marker runs there

REMOTE_PORT = 10514  # fireflies to the flow's remote end
COLLECTOR_PORT = 10515  # fireflies to the collector

MARK_BITS = 0x3FEFC  # of a flow label: 9 bits experiment, 6 bits activity; the rest is entropy

BEFORE, DURING, AFTER = "before", "during", "after"  # relative to the flow's start and end lines

REGISTRY = {  # the part of the SciTags registry that the plan uses
    2: ("atlas", {15: "Production Input", 16: "Production Output", 2: "perfSONAR"}),
    3: ("cms", {14: "Analysis Input", 24: "Simulation Pileup Input"}),
    5: ("alice", {9: "Job preparation"}),
    6: ("belleii", {15: "Analysis Input"}),
    10: ("ilc", {4: "Data Challenge"}),
    11: ("auger", {1: "default"}),
}


@dataclass(frozen=True)
class Flow:
    name: str
    protocol: str
    near: tuple
    far: tuple
    tag: tuple = None  # (experiment, activity); None: never announced
    source: str = "near"  # which end the flow line names first
    opener: str = "near"  # which end connects (TCP)
    up: int = 300_000  # near -> far: bytes (TCP) or datagrams (UDP)
    down: int = 200_000  # far -> near
    tclass: int = 0  # traffic class or TOS that the application sets itself
    label: int = 0  # flow label that the application sets itself
    phases: tuple = (DURING,)

    @property
    def family(self):
        return 6 if ":" in self.near[0] else 4

    @property
    def endpoints(self):
        """(source, destination) as announced on the pipe."""
        return (self.near, self.far) if self.source == "near" else (self.far, self.near)

    def line(self, state):
        (src, sport), (dst, dport) = self.endpoints
        experiment, activity = self.tag
        return f"{state} {self.protocol} {src} {sport} {dst} {dport} {experiment} {activity}"

    def marked(self, strategy):
        """Whether the strategy touches this flow's packets at all."""
        if self.tag is None:
            return False
        if strategy == "label":
            return self.family == 6
        # A code point that the application chose itself stays (onlyIfUnset).
        return self.family == 4 and self.tclass >> 2 == 0


def label_mark(experiment, activity):
    reversed_experiment = int(f"{experiment:09b}"[::-1], 2)
    return reversed_experiment << 9 | activity << 2


def decode_label(label):
    return int(f"{label >> 9 & 0x1FF:09b}"[::-1], 2), label >> 2 & 0x3F


def dscp_mark(experiment):
    """The preset pool2, for experiments 1 to 11."""
    return experiment << 2 | 0b11


def tag_name(experiment, activity=None):
    name, activities = REGISTRY.get(experiment, (f"experiment {experiment}", {}))
    if activity is None:
        return name
    return f"{name}/{activities.get(activity, activity)}"


def tcp(name, near, far, **more):
    return Flow(name, "tcp", near, far, **more)


def udp(name, near, far, up=20, down=10, **more):
    return Flow(name, "udp", near, far, up=up, down=down, **more)


def near_misses(near, other, far):
    """Untagged flows that differ from the tagged (near, 40001) -> (far, 5001) TCP flow in one thing each."""
    return [
        tcp("other source port", (near, 41001), (far, 5001)),
        tcp("other source address", (other, 40001), (far, 5001)),
        tcp("other destination port", (near, 40001), (far, 5011)),
        udp("other protocol", (near, 40001), (far, 5001)),
    ]


LABEL = [
    tcp("bulk upload", (NEAR6, 40001), (FAR6, 5001), tag=(2, 15), up=4_000_000, down=1_000_000),
    tcp("second experiment", (NEAR6, 40002), (FAR6, 5001), tag=(3, 14)),
    tcp("local end is dst", (NEAR6, 5002), (FAR6, 40003), tag=(6, 15), source="far", opener="far",
        up=1_000_000),
    tcp("own DSCP 10", (NEAR6, 40005), (FAR6, 5001), tag=(511, 63), tclass=10 << 2),
    udp("DSCP 46 + ECT(1)", (NEAR6, 40004), (FAR6, 5004), tag=(5, 9), tclass=46 << 2 | 1),
    udp("own label, all bits", (NEAR6, 40006), (FAR6, 5006), tag=(10, 4), label=0x7FFFD,
        phases=(BEFORE, DURING, AFTER)),
    tcp("IPv4, announced only", (NEAR4, 40007), (FAR4, 5001), tag=(2, 16)),
    *near_misses(NEAR6, NEAR6_OTHER, FAR6),
    tcp("own DSCP 34", (NEAR6, 41005), (FAR6, 5001), tclass=34 << 2),
    udp("DSCP 46 + CE", (NEAR6, 41006), (FAR6, 5004), tclass=46 << 2 | 3),
    udp("own label 5abcd", (NEAR6, 41007), (FAR6, 5006), label=0x5ABCD),
    tcp("IPv4 TCP, same ports", (NEAR4, 40001), (FAR4, 5001)),
    udp("IPv4 UDP, DSCP 46", (NEAR4, 41008), (FAR4, 5004), tclass=46 << 2 | 1),
]

DSCP = [
    tcp("bulk upload", (NEAR4, 40001), (FAR4, 5001), tag=(2, 15), up=4_000_000, down=1_000_000),
    tcp("second experiment", (NEAR4, 40002), (FAR4, 5001), tag=(3, 14)),
    tcp("local end is dst", (NEAR4, 5002), (FAR4, 40003), tag=(6, 15), source="far", opener="far",
        up=1_000_000),
    udp("ECT(1)", (NEAR4, 40004), (FAR4, 5004), tag=(5, 9), tclass=1),
    udp("last of the pool", (NEAR4, 40006), (FAR4, 5006), tag=(11, 1), phases=(BEFORE, DURING, AFTER)),
    tcp("own DSCP 10 stays", (NEAR4, 40005), (FAR4, 5001), tag=(2, 2), tclass=10 << 2),
    *near_misses(NEAR4, NEAR4_OTHER, FAR4),
    tcp("own DSCP 34", (NEAR4, 41005), (FAR4, 5001), tclass=34 << 2),
    udp("DSCP 46 + CE", (NEAR4, 41006), (FAR4, 5004), tclass=46 << 2 | 3),
    tcp("IPv6 TCP, same ports", (NEAR6, 40001), (FAR6, 5001)),
    udp("IPv6 UDP, own label", (NEAR6, 41007), (FAR6, 5006), label=0x5ABCD, tclass=46 << 2 | 1),
]

PLANS = {"label": LABEL, "dscp": DSCP}

if __name__ == "__main__":
    for name, value in list(globals().items()):
        if name.startswith(("NEAR", "FAR", "BOX", "COLLECTOR")):
            print(f"{name}={value}")
