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

SEC("tc")
int marker_gate(struct __sk_buff *skb)
{
	if (!marker_take(skb, skb->len))
		return TC_ACT_UNSPEC;
	return bpf_redirect(control.sink, 0);
}

/* The packet socket's filter: what the stack itself sends out by the sink is not for the outside. */
SEC("socket")
int marker_taken(struct __sk_buff *skb)
{
	return skb->ingress_ifindex == control.inside ? -1 : 0;
}
