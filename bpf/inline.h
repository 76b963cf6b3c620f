/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The inline path: which packets that arrive at the inside port go through the packet thread. All others stay with the
 * bridge, and whatever is in doubt does too: nothing here drops a packet, and nothing writes to one.
 *
 * Included by the tc and the XDP program, which say first how bytes are read: MARKER_CONTEXT is the program's context,
 * and marker_load(context, offset, to, size) copies from the Ethernet header on, 0 where all bytes are there.
 */
#ifndef MARKER_INLINE_H
#define MARKER_INLINE_H

#include "parse.h"

char LICENSE[] SEC("license") = "GPL";

struct marker_inline control;

/*
 * The hardware addresses that the bridge has learned at the outside; two zeros behind each. Only what goes to one of them
 * is taken: the bridge alone knows what is for this host, for another of its ports, or for many, which ports are blocked,
 * and what to do where it does not know.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MARKER_MAX_STATIONS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, __u8);
} stations SEC(".maps");

static __always_inline int marker_load(MARKER_CONTEXT *context, __u32 offset, void *to, __u32 size);

/* Whether a flow of ours may have the ports that stand at `offset`. */
static __always_inline int marker_has_our_ports(MARKER_CONTEXT *context, __u32 offset)
{
	__u32 ports;
	__u32 bit;

	if (marker_load(context, offset, &ports, sizeof(ports)))
		return 0;
	bit = marker_port_bit(ports);
	return control.ports[bit >> 3] >> (bit & 7) & 1;
}

/*
 * Fragments and packets with extension headers are all taken while there are flows of their family: where their ports
 * are is the thread's to find out.
 */
static __always_inline int marker_may_be_ours(MARKER_CONTEXT *context, __u32 active)
{
	__u32 network = ETH_HLEN;
	struct marker_vlan vlan;
	__be16 protocol;

	if (marker_load(context, ETH_HLEN - sizeof(protocol), &protocol, sizeof(protocol)))
		return 0;
#pragma unroll
	for (int i = 0; i < MARKER_MAX_VLAN; i++) {
		if (protocol != bpf_htons(ETH_P_8021Q) && protocol != bpf_htons(ETH_P_8021AD))
			break;
		if (marker_load(context, network, &vlan, sizeof(vlan)))
			return 0;
		protocol = vlan.protocol;
		network += sizeof(vlan);
	}
	if (protocol == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr header;

		if (!(active & (MARKER_FLOWS_IPV6 | MARKER_ALL_IPV6)))
			return 0;
		if (marker_load(context, network, &header, sizeof(header)) || header.version != 6)
			return 0;
		if (active & MARKER_ALL_IPV6 || marker_is_extension(header.nexthdr))
			return 1;
		return marker_has_ports(header.nexthdr) && marker_has_our_ports(context, network + sizeof(header));
	}
	if (protocol == bpf_htons(ETH_P_IP)) {
		struct iphdr header;

		if (!(active & (MARKER_FLOWS_IPV4 | MARKER_ALL_IPV4)))
			return 0;
		if (marker_load(context, network, &header, sizeof(header)) || header.version != 4 || header.ihl < 5)
			return 0;
		/* The offset's 13 bits and the flag 0x2000, "more fragments", RFC 791. */
		if (active & MARKER_ALL_IPV4 || header.frag_off & bpf_htons(0x3fff))
			return 1;
		return marker_has_ports(header.protocol) && marker_has_our_ports(context, network + header.ihl * 4);
	}
	return 0;
}

/* Whether the bridge would send a packet out by the outside, and by no other port. */
static __always_inline int marker_is_for_outside(MARKER_CONTEXT *context)
{
	__u64 station = 0;

	if (marker_load(context, 0, &station, ETH_ALEN))
		return 0;
	return bpf_map_lookup_elem(&stations, &station) != 0;
}

/*
 * Whether a packet is handed to the thread; it is counted as such. `length` is in bytes, 0 for a super-packet, which is cut
 * to size on its way out.
 */
static __always_inline int marker_take(MARKER_CONTEXT *context, __u32 length)
{
	__u32 active = control.active;

	if (!active || !marker_may_be_ours(context, active))
		return 0;
	if (!marker_is_for_outside(context) || bpf_ktime_get_ns() > control.lease)
		return 0;
	if (length > control.longest) {
		__sync_fetch_and_add(&control.too_long, 1);
		return 0;
	}
	__sync_fetch_and_add(&control.taken, 1);
	return 1;
}
#endif
