/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What the objects of the tc path share: the maps, finding a packet's flow, writing the flow label or the DSCP, and
 * counting.
 *
 * Contract: every way out returns TC_ACT_UNSPEC, which tcx reads as "next": programs and filters behind this one
 * run, and nothing is ever dropped. Where the kernel cannot make a packet writable it leaves as it came.
 *
 * Packets are written by helpers only, never directly. A program that writes directly gets a prologue from the
 * verifier that un-clones every cloned packet, which is all of TCP, whether it will be written or not; and that
 * prologue drops the packet where memory is short. The helper costs 30 ns on packets that are stamped, nothing on
 * others, and returns an error instead.
 *
 * Loads on 5.10 and later: no BTF of the kernel's, no loops that are not unrolled, -mcpu=v2.
 */
#ifndef MARKER_EGRESS_H
#define MARKER_EGRESS_H

#include <linux/pkt_cls.h>

#include "flows.h"
#include "parse.h"

/* An entry is needed for microseconds, between a packet's first fragment and its last: the oldest may go. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct marker_fragment);
	__type(value, struct marker_fragment_ports);
} fragments SEC(".maps");

/* Where packets go that mark-all leaves alone. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, MARKER_MAX_NETWORKS);
	/* The only form that tries have. */
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct marker_network);
	__type(value, __u8);
} excluded SEC(".maps");

/*
 * The commonest packets, read in place: Ethernet or no link header, no inline VLAN tag, no IP option or extension
 * header, not a fragment.
 *
 * Returns 1 where the packet's flow was read, 0 where none of ours has these ports, -1 where marker_read has to
 * look.
 */
static __always_inline int marker_read_common(struct __sk_buff *skb, struct marker_packet *packet, __u32 link,
					      __u32 active)
{
	/* Locals, or clang merges loads of different context fields into one that the verifier refuses. */
	void *data = (void *)(long)skb->data;
	void *end = (void *)(long)skb->data_end;
	__u32 everything;
	__u32 ports;
	__u8 *tcp;
	__u32 bit;

	packet->network = link;
	if (skb->protocol == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr *ip = data + link;

		packet->transport = link + sizeof(*ip);
		if (data + packet->transport + sizeof(ports) > end || !marker_has_ports(ip->nexthdr) || ip->version != 6)
			return -1;
		__builtin_memcpy(&ports, ip + 1, sizeof(ports));
		bit = marker_port_bit(ports);
		everything = active & MARKER_ALL_IPV6;
		if (!everything && !(control.ports[bit >> 3] & 1 << (bit & 7)))
			return 0;
		packet->ipv6 = 1;
		packet->words[0] = *(__u32 *)ip;
		packet->key.transport = ip->nexthdr;
		__builtin_memcpy(packet->key.local, &ip->saddr, 16);
		__builtin_memcpy(packet->key.remote, &ip->daddr, 16);
	} else {
		struct iphdr *ip = data + link;

		packet->transport = link + sizeof(*ip);
		if (data + packet->transport + sizeof(ports) > end || !marker_has_ports(ip->protocol) || ip->version != 4 ||
		    ip->ihl != 5 || ip->frag_off & bpf_htons(0x3fff))
			return -1;
		__builtin_memcpy(&ports, ip + 1, sizeof(ports));
		bit = marker_port_bit(ports);
		everything = active & MARKER_ALL_IPV4;
		if (!everything && !(control.ports[bit >> 3] & 1 << (bit & 7)))
			return 0;
		__builtin_memcpy(packet->words, ip, sizeof(packet->words));
		packet->key.transport = ip->protocol;
		marker_map_ipv4(packet->key.local, &ip->saddr);
		marker_map_ipv4(packet->key.remote, &ip->daddr);
	}
	__builtin_memcpy(&packet->key.local_port, &ports, sizeof(ports));
	tcp = data + packet->transport;
	if (packet->key.transport == IPPROTO_TCP && (void *)(tcp + sizeof(struct tcphdr)) <= end)
		packet->headers = packet->transport - link + (tcp[12] >> 4) * 4;
	return 1;
}

