// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * The sock path: TCP sockets of tagged flows are set so that the kernel itself stamps their packets. Nothing runs per
 * packet.
 *
 * The flow label. The kernel takes it from the socket's transmit hash (ip6_make_flowlabel in include/net/ipv6.h), which
 * a sock_ops program may write. SO_TXREHASH keeps the kernel from drawing another hash where a path seems bad; where it
 * cannot be set, the label is put back before the retransmission leaves.
 *
 * The DSCP is IP_TOS or IPV6_TCLASS, whose ECN bits stay TCP's.
 *
 * When: as a connection is made, before its first packet; and before the next packet of a socket that sockets.bpf.c has
 * armed, because its flow came or went while it was there. Where sockets cannot be armed, at acknowledgements
 * (control.callbacks).
 *
 * Contract: every way out returns 1, "go on", and leaves the reply as it is: programs of others run and are heard.
 * Callback flags that others asked for stay.
 *
 * Flows are those of the tc path's table, whether that path is attached or not.
 *
 * Loads on 5.10 and later: no BTF of the kernel's, no loops, -mcpu=v2.
 */
#include "sockops.h"
#include "stamp.h"

/* Of the kernel's asm-generic/socket.h, linux/in.h and linux/in6.h, which do not all compile for BPF. */
#define SOL_SOCKET 1
#define SO_PRIORITY 12
#define SO_TXREHASH 74
#define SOL_IP 0
#define IP_TOS 1
#define SOL_IPV6 41
#define IPV6_TCLASS 67
#define IPV6_AUTOFLOWLABEL 70

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct marker_socket);
} own SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct marker_stamping);
} stamping SEC(".maps");

static __always_inline __u32 marker_rotate(__u32 word, __u32 by)
{
	return word << by | word >> (32 - by);
}

/* The label that the kernel makes of a transmit hash. */
static __always_inline __u32 marker_label_of(__u32 hash)
{
	return bpf_ntohl(marker_rotate(hash, 16)) & 0xfffff;
}

/* A transmit hash with another label. Its other twelve bits stay: they choose the queue. */
static __always_inline __u32 marker_hash_with(__u32 hash, __u32 label)
{
	__u32 word = marker_rotate(hash, 16);

	word = (word & ~bpf_htonl(0xfffff)) | bpf_htonl(label);
	return marker_rotate(word, 16);
}

static __always_inline int marker_get(struct bpf_sock_ops *ops, int level, int option, int *value)
{
	*value = 0;
	return bpf_getsockopt(ops, level, option, value, sizeof(*value));
}

static __always_inline int marker_set(struct bpf_sock_ops *ops, int level, int option, int value)
{
	return bpf_setsockopt(ops, level, option, &value, sizeof(value));
}

/* TOS or traffic class. IP_TOS also sets the socket's priority, which is none of ours. */
static __always_inline int marker_get_tos(struct bpf_sock_ops *ops, int *value)
{
	if (ops->family == MARKER_AF_INET6)
		return marker_get(ops, SOL_IPV6, IPV6_TCLASS, value);
	return marker_get(ops, SOL_IP, IP_TOS, value);
}

static __always_inline int marker_set_tos(struct bpf_sock_ops *ops, int value)
{
	int priority;
	int known;
	int result;

	if (ops->family == MARKER_AF_INET6)
		return marker_set(ops, SOL_IPV6, IPV6_TCLASS, value);
	known = !marker_get(ops, SOL_SOCKET, SO_PRIORITY, &priority);
	result = marker_set(ops, SOL_IP, IP_TOS, value);
	if (known)
		marker_set(ops, SOL_SOCKET, SO_PRIORITY, priority);
	return result;
}

/* Gives the label's part back. */
static __always_inline void marker_restore_label(struct bpf_sock_ops *ops, struct marker_socket *socket)
{
	if (socket->changed & MARKER_CHANGED_HASH)
		ops->sk_txhash = socket->own_hash;
	if (socket->changed & MARKER_CHANGED_REHASH)
		marker_set(ops, SOL_SOCKET, SO_TXREHASH, socket->own_rehash);
	if (socket->changed & MARKER_CHANGED_AUTOLABEL)
		marker_set(ops, SOL_IPV6, IPV6_AUTOFLOWLABEL, 0);
	socket->changed &= ~(MARKER_CHANGED_HASH | MARKER_CHANGED_REHASH | MARKER_CHANGED_AUTOLABEL);
}

