// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * The gate of the raw engine, at tcx or clsact ingress of the inside port, which is a bridge's. A packet of a tagged flow
 * is sent out by the sink, a tap device that throws everything away; a packet socket there sees it. So one decision says
 * where a packet goes, and none can go both ways or neither. The sink cannot do what vnet headers have no words for, so the
 * kernel does it before: it segments what is not plain TCP or UDP, sums up SCTP, puts VLAN tags into the packet.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#define MARKER_CONTEXT struct __sk_buff
#include "inline.h"

static __always_inline int marker_load(struct __sk_buff *skb, __u32 offset, void *to, __u32 size)
{
	return bpf_skb_load_bytes(skb, offset, to, size) ? -1 : 0;
}

/*
 * The length of a packet as a packet socket sends it, all tags in it, less what a socket allows beyond the device's MTU:
 * one tag of 802.1Q, and that only as the first. What is longer is refused by the socket, and forwarded by the bridge.
 */
static __always_inline __u32 marker_length(struct __sk_buff *skb)
{
	if (skb->gso_size)
		return 0;
	if (!skb->vlan_present || skb->vlan_proto == bpf_htons(ETH_P_8021Q))
		return skb->len;
	return skb->len + sizeof(struct marker_vlan);
}

SEC("tc")
int marker_gate(struct __sk_buff *skb)
{
	if (!marker_take(skb, marker_length(skb)))
		return TC_ACT_UNSPEC;
	return bpf_redirect(control.sink, 0);
}

/* The packet socket's filter: what the stack itself sends out by the sink is not for the outside. */
SEC("socket")
int marker_taken(struct __sk_buff *skb)
{
	return skb->ingress_ifindex == control.inside ? -1 : 0;
}
