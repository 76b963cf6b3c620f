// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * The tc path for strategies that insert IPv6 extension headers. What it may and may not do is in egress.h; on top of
 * that no packet may leave that is larger than the link or its path takes. A packet that cannot have its header
 * leaves as it came, and is counted.
 *
 * Only packets whose transport header follows the IPv6 header get one. Where there are extension headers already, a
 * second hop-by-hop header would be wrong (RFC 8200 section 4.1), an authentication header would no longer cover what
 * it signed (RFC 4302 section 3.3.3.1.2), a routing header would have its hops read destination options, and one
 * fragment would not be like the others.
 */
#include "egress.h"

/* The MTU of each interface by its index, written by the daemon. An interface that is not here takes no header. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MARKER_MAX_INTERFACES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, __u32);
} mtus SEC(".maps");

/* Hop-by-hop or destination options (RFC 8200 sections 4.3 and 4.6) with our option and one byte of padding, Pad1. */
struct marker_options {
	__u8 next;
	/* In units of eight bytes, less one. */
	__u8 length;
	__u8 type;
	__u8 size;
	__u8 data[3];
	__u8 pad;
};

/* What a marked packet begins with. */
struct marker_front {
	struct ipv6hdr ip;
	struct marker_options options[2];
};

#define MARKER_TOO_BIG -1
#define MARKER_UNWRITABLE -2

/* Of a segment at least half has to be left. Linux takes no smaller MSS than 48 (net.ipv4.tcp_min_snd_mss). */
#define MARKER_MIN_SEGMENT_ROOMS 2

/* Whether the first extension header begins with an option of ours, in this version or in that of November 2024. */
static __always_inline int marker_has_option(struct __sk_buff *skb, const struct marker_packet *packet)
{
	struct marker_options options;
	__u8 next;

	if (bpf_skb_load_bytes(skb, packet->network + 6, &next, sizeof(next)) ||
	    bpf_skb_load_bytes(skb, packet->network + sizeof(struct ipv6hdr), &options, sizeof(options)))
		return 0;
	if (next != IPPROTO_HOPOPTS && next != IPPROTO_DSTOPTS)
		return 0;
	return (options.type == MARKER_OPTION_TYPE && options.size == MARKER_OPTION_LENGTH) ||
	       (options.type == MARKER_OPTION_TYPE + 1 && options.size == MARKER_OPTION_LENGTH + 1);
}

/*
 * The largest packet, from the IP header on, that the link and, for TCP of this host, the path is known to take. A path
 * narrower than the link would lose for good what the kernel cut for it and we made longer: the router's complaint
 * names the MTU that the kernel keeps to already. An MSS is 60 bytes less, without options, RFC 6691.
 */
static __always_inline __u32 marker_largest(struct __sk_buff *skb, const struct marker_packet *packet)
{
	struct bpf_sock *socket = skb->sk;
	__u32 interface = skb->ifindex;
	struct bpf_tcp_sock *tcp;
	__u32 largest;
	__u32 *mtu;

	mtu = bpf_map_lookup_elem(&mtus, &interface);
	if (!mtu)
		return 0;
	largest = *mtu;
	if (packet->key.transport != IPPROTO_TCP || !socket)
		return largest;
	socket = bpf_sk_fullsock(socket);
	if (!socket)
		return largest;
	tcp = bpf_tcp_sock(socket);
	if (tcp && tcp->mss_cache + sizeof(struct ipv6hdr) + sizeof(struct tcphdr) < largest)
		largest = tcp->mss_cache + sizeof(struct ipv6hdr) + sizeof(struct tcphdr);
	return largest;
}

/*
 * Tags that are pushed and popped to have headroom made: four bytes each but for the first, and four more come free
 * with the outer tag. It has to do for two extension headers and one push.
 */
#define MARKER_RESERVED_TAGS 6

/*
 * Moves inline VLAN tags out of the way: bpf_skb_adjust_room wants IPv6 in skb->protocol. One tag goes to the skb's
 * metadata, from where the kernel or the interface puts it on the wire. Of two, which come from stacked VLAN
 * interfaces, the outer one is taken off, `outer` and `control_information` say what to push again, and headroom is
 * made before, so that this push cannot fail. Where it cannot be made the wire still sees the same tags.
 */