/* Gives the DSCP back, unless the application has set another meanwhile. */
static __always_inline void marker_restore_dscp(struct bpf_sock_ops *ops, struct marker_socket *socket)
{
	int tos;

	if (socket->changed & MARKER_CHANGED_DSCP && !marker_get_tos(ops, &tos) && (tos & 0xff) >> 2 == socket->dscp)
		marker_set_tos(ops, socket->own_tos | (tos & 3));
	socket->changed &= ~MARKER_CHANGED_DSCP;
}

/* Returns 0 where the socket's packets have the label from now on. */
static __always_inline int marker_stamp_label(struct bpf_sock_ops *ops, struct marker_socket *socket,
					      const struct marker_stamping *known)
{
	__u32 own = ops->sk_txhash;
	int value;

	if (!(socket->changed & MARKER_CHANGED_HASH)) {
		/* An option of Linux 6.1; before, sockets have labels by default, and few opt out. */
		if (!marker_get(ops, SOL_IPV6, IPV6_AUTOFLOWLABEL, &value) && !value) {
			if (marker_set(ops, SOL_IPV6, IPV6_AUTOFLOWLABEL, 1))
				return -1;
			socket->changed |= MARKER_CHANGED_AUTOLABEL;
		}
		socket->own_rehash = 0xff;
		if (!known->rehashes && !marker_get(ops, SOL_SOCKET, SO_TXREHASH, &value) &&
		    !marker_set(ops, SOL_SOCKET, SO_TXREHASH, 0)) {
			socket->changed |= MARKER_CHANGED_REHASH;
			if (value) {
				socket->own_rehash = value;
			} else {
				/*
				 * Fixed already: by a marker that was killed, so the hash may be a tag of old.
				 * Restoring gives it one drawn now, and leaves rehashing to the system's setting.
				 */
				own = bpf_get_prandom_u32();
			}
		}
		socket->own_hash = own;
		socket->changed |= MARKER_CHANGED_HASH;
	}
	own = marker_label_of(socket->own_hash);
	socket->hash = marker_hash_with(socket->own_hash, (socket->label & ~socket->keep) | (own & socket->keep));
	ops->sk_txhash = socket->hash;
	return 0;
}

static __always_inline int marker_stamp_dscp(struct bpf_sock_ops *ops, struct marker_socket *socket)
{
	int tos;

	if (marker_get_tos(ops, &tos))
		return -1;
	if (!(socket->changed & MARKER_CHANGED_DSCP)) {
		socket->own_tos = tos & 0xfc;
		/* Somebody meant it: then its packets are as they are to be. */
		if (socket->flags & MARKER_ONLY_IF_UNSET && socket->own_tos)
			return 0;
	}
	if (marker_set_tos(ops, socket->dscp << 2 | (tos & 3)))
		return -1;
	socket->changed |= MARKER_CHANGED_DSCP;
	return 0;
}

static __always_inline int marker_is_stamped_by(const struct marker_socket *socket, const struct marker_value *value)
{
	return socket->label == value->label && socket->keep == value->keep &&
	       socket->flags == (value->flags & MARKER_STAMP_FLAGS) && socket->dscp == value->dscp;
}

static __always_inline void marker_refuse(struct marker_stamping *known, struct marker_value *value)
{
	if (value->reach != MARKER_UNREACHABLE)
		__sync_fetch_and_add(&known->refused, 1);
	value->reach = MARKER_UNREACHABLE;
}

static __always_inline void marker_stamp(struct bpf_sock_ops *ops, struct bpf_sock *sk, struct marker_socket *socket,
					 const struct marker_key *key, struct marker_value *value,
					 struct marker_stamping *known)
{
	int ipv4 = marker_key_is_ipv4(key);

