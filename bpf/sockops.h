/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What programs at TCP's events (sock_ops) have in common: a connection's key, and the rule that it falls under.
 * Nothing here changes anything.
 *
 * Loads on 5.10 and later: no BTF of the kernel's, loops with a constant bound, -mcpu=v2.
 */
#ifndef MARKER_SOCKOPS_H
#define MARKER_SOCKOPS_H

#include "flows.h"
#include "rules.h"

/* AF_INET and AF_INET6, whose header does not compile for BPF. */
#define MARKER_AF_INET 2
#define MARKER_AF_INET6 10
#define MARKER_TCP 6

/*
 * The connection as its packets leave this host. An IPv6 socket that speaks IPv4 has mapped addresses of its own
 * accord. The key has to be all zeros before.
 *
 * Returns 0, or -1 for a family that is neither.
 */
static __always_inline int marker_socket_key(struct bpf_sock_ops *ops, struct marker_key *key)
{
	/*
	 * Every context field is read at its own place into a local that the compiler knows nothing of: it would merge
	 * two loads into one at a computed offset, which the verifier refuses.
	 */
#define MARKER_FIELD(name, field)                                                                               \
	__u32 name = ops->field;                                                                                \
	asm volatile("" : "+r"(name))
	MARKER_FIELD(family, family);
	MARKER_FIELD(local_port, local_port);
	MARKER_FIELD(remote_port, remote_port);

	if (family == MARKER_AF_INET6) {
		MARKER_FIELD(local0, local_ip6[0]);
		MARKER_FIELD(local1, local_ip6[1]);
		MARKER_FIELD(local2, local_ip6[2]);
		MARKER_FIELD(local3, local_ip6[3]);
		MARKER_FIELD(remote0, remote_ip6[0]);
		MARKER_FIELD(remote1, remote_ip6[1]);
		MARKER_FIELD(remote2, remote_ip6[2]);
		MARKER_FIELD(remote3, remote_ip6[3]);
		__u32 local[4] = { local0, local1, local2, local3 };
		__u32 remote[4] = { remote0, remote1, remote2, remote3 };

		__builtin_memcpy(key->local, local, sizeof(local));
		__builtin_memcpy(key->remote, remote, sizeof(remote));
	} else if (family == MARKER_AF_INET) {
		MARKER_FIELD(local, local_ip4);
		MARKER_FIELD(remote, remote_ip4);

		marker_map_ipv4(key->local, &local);
		marker_map_ipv4(key->remote, &remote);
	} else {
		return -1;
	}
#undef MARKER_FIELD
	/*
	 * The local port is in host order. The remote one is in network order, and on little-endian machines in the
	 * upper half of its 32 bits, so that all 32 are swapped.
	 */
	key->local_port = bpf_htons((__u16)local_port);
	key->remote_port = bpf_htons((__u16)bpf_ntohl(remote_port));
	key->transport = MARKER_TCP;
	return 0;
}

static __always_inline int marker_key_is_ipv4(const struct marker_key *key)
{
	__u32 word[4];

	__builtin_memcpy(word, key->remote, sizeof(word));
	return !word[0] && !word[1] && word[2] == bpf_htonl(0xffff);
}

/* Both ports as a packet carries them, for marker_port_bit and marker_choice. */
static __always_inline __u32 marker_key_ports(const struct marker_key *key)
{
	__u16 port[2] = { key->local_port, key->remote_port };
	__u32 ports;

	__builtin_memcpy(&ports, port, sizeof(ports));
	return ports;
}

static __always_inline int marker_row_fits(const struct marker_row *row, const __u32 *remote, __u8 family,
					   __u16 local_port, __u16 remote_port)
{
	if (!(row->families & family))
		return 0;
	if (local_port < row->local_first || local_port > row->local_last || remote_port < row->remote_first ||
	    remote_port > row->remote_last)
		return 0;
	/* One test at the end: a branch for each word would be a path each for the verifier. */
	return !(((remote[0] ^ row->remote[0]) & row->mask[0]) | ((remote[1] ^ row->remote[1]) & row->mask[1]) |
		 ((remote[2] ^ row->remote[2]) & row->mask[2]) | ((remote[3] ^ row->remote[3]) & row->mask[3]));
}

/* The first row that a connection falls under; 0 for none. */
static __always_inline const struct marker_row *marker_first_row(const struct marker_rules *rules,
								 const struct marker_key *key)
{
	__u8 family = marker_key_is_ipv4(key) ? MARKER_ROW_IPV4 : MARKER_ROW_IPV6;
	__u16 local_port = bpf_ntohs(key->local_port);
	__u16 remote_port = bpf_ntohs(key->remote_port);
	__u32 rows = rules->rows;
	__u32 remote[4];

	__builtin_memcpy(remote, key->remote, sizeof(remote));
	for (__u32 i = 0; i < MARKER_MAX_ROWS; i++) {
		const struct marker_row *row = &rules->row[i];

		if (i >= rows)
			return 0;
		if (marker_row_fits(row, remote, family, local_port, remote_port))
			return row;
	}
	return 0;
}

/* The tag of a row for a connection; 0 for a row without. */
static __always_inline const struct marker_tag *marker_row_tag(const struct marker_rules *rules,
							       const struct marker_row *row,
							       const struct marker_key *key)
{
	__u32 place = row->first_tag + marker_choice(marker_key_ports(key), row->tags);

	if (row->verdict != MARKER_VERDICT_TAG || place >= MARKER_MAX_TAGS)
		return 0;
	return &rules->tag[place];
}
#endif
