"""What is tried in every kernel. A row returns its finding; `Refused`, `Absent` and `Wrong` are the other outcomes."""

import dataclasses
import json
import os
import socket
import subprocess

import judge
import traffic
from confine import without_bpf_call
from lab import COMMAND_TIMEOUT, HAS_IPV6, Absent, Capture, Wrong, run
from lasting import adoption, open_bridge
from plan import COLLECTOR_PORT, FAR6
from scene import TAG, configured, daemon, flows, lab, send

INLINE_ATTEMPTS = 3
TCP_WITH_HEADERS = 0.9  # of the packets


def marks(stamp, path, *options, inline=False, confined=()):
    """Tagged flows are marked from their first packet on, untagged ones are not touched."""
    return marks_all([stamp], stamp, "--path", path, *options, only_tcp=path == "sock", inline=inline,
                     automatic_labels=path == "sock", confined=confined)


def marks_inline(stamp, path):
    """A guest that is starved of time lets the lease lapse, and packets go by the bridge, unmarked: as they should, but
    that is not what the row is about. So it may be tried again, and says so."""
    for attempt in range(1, INLINE_ATTEMPTS):
        try:
            return marks(stamp, path, inline=True) + (f", at attempt {attempt}" if attempt > 1 else "")
        except Wrong as wrong:
            print(f"{stamp} by {path}, attempt {attempt}: {wrong}", flush=True)
    return marks(stamp, path, inline=True) + f", at attempt {INLINE_ATTEMPTS}"


def marks_all(stamps, strategy, *options, only_tcp=False, inline=False, automatic_labels=False, confined=()):
    with lab(inline=inline, automatic_labels=automatic_labels) as place:
        with daemon(place, "--clean", "--strategy", strategy, *options, confined=confined) as marker:
            counts = []
            for stamp in stamps:
                tagged, untagged = flows(stamp, only_tcp)
                for flow in tagged:
                    marker.tag(flow)
                capture = Capture()
                for flow in [*tagged, untagged]:
                    send(flow)
                seen = capture.packets()
                judge.whole(tagged[0], seen)
                judge.unmarked(untagged, tagged[0], seen, stamp, automatic_labels)
                counts += [f"{judge.marked(flow, seen, stamp)} {flow.protocol.upper()}" for flow in tagged]
    return f"{', '.join(counts)} packets, all marked"


def headers():
    """Both extension headers; TCP's packets of full size leave without them, as documented."""
    with lab() as place, daemon(place, "--clean", "--strategy", "hopByHopDestination", "--path", "tc") as marker:
        tagged, untagged = flows("label", only_tcp=False)
        for flow in tagged:
            marker.tag(flow)
        capture = Capture()
        for flow in [*tagged, untagged]:
            send(flow)
        seen = capture.packets()
        judge.whole(tagged[0], seen)
        judge.unmarked(untagged, tagged[0], seen, "headers", automatic_labels=False)
        counts = [judge.with_headers(tagged[0], seen, TCP_WITH_HEADERS), judge.with_headers(tagged[1], seen, 1)]
    return f"{', '.join(counts)} packets have both headers"


def rule(path):
    """The kernel tells of a connection as it begins: it is marked from its SYN on though nobody announced it."""
    sock = path == "sock"
    tagged, untagged = flows("label", only_tcp=True)
    flow = tagged[0]
    config = configured(f"rules: [{{experiment: {TAG[0]}, activity: {TAG[1]}, localPorts: {flow.near[1]}}}]\n")
    with lab(automatic_labels=sock) as place, daemon(place, "--clean", "--path", path, *config):
        capture = Capture()
        for sent in (flow, untagged):
            send(sent)
        seen = capture.packets()
    judge.whole(flow, seen)
    judge.unmarked(untagged, flow, seen, "label", sock)
    return f"{judge.marked(flow, seen, 'label')} packets of a connection that a rule found, all marked"


def mark_all(path):
    """A perfSONAR host: every packet has the tag, also while the daemon makes flows of the sockets that it finds."""
    tagged, untagged = flows("label", only_tcp=False)
    sent = [*tagged, dataclasses.replace(untagged, tag=TAG)]
    options = ("--clean", "--path", path, "--mark-all", "/".join(map(str, TAG)))
    with lab(automatic_labels=True) as place, daemon(place, *options):
        capture = Capture()
        for flow in sent:
            send(flow)
        seen = capture.packets()
    return f"{sum(judge.marked(flow, seen, 'label') for flow in sent)} packets of 3 untagged flows, all marked"


def fireflies():
    """What the kernel tells of a connection arrives at a collector when its socket has closed."""
    flow = flows("label", only_tcp=True)[0][0]
    with lab() as place:
        with traffic.namespace("far"):
            collector = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
            collector.bind((FAR6, COLLECTOR_PORT))
            collector.settimeout(traffic.TIMEOUT)
        config = configured("fireflies: {enrichment: full}\n")
        with daemon(place, "--clean", "--collector", f"[{FAR6}]:{COLLECTOR_PORT}", *config) as marker:
            marker.tag(flow)
            send(flow)
            told = [message(collector) for _ in ("start", "end")]
        collector.close()
    states = [firefly["flow-lifecycle"]["state"] for firefly in told]
    usage, info = told[1].get("usage", {}), told[1].get("netlink", {}).get("tcpInfo", {})
    if states != ["start", "end"]:
        raise Wrong(f"fireflies of states {states}, should be start and end")
    # The kernel counts the FIN that has arrived as a byte, and does not say whether one has.
    if usage.get("sent") != flow.up or usage.get("received") not in (flow.down, flow.down + 1):
        raise Wrong(f"the end firefly has usage {usage}, should be {flow.up} sent and {flow.down} received")
    if not info:
        raise Wrong(f"the end firefly has nothing of TCP_INFO: {told[1]}")
    return f"a start, an end with the right usage and {len(info)} values of TCP_INFO"