static __always_inline int marker_lift_tags(struct __sk_buff *skb, __u32 tags, __u32 *outer,
					    __u32 *control_information)
{
	__u32 pushed = 0;

	*outer = 0;
	if (skb->vlan_present)
		tags++;
	if (tags > 2)
		return MARKER_UNWRITABLE;
	/* A push moves a tag in the metadata into the packet, a pop the packet's outermost into the metadata. */
#pragma unroll
	for (__u32 i = 0; i < MARKER_RESERVED_TAGS; i++) {
		if (bpf_skb_vlan_push(skb, bpf_htons(ETH_P_8021Q), 0))
			break;
		pushed++;
	}
#pragma unroll
	for (__u32 i = 0; i < MARKER_RESERVED_TAGS; i++) {
		if (i < pushed)
			bpf_skb_vlan_pop(skb);
	}
	if (pushed < MARKER_RESERVED_TAGS)
		return MARKER_UNWRITABLE;
	if (tags < 2)
		return 0;
	*control_information = skb->vlan_tci;
	*outer = skb->vlan_proto;
	bpf_skb_vlan_pop(skb);
	return 0;
}

/*
 * Makes room behind the IPv6 header and writes what belongs there, or leaves the packet as it was. The front has to be
 * writable already: then the write cannot fail, nor need the room be given back, for which the kernel may want memory.
 */
static __always_inline int marker_insert_front(struct __sk_buff *skb, struct marker_front *front, __u32 network,
					       __u32 room, __u64 flags)
{
	__u32 length = skb->len;
	long failed;

	if (bpf_skb_adjust_room(skb, room, BPF_ADJ_ROOM_NET, flags)) {
		/* Room was made all the same where only linearizing a list of fragments failed, which comes last. */
		if (skb->len == length)
			return MARKER_UNWRITABLE;
		goto undo;
	}
	/* Sizes that are constants, so that no verifier has to find the bounds of one that depends on `room`. */
	if (room == sizeof(front->options))
		failed = bpf_skb_store_bytes(skb, network, front, sizeof(*front), 0);
	else
		failed = bpf_skb_store_bytes(skb, network, front, sizeof(*front) - sizeof(front->options[0]), 0);
	if (!failed)
		return 0;
undo:
	bpf_skb_adjust_room(skb, -(__s32)room, BPF_ADJ_ROOM_NET, flags);
	return MARKER_UNWRITABLE;
}

/*
 * Inserts the headers and counts the packet.
 *
 * Super-packets of TCP have their segments made shorter by what is inserted, so that each is as large on the wire as
 * the kernel meant it. Those of UDP carry datagrams, whose sizes are not ours to change, and take one header at most.
 */
static __always_inline int marker_insert(struct __sk_buff *skb, const struct marker_packet *packet,
					 struct marker_value *value, __u32 link)
{
	int both = (value->flags & MARKER_INSERT_HOP_BY_HOP) && (value->flags & MARKER_INSERT_DESTINATION);
	__u32 room = both ? sizeof(struct marker_options) * 2 : sizeof(struct marker_options);
	__u32 length = skb->len - packet->network;
	__u32 transport = packet->key.transport;
	struct marker_front front = {};
	__u32 size = skb->gso_size;
	__u32 control_information;
	__u64 segments = 1;
	__u64 bytes = length + room;
	__u32 headers = 0;
	__u64 flags = 0;
	__u32 outer = 0;
	__u32 tags = (packet->network - link) / sizeof(struct marker_vlan);
	int result;

	/* Only the mark-all scope has packets without ports: neighbour discovery among them, which better stays as it is. */
	if (!marker_has_ports(transport))
		return 0;
	if (packet->jumbo)
		return MARKER_TOO_BIG;
	if (packet->transport != packet->network + sizeof(front.ip)) {
		if (!marker_has_option(skb, packet))
			return MARKER_UNWRITABLE;
		marker_count(skb, packet, value);
		return 0;
	}

