"""What is tried where, and what has to come of it."""

from dataclasses import dataclass

from kernels import SERIES

TCX_SINCE = "6.6"
# The daemon refuses to start with this path and says why: right where the kernel lacks something.
YES, REFUSED = "yes", "refused"


def number(series):
    return [int(part) for part in series.split(".")]


@dataclass(frozen=True)
class Row:
    name: str
    title: str
    since: str = "0"  # the first series that can; earlier ones refuse

    def expected(self, series):
        return YES if number(series) >= number(self.since) else REFUSED


ROWS = {row.name: row for row in (
    Row("probe", "`marker probe --json`"),
    Row("selftest", "`marker selftest`"),
    Row("label-tcx", "flow label by tc at tcx", TCX_SINCE),
    Row("label-clsact", "flow label by tc at clsact"),
    Row("label-nft", "flow label by nft"),
    Row("label-sock", "flow label by sock"),
    Row("label-raw", "flow label between two ports by raw"),
    Row("label-xdp", "flow label between two ports by xdp"),
    Row("dscp-tcx", "DSCP by tc at tcx", TCX_SINCE),
    Row("dscp-clsact", "DSCP by tc at clsact"),
    Row("dscp-nft", "DSCP by nft"),
    Row("dscp-sock", "DSCP by sock"),
    Row("dscp-raw", "DSCP between two ports by raw"),
    Row("dscp-xdp", "DSCP between two ports by xdp"),
    Row("headers-tc", "extension headers by tc"),
    Row("auto", "strategy auto, path auto: label and DSCP"),
    Row("rule-tc", "connections that a rule finds, from the SYN on, tc"),
    Row("rule-sock", "connections that a rule finds, from the SYN on, sock"),
    Row("mark-all-tc", "everything, tc"),
    Row("mark-all-nft", "everything, nft"),
    Row("fireflies", "fireflies: usage and TCP_INFO of closed connections"),
    Row("adopt-tcx", "killed and followed, tc at tcx", TCX_SINCE),
    Row("adopt-clsact", "killed and followed, tc at clsact"),
    Row("adopt-nft", "killed and followed, nft"),
    Row("adopt-sock", "killed and followed, sock"),
    Row("adopt-dscp", "killed and followed, nft, DSCP"),
    Row("open-raw", "killed between two ports: the bridge goes on, raw"),
    Row("open-xdp", "killed between two ports: the bridge goes on, xdp"),
    Row("traces", "nothing left behind by all of these"),
    Row("seccomp-probe", "`marker probe`, bpf(2) refused by a filter"),
    Row("seccomp-auto", "strategy auto, bpf(2) refused by a filter"),
    Row("seccomp-tc", "path tc, bpf(2) refused by a filter", "99"),
    Row("caps-probe", "`marker probe` without CAP_BPF and CAP_SYS_ADMIN"),
    Row("caps-auto", "strategy auto without CAP_BPF and CAP_SYS_ADMIN"),
    Row("caps-tc", "path tc without CAP_BPF and CAP_SYS_ADMIN", "99"),
    Row("label-no-ipv6", "strategy label: the daemon runs, IPv4 is announced"),
)}
CONFINED = tuple(name for name in ROWS if name.startswith(("seccomp-", "caps-")))
PLAIN = tuple(name for name in ROWS if name not in (*CONFINED, "label-no-ipv6"))


@dataclass(frozen=True)
class Setting:
    """A kernel with something taken away by its command line; `refused` are rows that it takes away with it."""
    name: str
    title: str
    kernels: tuple
    rows: tuple
    append: str = ""
    refused: tuple = ()

    def expected(self, series, name):
        return REFUSED if name in self.refused else ROWS[name].expected(series)


SETTINGS = (
    Setting("plain", "as it comes", tuple(SERIES), PLAIN),
    Setting("confined", "rights taken from the daemon", ("6.12",), CONFINED),
    Setting("lockdown", "locked down: `lockdown=confidentiality`", ("6.12",),
            ("probe", "label-tcx", "label-nft", "label-sock", "auto", "adopt-tcx", "traces"),
            append="lockdown=confidentiality"),
    Setting("no-nft", "no nftables: `module_blacklist=nf_tables`", ("6.12",),
            ("probe", "label-nft", "dscp-nft", "dscp-tcx", "auto", "adopt-tcx", "adopt-nft", "traces"),
            append="module_blacklist=nf_tables", refused=("label-nft", "dscp-nft", "adopt-nft")),
    Setting("no-clsact", "no clsact before tcx: `module_blacklist=sch_ingress`", ("6.1",),
            ("probe", "label-clsact", "label-nft", "label-sock", "auto", "adopt-nft", "traces"),
            append="module_blacklist=sch_ingress", refused=("label-clsact",)),
    Setting("no-ipv6", "no IPv6: `ipv6.disable=1`", ("6.12",),
            ("probe", "dscp-tcx", "dscp-clsact", "dscp-nft", "dscp-sock", "auto", "adopt-dscp", "label-no-ipv6",
             "traces"),
            append="ipv6.disable=1"),
)

# Where both were tried the probe's word and what was seen on the wire have to agree.
PROBE_SAYS = {
    "label-tcx": "tc by tcx: the flow label on IPv6",
    "label-clsact": "tc by clsact: the flow label on IPv6",
    "label-nft": "nft: the flow label on IPv6",
    "label-sock": "sock: the flow label on IPv6",
    "dscp-tcx": "tc by tcx: a DSCP on IPv4",
    "dscp-clsact": "tc by clsact: a DSCP on IPv4",
    "dscp-nft": "nft: a DSCP on IPv4",
    "dscp-sock": "sock: a DSCP on IPv4",
    "label-raw": "raw between two ports: the flow label on IPv6",
    "label-xdp": "xdp between two ports: the flow label on IPv6",
}
# What the probe has to have seen in a daemon that was confined.
PROBE_MUST_SAY = {"seccomp-probe": {"bpf(2)": "no"}, "caps-probe": {"CAP_BPF": "no", "bpf(2)": "no"}}
