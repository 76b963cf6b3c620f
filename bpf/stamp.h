/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The layout of what the sock path's programs have besides the tc path's maps; shared with Swift (module CTable). */
#ifndef MARKER_STAMP_H
#define MARKER_STAMP_H

#include "table.h"

/* marker_value.flags that the sock path carries out. */
#define MARKER_STAMP_FLAGS (MARKER_STAMP_LABEL | MARKER_STAMP_DSCP | MARKER_ONLY_IF_UNSET)

/* marker_socket.changed: what of the socket is not its own. */
#define MARKER_CHANGED_HASH 1
#define MARKER_CHANGED_REHASH 2
#define MARKER_CHANGED_AUTOLABEL 4
#define MARKER_CHANGED_DSCP 8
/* The callback before the next packet is awaited; it was asked for by us, and is to be asked for no more after that. */
#define MARKER_AWAITED 16
#define MARKER_ARMED 32

/* Kept in each socket that is stamped or about to be: by what, and what it had by itself. */
struct marker_socket {
	/* As in marker_value. */
	__u32 label;
	__u32 keep;
	__u8 flags;
	__u8 dscp;
	__u8 changed;
	/* IPv4's TOS or IPv6's traffic class, without ECN. */
	__u8 own_tos;
	/* The transmit hash that makes the label, and the socket's own. */
	__u32 hash;
	__u32 own_hash;
	/* SO_TXREHASH. */
	__u32 own_rehash;
};

struct marker_stamping {
	/* The cookie of the network namespace whose sockets are meant; 0 where the kernel does not tell it. */
	__u64 namespace_cookie;
	/* Callbacks to ask for at every socket's set-up (BPF_SOCK_OPS_…_CB_FLAG). */
	__u32 callbacks;
	/* Do as kernels whose SO_TXREHASH cannot be set. */
	__u8 rehashes;
	/* No flow counts any more: sockets are given back what they had. */
	__u8 released;
	__u8 zero[2];
	/* Sockets stamped, given back their own values, and not to be stamped; each time counts. */
	__u64 stamped;
	__u64 restored;
	__u64 refused;
	/* Sockets stamped whose label has to be put back after the kernel has drawn another. */
	__u64 rehashing;
	/* Sockets that were asked to call back before their next packet, and that did. */
	__u64 armed;
	__u64 called;
};
#endif
