/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The layout of the maps, shared by the BPF programs and Swift (module CTable). */
#ifndef MARKER_TABLE_H
#define MARKER_TABLE_H

#include <linux/types.h>

/* A flow as its packets leave this host. All in network byte order, IPv4 as ::ffff:a.b.c.d. */
struct marker_key {
	__u8 local[16];
	__u8 remote[16];
	__u16 local_port;
	__u16 remote_port;
	__u8 transport;
	__u8 zero[3];
};

/* marker_value.flags */
#define MARKER_STAMP_LABEL 1
#define MARKER_STAMP_DSCP 2
/* Leave packets alone whose DSCP is not 0. */
#define MARKER_ONLY_IF_UNSET 4
/* Insert an extension header on IPv6; with both, hop-by-hop options come first. Only headers.bpf.c does it. */
#define MARKER_INSERT_HOP_BY_HOP 8
#define MARKER_INSERT_DESTINATION 16
/* Entered by a program at TCP's events, and userspace was not told yet. */
#define MARKER_PENDING 32

/* The bits of a label that carry no tag (draft-cc-v6ops-wlcg-flow-label-marking-03). */
#define MARKER_LABEL_ENTROPY 0xc0103

/* marker_value.reach */
/* The flow's socket was found: its packets leave stamped, from the next on. */
#define MARKER_REACHED 1
/* Its socket cannot be stamped. */
#define MARKER_UNREACHABLE 2

/* What to stamp, and what was stamped. */
struct marker_value {
	/* Host order, 20 bits: the tag and the flow's own entropy. */
	__u32 label;
	/* The bits that a packet's own label keeps, where it has one. */
	__u32 keep;
	__u8 flags;
	/* 0 to 63. */
	__u8 dscp;
	/* The data of the option in an inserted header, as on the wire. */
	__u8 option[3];
	/* Written by the sock path's programs. */
	__u8 reach;
	__u8 zero[2];
	/* As on the wire, after segmentation. */
	__u64 packets;
	/* From the IP header on. */
	__u64 bytes;
};

/* marker_control.active: what there is to do, so that nothing else costs more than this test. */
#define MARKER_FLOWS_IPV6 1
#define MARKER_FLOWS_IPV4 2
#define MARKER_ALL_IPV6 4
#define MARKER_ALL_IPV4 8

/*
 * One bit for each value of a hash over both ports; it is set while a flow has them. 2^20 bits, 128 KiB: with
 * 100,000 flows one in ten packets of others is looked up in vain.
 */
#define MARKER_PORT_BITS 20

/* marker_control.excludes: what packets of no flow are compared with before the mark-all scope takes them. */
#define MARKER_EXCLUDE_NETWORKS 1
#define MARKER_EXCLUDE_PORTS 2

/* The key of the trie of networks: the bits that count, in host order, and the address as in marker_key. */
struct marker_network {
	__u32 bits;
	__u8 address[16];
};

/*
 * Networks in the trie. One entry more is ::ffff:0:0/96, where IPv4 is: its value is 0, for "not excluded", so that
 * ::/0 holds no IPv4.
 */
#define MARKER_MAX_NETWORKS 1025

/* One bit for each port. */
#define MARKER_EXCLUDED_PORT_BYTES 8192

struct marker_control {
	__u32 active;
	__u32 excludes;
	/*
	 * When marking ends, on the clock of bpf_ktime_get_ns; 0 for not at all. Set when the daemon goes, so that marks which
	 * no daemon takes over do not stay for ever.
	 */
	__u64 expires;
	/* The mark-all scope by family: packets that no flow matches. */
	struct marker_value all_ipv6;
	struct marker_value all_ipv4;
	/*
	 * Packets that should have been stamped and were not, because the kernel could not make them writable
	 * or because headers of their own leave no place.
	 */
	__u64 unwritable;
	/* Packets that were to get an extension header and did not, because they would not have fitted the link or path. */
	__u64 too_big;
	/* Two arrays follow. Swift has no use for an array type of 131,072 members: it counts from here. */
#ifdef __bpf__
	__u8 ports[1 << (MARKER_PORT_BITS - 3)];
	/* Of either end: packets that mark-all leaves alone. */
	__u8 excluded_ports[MARKER_EXCLUDED_PORT_BYTES];
#endif
};

/* Hardware addresses that the bridge knows at the outside, as many as a large site's network has. */
#define MARKER_MAX_STATIONS 65536

/* What the programs of the inline path and the packet thread share. */
struct marker_inline {
	/* MARKER_FLOWS_… and MARKER_ALL_…. */
	__u32 active;
	/* The index of the interface whose packets the thread takes. */
	__u32 inside;
	/* The index of the device that the tc program hands packets to. */
	__u32 sink;
	/* The longest frame that the thread takes or the outside sends, bytes from the Ethernet header on. */
	__u32 longest;
	/*
	 * Until when the thread vouches for what it is handed, in the nanoseconds of CLOCK_MONOTONIC. A thread that hangs
	 * does not renew it, and packets go by the bridge again.
	 */
	__u64 lease;
	/* Packets that were handed over, and those of ours that the bridge kept because they are longer than `longest`. */
	__u64 taken;
	__u64 too_long;
	/* The port bits follow, as in marker_control. */
#ifdef __bpf__
	__u8 ports[1 << (MARKER_PORT_BITS - 3)];
#endif
};

/*
 * What the daemon has to know of a flow to go on with it after its restart. No program reads it: the kernel keeps it
 * with the marks. The version of this layout is in the path of the pins.
 */
struct marker_record {
	/* Microseconds since 1970. */
	__u64 start;
	/* Host order, 20 bits, with the flow's entropy; 0 for none. */
	__u32 label;
	/* experiment << 6 | activity */
	__u16 tag;
	/* The place of its name among the names of applications; 0 is marker's own. */
	__u16 application;
	/* The numbers of Swift's Orientation, Origin and Holders. */
	__u8 orientation;
	__u8 origin;
	__u8 holders;
	__u8 has_socket;
	__u32 zero;
};

/* An application's name, filled up with zeros. */
#define MARKER_NAME_BYTES 64
#define MARKER_MAX_NAMES 4096

/* The option type of RFC 4727 section 3.3 for experiments whose unknown options are skipped. */
#define MARKER_OPTION_TYPE 0x1e
#define MARKER_OPTION_LENGTH 3

/* Interfaces whose MTU is known, which are those that the programs are attached to. */
#define MARKER_MAX_INTERFACES 65536

/* Later fragments have no ports: the first fragment of a flow's packet leaves them here. */
struct marker_fragment {
	__u8 local[16];
	__u8 remote[16];
	__u32 identification;
};

struct marker_fragment_ports {
	__u16 local_port;
	__u16 remote_port;
	__u32 transport;
};

/*
 * The index of a port pair's bit. `ports` is the 32-bit word of both ports as the packet carries it. One product alone
 * would be linear in each port: all pairs of one local port would fall on the bits of another's. The factors are those
 * of SplitMix64's second and third steps.
 */
static inline __u32 marker_port_bit(__u32 ports)
{
	__u64 hash = (ports + 1ULL) * 0xbf58476d1ce4e5b9ULL;

	hash = (hash ^ hash >> 32) * 0x94d049bb133111ebULL;
	return (__u32)(hash >> (64 - MARKER_PORT_BITS));
}

#endif
