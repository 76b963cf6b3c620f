// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * The gate of the AF_XDP engine, at the inside port. A packet of a tagged flow goes to the socket of its queue, all others
 * to the bridge that the port belongs to. A queue without a socket leaves its packets to the bridge too.
 */
#include <linux/bpf.h>
#define MARKER_CONTEXT struct xdp_md
#include "inline.h"

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	/* Set from the number of receive queues before loading. */
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} sockets SEC(".maps");

/* The headers that are read end here: Ethernet with two VLAN tags, the longest IPv4 header, the ports. */
#define MARKER_HEADERS_END (14 + 8 + 60 + 4)

static __always_inline int marker_load(struct xdp_md *context, __u32 offset, void *to, __u32 size)
{
	void *data = (void *)(long)context->data;
	void *end = (void *)(long)context->data_end;

	if (offset > MARKER_HEADERS_END)
		return -1;
	data += offset;
	if (data + size > end)
		return -1;
	__builtin_memcpy(to, data, size);
	return 0;
}

SEC("xdp")
int marker_redirect(struct xdp_md *context)
{
	if (!marker_take(context, context->data_end - context->data))
		return XDP_PASS;
	/* The flags say what happens where the map has no socket (Linux 5.3). */
	return bpf_redirect_map(&sockets, context->rx_queue_index, XDP_PASS);
}