static __always_inline void marker_name_fragment(struct marker_fragment *fragment, const struct marker_packet *packet)
{
	__builtin_memcpy(fragment->local, packet->key.local, 16);
	__builtin_memcpy(fragment->remote, packet->key.remote, 16);
	fragment->identification = packet->identification;
}

/* Leaves the ports of a first fragment for those behind it. */
static __always_inline void marker_leave_ports(const struct marker_packet *packet)
{
	struct marker_fragment_ports ports;
	struct marker_fragment fragment;

	marker_name_fragment(&fragment, packet);
	ports.local_port = packet->key.local_port;
	ports.remote_port = packet->key.remote_port;
	ports.transport = packet->key.transport;
	bpf_map_update_elem(&fragments, &fragment, &ports, BPF_ANY);
}

/*
 * The flow of a packet. A first fragment leaves its ports for those behind it, or takes away what an older packet
 * with the same identification has left.
 */
static __always_inline struct marker_value *marker_find(struct marker_packet *packet)
{
	struct marker_fragment_ports *left;
	struct marker_fragment fragment;
	struct marker_value *value;

	if (!packet->fragment)
		return bpf_map_lookup_elem(&flows, &packet->key);

	marker_name_fragment(&fragment, packet);
	if (packet->later) {
		left = bpf_map_lookup_elem(&fragments, &fragment);
		if (!left)
			return 0;
		packet->key.local_port = left->local_port;
		packet->key.remote_port = left->remote_port;
		packet->key.transport = left->transport;
		return bpf_map_lookup_elem(&flows, &packet->key);
	}
	value = bpf_map_lookup_elem(&flows, &packet->key);
	if (value)
		marker_leave_ports(packet);
	else
		bpf_map_delete_elem(&fragments, &fragment);
	return value;
}

/* The DSCP to write into a traffic class byte; ECN, its two low bits, stays. */
static __always_inline __u8 marker_traffic_class(const struct marker_value *value, __u8 old)
{
	if (!(value->flags & MARKER_STAMP_DSCP) || (value->flags & MARKER_ONLY_IF_UNSET && old >> 2))
		return old;
	return value->dscp << 2 | (old & 3);
}

static __always_inline int marker_stamp_ipv6(struct __sk_buff *skb, const struct marker_packet *packet,
					     const struct marker_value *value, __u32 own)
{
	/* RFC 8200 section 3: version 4 bits, traffic class 8, flow label 20. */
	__u32 word = bpf_ntohl(packet->words[0]);
	__u32 label = word & 0xfffff;
	__u32 new;

	new = word & 0xf00fffff;
	new |= (__u32)marker_traffic_class(value, word >> 20) << 20;
	if (value->flags & MARKER_STAMP_LABEL) {
		new &= 0xfff00000;
		new |= label ? (value->label & ~value->keep) | (label & value->keep) : own;
	}
	if (new == word)
		return 0;
	word = bpf_htonl(new);
	return bpf_skb_store_bytes(skb, packet->network, &word, sizeof(word), 0);
}

static __always_inline int marker_stamp_ipv4(struct __sk_buff *skb, const struct marker_packet *packet,
					     const struct marker_value *value)
{
	/* The header up to its checksum, which is its sixth 16-bit word. */
	__be16 words[6];
	__u32 sum;
	__u16 new;
	__u16 old;

	__builtin_memcpy(words, packet->words, sizeof(words));
	old = bpf_ntohs(words[0]);
	new = (old & 0xff00) | marker_traffic_class(value, old);
	if (new == old)
		return 0;
	/* RFC 1624 equation 3: ~(~HC + ~m + m'). */
	sum = (__u16)~bpf_ntohs(words[5]) + (__u32)(__u16)~old + new;
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	words[0] = bpf_htons(new);
	words[5] = bpf_htons((__u16)~sum);
	/* One write, so that a failure cannot leave a header with a wrong checksum. */
	return bpf_skb_store_bytes(skb, packet->network, words, sizeof(words), 0);
}

static __always_inline void marker_count(struct __sk_buff *skb, const struct marker_packet *packet,
					 struct marker_value *value)
{
	__u32 segments = skb->gso_segs;
	__u64 bytes = skb->len - packet->network;

