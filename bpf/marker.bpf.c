// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * The tc path: stamps the flow label or the DSCP of packets of known flows as they leave an interface. What it may and
 * may not do is in egress.h.
 */
#include "egress.h"

static __always_inline int marker_egress(struct __sk_buff *skb, __u32 link)
{
	struct marker_packet packet = {};
	struct marker_value *value;
	__u32 own;

	value = marker_match(skb, &packet, link, &own);
	if (value)
		marker_stamp(skb, &packet, value, own);
	return TC_ACT_UNSPEC;
}

/* For interfaces with an Ethernet header, loopback among them. */
SEC("tc")
int marker_ethernet(struct __sk_buff *skb)
{
	return marker_egress(skb, ETH_HLEN);
}

/* For interfaces whose packets begin with the IP header: tun, PPP, IP tunnels. */
SEC("tc")
int marker_bare(struct __sk_buff *skb)
{
	return marker_egress(skb, 0);
}
