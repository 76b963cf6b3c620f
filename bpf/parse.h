/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Finds the headers of a packet and the flow it belongs to. Nothing here writes to the packet.
 *
 * The functions return 0, or -1 for "none of ours": truncated, another protocol, too many headers. Such a
 * packet passes as it is.
 */
#ifndef MARKER_PARSE_H
#define MARKER_PARSE_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>

#include "address.h"

/* 802.1Q inside 802.1ad is the deepest nesting in use. */
#define MARKER_MAX_VLAN 2
/* RFC 8200 section 4.1 names six extension headers, of which one may come twice. */
#define MARKER_MAX_EXTENSIONS 7

struct marker_packet {
	struct marker_key key;
	/* The IP header's first 12 bytes as they are on the wire: all that stamping changes. */
	__u32 words[3];
	/* Offset of the IP header in the packet. */
	__u32 network;
	/* Offset of the transport header; 0 where there is none to read. */
	__u32 transport;
	/* Bytes from the IP header to the end of the transport header, 0 where not known yet. */
	__u32 headers;
	/* Of a fragmented packet. */
	__u32 identification;
	__u8 ipv6;
	__u8 fragment;
	/* A fragment but the first: it has no ports. */
	__u8 later;
	/* Payload length 0 and hop-by-hop options: larger than the length field can say. */
	__u8 jumbo;
};

struct marker_vlan {
	__be16 tag;
	__be16 protocol;
};

/* What all extension headers begin with; `offset` and `identification` are the fragment header's. */
struct marker_extension {
	__u8 next;
	__u8 length;
	__be16 offset;
	__be32 identification;
};

static __always_inline int marker_has_ports(__u8 transport)
{
	return transport == IPPROTO_TCP || transport == IPPROTO_UDP || transport == IPPROTO_SCTP;
}

static __always_inline int marker_is_extension(__u8 next)
{
	return next == IPPROTO_HOPOPTS || next == IPPROTO_ROUTING || next == IPPROTO_DSTOPTS ||
	       next == IPPROTO_FRAGMENT || next == IPPROTO_AH;
}

static __always_inline int marker_read_ports(struct __sk_buff *skb, struct marker_packet *packet, __u32 offset)
{
	if (!marker_has_ports(packet->key.transport) || packet->later)
		return 0;
	packet->transport = offset;
	return bpf_skb_load_bytes(skb, offset, &packet->key.local_port, 4) ? -1 : 0;
}

/* Walks the extension headers from `offset`, where a header of type `next` stands. */
static __always_inline int marker_read_extensions(struct __sk_buff *skb, struct marker_packet *packet, __u32 offset,
						  __u8 next)
{
	struct marker_extension extension;

#pragma unroll
	for (int i = 0; i < MARKER_MAX_EXTENSIONS; i++) {
		if (!marker_is_extension(next))
			break;
		if (bpf_skb_load_bytes(skb, offset, &extension, sizeof(extension)))
			return -1;
		if (next == IPPROTO_FRAGMENT) {
			packet->fragment = 1;
			packet->identification = extension.identification;
			/* The low three bits are flags, RFC 8200 section 4.5. */
			packet->later = (extension.offset & bpf_htons(0xfff8)) != 0;
			offset += 8;
		} else if (next == IPPROTO_AH) {
			/* In words of four bytes, less two, RFC 4302 section 2.2. */
			offset += (extension.length + 2) * 4;
		} else {
			/* In words of eight bytes, less one, RFC 8200 section 4.3. */
			offset += (extension.length + 1) * 8;
		}
		next = extension.next;
		if (packet->later)
			break;
	}
	if (marker_is_extension(next) && !packet->later)
		return -1;
	packet->key.transport = next;
	return marker_read_ports(skb, packet, offset);
}

static __always_inline int marker_read_ipv6(struct __sk_buff *skb, struct marker_packet *packet)
{
	struct ipv6hdr header;

	if (bpf_skb_load_bytes(skb, packet->network, &header, sizeof(header)) || header.version != 6)
		return -1;
	packet->ipv6 = 1;
	packet->jumbo = !header.payload_len && header.nexthdr == IPPROTO_HOPOPTS;
	__builtin_memcpy(packet->words, &header, sizeof(packet->words));
	__builtin_memcpy(packet->key.local, &header.saddr, 16);
	__builtin_memcpy(packet->key.remote, &header.daddr, 16);
	return marker_read_extensions(skb, packet, packet->network + sizeof(header), header.nexthdr);
}

static __always_inline int marker_read_ipv4(struct __sk_buff *skb, struct marker_packet *packet)
{
	struct iphdr header;

	if (bpf_skb_load_bytes(skb, packet->network, &header, sizeof(header)) || header.version != 4 || header.ihl < 5)
		return -1;
	__builtin_memcpy(packet->words, &header, sizeof(packet->words));
	marker_map_ipv4(packet->key.local, &header.saddr);
	marker_map_ipv4(packet->key.remote, &header.daddr);
	packet->key.transport = header.protocol;
	/* 13 bits of offset below the flags, of which 0x2000 says "more fragments", RFC 791. */
	packet->later = (header.frag_off & bpf_htons(0x1fff)) != 0;
	packet->fragment = (header.frag_off & bpf_htons(0x3fff)) != 0;
	packet->identification = header.id;
	return marker_read_ports(skb, packet, packet->network + header.ihl * 4);
}

/*
 * Any shape of packet, read with bpf_skb_load_bytes: it reaches headers that are not in the skb's linear part.
 * Inline VLAN tags are skipped; tags in the skb's metadata are not in the packet yet.
 */
static __always_inline int marker_read(struct __sk_buff *skb, struct marker_packet *packet, __u32 link)
{
	__be16 protocol = skb->protocol;
	struct marker_vlan vlan;

#pragma unroll
	for (int i = 0; i < MARKER_MAX_VLAN; i++) {
		if (protocol != bpf_htons(ETH_P_8021Q) && protocol != bpf_htons(ETH_P_8021AD))
			break;
		if (bpf_skb_load_bytes(skb, link, &vlan, sizeof(vlan)))
			return -1;
		protocol = vlan.protocol;
		link += sizeof(vlan);
	}
	packet->network = link;
	if (protocol == bpf_htons(ETH_P_IPV6))
		return marker_read_ipv6(skb, packet);
	if (protocol == bpf_htons(ETH_P_IP))
		return marker_read_ipv4(skb, packet);
	return -1;
}

/* Bytes from the IP header to the end of the transport header: every segment of a super-packet has them. */
static __always_inline __u32 marker_header_bytes(struct __sk_buff *skb, const struct marker_packet *packet)
{
	__u8 offset;

	if (packet->headers)
		return packet->headers;
	if (!packet->transport)
		return 0;
	if (packet->key.transport != IPPROTO_TCP)
		return packet->transport - packet->network + sizeof(struct udphdr);
	/* The data offset is the upper half of TCP's byte 12, in words of four bytes, RFC 9293 section 3.1. */
	if (bpf_skb_load_bytes(skb, packet->transport + 12, &offset, sizeof(offset)))
		return 0;
	return packet->transport - packet->network + (offset >> 4) * 4;
}
#endif