	if (socket && socket->flags && marker_is_stamped_by(socket, value)) {
		/* The kernel may have drawn another hash. */
		if (socket->changed & MARKER_CHANGED_HASH && ops->sk_txhash != socket->hash)
			ops->sk_txhash = socket->hash;
		if (value->reach != MARKER_UNREACHABLE)
			value->reach = MARKER_REACHED;
		return;
	}
	/* Options of IPv4 are not to be had of an IPv6 socket that speaks it. */
	if (ipv4 && ops->family == MARKER_AF_INET6) {
		marker_refuse(known, value);
		return;
	}
	if (!socket)
		socket = bpf_sk_storage_get(&own, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!socket) {
		marker_refuse(known, value);
		return;
	}
	if (value->dscp != socket->dscp || !(value->flags & MARKER_STAMP_DSCP))
		marker_restore_dscp(ops, socket);
	if (!(value->flags & MARKER_STAMP_LABEL))
		marker_restore_label(ops, socket);
	socket->label = value->label;
	socket->keep = value->keep;
	socket->flags = value->flags & MARKER_STAMP_FLAGS;
	socket->dscp = value->dscp;
	if ((socket->flags & MARKER_STAMP_LABEL && !ipv4 && marker_stamp_label(ops, socket, known)) ||
	    (socket->flags & MARKER_STAMP_DSCP && marker_stamp_dscp(ops, socket))) {
		/* The next callback tries again. */
		socket->flags = 0;
		marker_refuse(known, value);
		return;
	}
	if (socket->changed & MARKER_CHANGED_HASH && !(socket->changed & MARKER_CHANGED_REHASH)) {
		bpf_sock_ops_cb_flags_set(ops, ops->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_RTO_CB_FLAG);
		__sync_fetch_and_add(&known->rehashing, 1);
	}
	__sync_fetch_and_add(&known->stamped, 1);
	if (value->reach != MARKER_UNREACHABLE)
		value->reach = MARKER_REACHED;
}

/* What is to be stamped on a connection's packets; 0 for nothing. */
static __always_inline struct marker_value *marker_lookup(const struct marker_key *key)
{
	__u32 bit = marker_port_bit(marker_key_ports(key));

	if (!(control.ports[bit >> 3] & 1 << (bit & 7)))
		return 0;
	return bpf_map_lookup_elem(&flows, key);
}

static __always_inline int marker_event(struct bpf_sock_ops *ops, int has_namespaces)
{
	struct marker_value *value = 0;
	struct marker_stamping *known;
	struct marker_socket *socket;
	struct marker_key key = {};
	struct bpf_sock *sk;
	__u32 op = ops->op;
	__u32 place = 0;
	__u32 flags;

	if (op != BPF_SOCK_OPS_TCP_CONNECT_CB && op != BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB &&
	    op != BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB && op != BPF_SOCK_OPS_RTT_CB && op != BPF_SOCK_OPS_RTO_CB &&
	    op != BPF_SOCK_OPS_HDR_OPT_LEN_CB)
		return 1;
	known = bpf_map_lookup_elem(&stamping, &place);
	/* The packet of a connection that is being made has no socket yet. */
	sk = ops->sk;
	if (!known || !ops->is_fullsock || !sk)
		return 1;
	if (has_namespaces && bpf_get_netns_cookie(ops) != known->namespace_cookie)
		return 1;

	flags = ops->bpf_sock_ops_cb_flags;
	if (known->callbacks &&
	    (op == BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB || op == BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB))
		bpf_sock_ops_cb_flags_set(ops, flags | known->callbacks);

	socket = bpf_sk_storage_get(&own, sk, 0, 0);
	if (op == BPF_SOCK_OPS_HDR_OPT_LEN_CB) {
		/* Somebody else's wish. */
		if (!socket || !(socket->changed & MARKER_AWAITED))
			return 1;
		if (socket->changed & MARKER_ARMED)
			bpf_sock_ops_cb_flags_set(ops, flags & ~BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG);
		socket->changed &= ~(MARKER_AWAITED | MARKER_ARMED);
		__sync_fetch_and_add(&known->called, 1);
	}
	if (op == BPF_SOCK_OPS_RTO_CB) {
		/* The kernel draws the hash after this, and calls back before the retransmission after that. */
		if (socket && socket->changed & MARKER_CHANGED_HASH && !(socket->changed & MARKER_CHANGED_REHASH) &&
		    !(socket->changed & MARKER_AWAITED)) {
			socket->changed |= MARKER_AWAITED;
			if (!(flags & BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG)) {
				socket->changed |= MARKER_ARMED;
				bpf_sock_ops_cb_flags_set(ops, flags | BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG);
			}
			__sync_fetch_and_add(&known->armed, 1);
		}
		return 1;
	}
	if (control.active && !known->released && !marker_socket_key(ops, &key))
		value = marker_lookup(&key);
	if (value) {
		marker_stamp(ops, sk, socket, &key, value, known);
	} else if (socket) {
		marker_restore_label(ops, socket);
		marker_restore_dscp(ops, socket);
		bpf_sk_storage_delete(&own, sk);
		__sync_fetch_and_add(&known->restored, 1);
	}
	return 1;
}

SEC("sockops")
int marker_sockets(struct bpf_sock_ops *ops)
{
	return marker_event(ops, 1);
}

/* For kernels before 5.15, which do not tell the namespace of a socket. */
SEC("sockops")
int marker_all_sockets(struct bpf_sock_ops *ops)
{
	return marker_event(ops, 0);
}