	if (size) {
		headers = marker_header_bytes(skb, packet);
		if (!headers || headers >= length || (transport != IPPROTO_TCP && transport != IPPROTO_UDP))
			return MARKER_UNWRITABLE;
		if (transport == IPPROTO_TCP) {
			if (size < room * MARKER_MIN_SEGMENT_ROOMS)
				return MARKER_TOO_BIG;
			size -= room;
		} else {
			/*
			 * On an interface without checksum offload Linux 6.11 and later drop a super-packet of UDP
			 * whose buffer was made anew: its checksum's place is not moved along, and segmentation
			 * looks there. Eight bytes fit where IPv6 keeps room for a fragment header.
			 */
			if (tags || room > sizeof(struct marker_options))
				return MARKER_UNWRITABLE;
			if (headers + size + room > marker_largest(skb, packet))
				return MARKER_TOO_BIG;
			flags = BPF_F_ADJ_ROOM_FIXED_GSO;
		}
		segments = (length - headers + size - 1) / size;
		bytes = length - headers + segments * (headers + room);
	} else if (length + room > marker_largest(skb, packet)) {
		return MARKER_TOO_BIG;
	}

	if (bpf_skb_load_bytes(skb, packet->network, &front.ip, sizeof(front.ip)))
		return MARKER_UNWRITABLE;
	/* Payloads of more than 16 bits would take a jumbo header. */
	if (bpf_ntohs(front.ip.payload_len) + room > 0xffff)
		return MARKER_TOO_BIG;
	front.ip.payload_len = bpf_htons(bpf_ntohs(front.ip.payload_len) + room);
	front.ip.nexthdr = value->flags & MARKER_INSERT_HOP_BY_HOP ? IPPROTO_HOPOPTS : IPPROTO_DSTOPTS;
	front.options[0].next = both ? IPPROTO_DSTOPTS : transport;
	front.options[0].type = MARKER_OPTION_TYPE;
	front.options[0].size = MARKER_OPTION_LENGTH;
	__builtin_memcpy(front.options[0].data, value->option, sizeof(front.options[0].data));
	front.options[1] = front.options[0];
	front.options[1].next = transport;

	/* Behind this neither a write to the headers can fail nor, given headroom, a push of a tag. */
	if (bpf_skb_pull_data(skb, packet->network + sizeof(front.ip)))
		return MARKER_UNWRITABLE;
	if (tags) {
		result = marker_lift_tags(skb, tags, &outer, &control_information);
		if (result)
			return result;
	}
	result = marker_insert_front(skb, &front, link, room, flags);
	if (outer)
		bpf_skb_vlan_push(skb, outer, control_information);
	if (result)
		return result;
	__sync_fetch_and_add(&value->packets, segments);
	__sync_fetch_and_add(&value->bytes, bytes);
	return 0;
}

static __always_inline int marker_egress(struct __sk_buff *skb, __u32 link)
{
	struct marker_packet packet = {};
	struct marker_value *value;
	__u32 segments;
	__u32 own;

	value = marker_match(skb, &packet, link, &own);
	if (!value)
		return TC_ACT_UNSPEC;
	if (!packet.ipv6 || !(value->flags & (MARKER_INSERT_HOP_BY_HOP | MARKER_INSERT_DESTINATION))) {
		marker_stamp(skb, &packet, value, own);
		return TC_ACT_UNSPEC;
	}
	/* Read here: where room was made and given back it is 0. */
	segments = skb->gso_segs;
	if (!segments)
		segments = 1;
	switch (marker_insert(skb, &packet, value, link)) {
	case MARKER_TOO_BIG:
		__sync_fetch_and_add(&control.too_big, segments);
		break;
	case MARKER_UNWRITABLE:
		__sync_fetch_and_add(&control.unwritable, segments);
		break;
	}
	return TC_ACT_UNSPEC;
}

/* The programs' names are those of marker.bpf.c: a clsact filter that a killed daemon left is replaced by its name. */
SEC("tc")
int marker_ethernet(struct __sk_buff *skb)
{
	return marker_egress(skb, ETH_HLEN);
}

SEC("tc")
int marker_bare(struct __sk_buff *skb)
{
	return marker_egress(skb, 0);
}
