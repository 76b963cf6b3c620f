/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What userspace tells the programs at TCP's events, and what they tell it; shared with Swift (module CTable). */
#ifndef MARKER_RULES_H
#define MARKER_RULES_H

#include <linux/types.h>

#include "table.h"

/*
 * Rules lie flat: a rule with several networks or port ranges is a row for each combination. The first row that fits a
 * connection decides.
 */
#define MARKER_MAX_ROWS 256
#define MARKER_MAX_TAGS 64

/* marker_row.verdict */
/* The connection has the row's tag. */
#define MARKER_VERDICT_TAG 1
/* Userspace decides: the rule has conditions that are not known here, or nothing here can mark. */
#define MARKER_VERDICT_ASK 2
/* No rule behind this one is looked at. */
#define MARKER_VERDICT_EXCLUDE 3

/* marker_row.families */
#define MARKER_ROW_IPV6 1
#define MARKER_ROW_IPV4 2

struct marker_row {
	/* The remote network, IPv4 in its mapped form, in network byte order; a mask of zeros is every address. */
	__u32 remote[4];
	__u32 mask[4];
	/* Inclusive, host order. */
	__u16 local_first;
	__u16 local_last;
	__u16 remote_first;
	__u16 remote_last;
	__u8 families;
	__u8 verdict;
	/* The places of its tags: one of them is chosen by the connection's ports. */
	__u8 first_tag;
	__u8 tags;
};

/* A tag and what its packets are stamped with; flags 0 is a family that the tc path does not stamp. */
struct marker_tag {
	/* experiment << 6 | activity */
	__u32 packed;
	__u32 zero;
	struct marker_value ipv6;
	struct marker_value ipv4;
};

struct marker_rules {
	/* The cookie of the network namespace whose sockets are watched; 0 where the kernel does not tell it. */
	__u64 namespace_cookie;
	/* Connections that userspace was not told of because the ring was full. */
	__u64 lost;
	__u32 rows;
	__u32 zero;
	struct marker_row row[MARKER_MAX_ROWS];
	struct marker_tag tag[MARKER_MAX_TAGS];
};

/* marker_event.kind */
/* The connection has the tag. */
#define MARKER_EVENT_TAGGED 1
/* Userspace is to look at it. */
#define MARKER_EVENT_ASK 2
/* What was entered when it began was taken away again: it was never established, or could not be told of. */
#define MARKER_EVENT_DROPPED 3

struct marker_event {
	struct marker_key key;
	__u32 packed;
	/* What its entry in the tc path's table has as label, entropy with it. */
	__u32 label;
	__u8 kind;
	/* The tc path's table had it from here on. */
	__u8 entered;
	__u8 zero[6];
};

/* The bytes of the ring: 37,000 connections, three seconds at 10,000 a second. */
#define MARKER_RING_BYTES (1 << 22)

/* Which of a row's tags a connection gets. `ports` is as in marker_port_bit. */
static inline __u32 marker_choice(__u32 ports, __u32 tags)
{
	return tags > 1 ? marker_port_bit(ports) % tags : 0;
}

#endif