	if (segments > 1) {
		bytes += (__u64)(segments - 1) * marker_header_bytes(skb, packet);
		/* Super-packets beyond 64 KB have a jumbo header of 8 bytes (RFC 2675), which segmentation takes out. */
		if (packet->jumbo)
			bytes -= segments * 8;
	} else {
		segments = 1;
	}
	__sync_fetch_and_add(&value->packets, segments);
	__sync_fetch_and_add(&value->bytes, bytes);
}

static __always_inline int marker_is_excluded_port(__be16 port)
{
	/* 16 bits, so that the verifier sees an index within the array. */
	__u16 number = bpf_ntohs(port);

	return control.excluded_ports[number >> 3] & 1 << (number & 7);
}

/*
 * Whether mark-all leaves a packet alone that no flow matches. Packets without ports have 0 there, which is in no
 * range. Later fragments go by the ports of their first one, which leaves them as a flow's does.
 */
static __always_inline int marker_is_excluded(const struct marker_packet *packet)
{
	struct marker_network network;
	__u32 excludes = control.excludes;
	__u8 *is_excluded;

	if (!excludes)
		return 0;
	if (excludes & MARKER_EXCLUDE_NETWORKS) {
		network.bits = 128;
		__builtin_memcpy(network.address, packet->key.remote, 16);
		is_excluded = bpf_map_lookup_elem(&excluded, &network);
		if (is_excluded && *is_excluded)
			return 1;
	}
	if (!(excludes & MARKER_EXCLUDE_PORTS) || !marker_has_ports(packet->key.transport))
		return 0;
	if (!marker_is_excluded_port(packet->key.local_port) && !marker_is_excluded_port(packet->key.remote_port))
		return 0;
	if (packet->fragment && !packet->later)
		marker_leave_ports(packet);
	return 1;
}

/*
 * What is to be stamped on a packet, and where it is counted; 0 for none of ours. `own` becomes the label for a packet
 * that has none. The packet has to be all zeros before.
 */
static __always_inline struct marker_value *marker_match(struct __sk_buff *skb, struct marker_packet *packet,
							 __u32 link, __u32 *own)
{
	struct marker_value *value;
	__u32 active = control.active;
	__u32 protocol;
	int found;

	if (!active)
		return 0;
	if (control.expires && bpf_ktime_get_ns() > control.expires)
		return 0;
	protocol = skb->protocol;
	if (protocol == bpf_htons(ETH_P_IPV6)) {
		if (!(active & (MARKER_FLOWS_IPV6 | MARKER_ALL_IPV6)))
			return 0;
	} else if (protocol == bpf_htons(ETH_P_IP)) {
		if (!(active & (MARKER_FLOWS_IPV4 | MARKER_ALL_IPV4)))
			return 0;
	} else if (protocol != bpf_htons(ETH_P_8021Q) && protocol != bpf_htons(ETH_P_8021AD)) {
		return 0;
	}

	found = -1;
	if (protocol == bpf_htons(ETH_P_IPV6) || protocol == bpf_htons(ETH_P_IP))
		found = marker_read_common(skb, packet, link, active);
	if (!found)
		return 0;
	if (found < 0) {
		__builtin_memset(packet, 0, sizeof(*packet));
		if (marker_read(skb, packet, link))
			return 0;
	}

	value = marker_find(packet);
	if (value) {
		*own = value->label;
	} else {
		if (!(active & (packet->ipv6 ? MARKER_ALL_IPV6 : MARKER_ALL_IPV4)))
			return 0;
		if (marker_is_excluded(packet))
			return 0;
		value = packet->ipv6 ? &control.all_ipv6 : &control.all_ipv4;
		/* One value serves all flows, so the entropy of an unlabelled packet is its flow's hash. */
		*own = (value->label & ~value->keep) | (bpf_get_hash_recalc(skb) & value->keep);
	}
	return value;
}

/* Writes the label and the DSCP, as the value has them. */
static __always_inline void marker_stamp(struct __sk_buff *skb, const struct marker_packet *packet,
					 struct marker_value *value, __u32 own)
{
	if (packet->ipv6 ? marker_stamp_ipv6(skb, packet, value, own) : marker_stamp_ipv4(skb, packet, value))
		__sync_fetch_and_add(&control.unwritable, 1);
	else
		marker_count(skb, packet, value);
}
#endif