def message(collector):
    text = collector.recv(2048).decode()
    return json.loads(text[text.index("{"):])


def probe(confined=()):
    """The probe's whole answer, for strategy auto; its exit code says no more than that."""
    words = (*confined, "marker", "probe", "--json", "--strategy", "auto")
    done = subprocess.run(words, capture_output=True, text=True, timeout=COMMAND_TIMEOUT)
    try:
        return json.loads(done.stdout)
    except json.JSONDecodeError as error:
        raise Wrong(f"no JSON ({error}), exit code {done.returncode}: {done.stderr.strip()[-300:]}") from error



def selftest():
    """What the binary tries by itself, where it has that command."""
    if "selftest" not in run("marker", "--help").stdout:
        raise Absent("this binary has no such command")
    done = run("marker", "selftest", check=False)
    lines = (done.stdout or done.stderr).strip().splitlines() or ["it said nothing"]
    if done.returncode:
        raise Wrong(f"exit code {done.returncode}: {' | '.join(lines)[-600:]}")
    return lines[-1]


def auto(*options, confined=()):
    stamps = ["label", "dscp"] if HAS_IPV6 else ["dscp"]
    return marks_all(stamps, "auto", *options, automatic_labels=True, confined=confined)


def label_without_ipv6():
    """Nothing can be labelled, which is no reason not to announce: the daemon takes IPv4 flows."""
    tagged, _ = flows("dscp", only_tcp=True)
    with lab() as place, daemon(place, "--clean", "--strategy", "label") as marker:
        marker.tag(tagged[0])
        capture = Capture()
        send(tagged[0])
        seen = capture.packets()
        judge.whole(tagged[0], seen)
        judge.unmarked(tagged[0], tagged[0], seen, "dscp", automatic_labels=False)
    return "an IPv4 flow is taken and left as it is"


def traces():
    """Nothing of all the daemons before is left."""
    pins = [os.path.join(folder, name) for folder, _, names in os.walk("/sys/fs/bpf/marker") for name in names]
    tables = run("nft", "list", "tables", check=False).stdout.split("\n")
    left = pins + [table for table in tables if "marker" in table]
    left += [line for line in run("ps", "-e", "-o", "args=").stdout.splitlines() if line.startswith("marker")]
    if left:
        raise Wrong(", ".join(left))
    return "no pin, no table, no process"


NO_CAPABILITY = ("setpriv", "--bounding-set=-bpf,-sys_admin", "--inh-caps=-bpf,-sys_admin")

ROWS = {
    "probe": probe,
    "selftest": selftest,
    "label-tcx": lambda: marks("label", "tc", "--tc-hook", "tcx"),
    "label-clsact": lambda: marks("label", "tc", "--tc-hook", "clsact"),
    "label-nft": lambda: marks("label", "nft"),
    "label-sock": lambda: marks("label", "sock"),
    "label-raw": lambda: marks_inline("label", "raw"),
    "label-xdp": lambda: marks_inline("label", "xdp"),
    "dscp-tcx": lambda: marks("dscp", "tc", "--tc-hook", "tcx"),
    "dscp-clsact": lambda: marks("dscp", "tc", "--tc-hook", "clsact"),
    "dscp-nft": lambda: marks("dscp", "nft"),
    "dscp-sock": lambda: marks("dscp", "sock"),
    "dscp-raw": lambda: marks_inline("dscp", "raw"),
    "dscp-xdp": lambda: marks_inline("dscp", "xdp"),
    "headers-tc": headers,
    "auto": auto,
    "rule-tc": lambda: rule("tc"),
    "rule-sock": lambda: rule("sock"),
    "mark-all-tc": lambda: mark_all("tc"),
    "mark-all-nft": lambda: mark_all("nft"),
    "fireflies": fireflies,
    "adopt-tcx": lambda: adoption("label", "tc", "--tc-hook", "tcx"),
    "adopt-clsact": lambda: adoption("label", "tc", "--tc-hook", "clsact"),
    "adopt-nft": lambda: adoption("label", "nft"),
    "adopt-sock": lambda: adoption("label", "sock"),
    "adopt-dscp": lambda: adoption("dscp", "nft"),
    "open-raw": lambda: open_bridge("raw"),
    "open-xdp": lambda: open_bridge("xdp"),
    "label-no-ipv6": label_without_ipv6,
    "traces": traces,
    # Rights taken away.
    "seccomp-probe": lambda: probe(confined=without_bpf_call()),
    "seccomp-auto": lambda: auto(confined=without_bpf_call()),
    "seccomp-tc": lambda: marks("label", "tc", confined=without_bpf_call()),
    "caps-probe": lambda: probe(confined=NO_CAPABILITY),
    "caps-auto": lambda: auto(confined=NO_CAPABILITY),
    "caps-tc": lambda: marks("label", "tc", confined=NO_CAPABILITY),
}
