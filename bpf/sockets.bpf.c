// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * Looks at all TCP sockets of a network namespace and arms those whose flow came or went while they were there: before
 * their next packet they ask the program in stamp.bpf.c, which stamps them or gives them their own values back, in time
 * for that packet.
 *
 * Loads on 6.12 and later. An iterator's program is typed by the kernel's own BTF, so this one source has CO-RE
 * relocations, of the few fields below. Without it tc marks the flows whose sockets were there before.
 */
#include "sockops.h"
#include "stamp.h"

#define SOL_TCP 6
/* net/tcp_states.h */
#define TCP_CLOSE 7
#define TCP_LISTEN 10
/* TCP_BPF_SOCK_OPS_CB_FLAGS of <linux/bpf.h> of 6.12. */
#define MARKER_CALLBACK_FLAGS 1008

/* The kernel's types, as far as they are read. */
struct in6_addr {
	__u32 words[4];
};

struct sock_common {
	__be32 skc_daddr;
	__be32 skc_rcv_saddr;
	__be16 skc_dport;
	__u16 skc_num;
	unsigned short skc_family;
	unsigned char skc_state;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
} __attribute__((preserve_access_index));

struct ipv6_pinfo {
	__be32 flow_label;
} __attribute__((preserve_access_index));

struct tcp6_sock {
	struct ipv6_pinfo inet6;
} __attribute__((preserve_access_index));

struct bpf_iter_meta;

struct bpf_iter__tcp {
	union {
		struct bpf_iter_meta *meta;
		__u64 : 64;
	};
	union {
		struct sock_common *sk_common;
		__u64 : 64;
	};
	__u32 uid;
};

/* Those of stamp.bpf.c. */
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

/* As marker_socket_key. */
static __always_inline void marker_common_key(const struct sock_common *sk, struct marker_key *key)
{
	__u32 local[4] = {};
	__u32 remote[4] = {};

	if (sk->skc_family == MARKER_AF_INET6) {
		local[0] = sk->skc_v6_rcv_saddr.words[0];
		local[1] = sk->skc_v6_rcv_saddr.words[1];
		local[2] = sk->skc_v6_rcv_saddr.words[2];
		local[3] = sk->skc_v6_rcv_saddr.words[3];
		remote[0] = sk->skc_v6_daddr.words[0];
		remote[1] = sk->skc_v6_daddr.words[1];
		remote[2] = sk->skc_v6_daddr.words[2];
		remote[3] = sk->skc_v6_daddr.words[3];
	} else {
		local[2] = remote[2] = bpf_htonl(0xffff);
		local[3] = sk->skc_rcv_saddr;
		remote[3] = sk->skc_daddr;
	}
	__builtin_memcpy(key->local, local, sizeof(local));
	__builtin_memcpy(key->remote, remote, sizeof(remote));
	key->local_port = bpf_htons(sk->skc_num);
	key->remote_port = sk->skc_dport;
	key->transport = MARKER_TCP;
}

/* Has the socket call back before its next packet. Returns 0 where it will. */
static __always_inline int marker_arm_socket(void *tcp, struct marker_socket *socket, struct marker_stamping *known)
{
	int flags = 0;

	if (bpf_getsockopt(tcp, SOL_TCP, MARKER_CALLBACK_FLAGS, &flags, sizeof(flags)))
		return -1;
	/* No packet has left since it was armed before. */
	if (socket->changed & MARKER_AWAITED && flags & BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG)
		return 0;
	socket->changed &= ~(MARKER_AWAITED | MARKER_ARMED);
	/* Where somebody else has it call back at each packet it will go on to. */
	if (!(flags & BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG)) {
		flags |= BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG;
		if (bpf_setsockopt(tcp, SOL_TCP, MARKER_CALLBACK_FLAGS, &flags, sizeof(flags)))
			return -1;
		socket->changed |= MARKER_ARMED;
	}
	socket->changed |= MARKER_AWAITED;
	__sync_fetch_and_add(&known->armed, 1);
	return 0;
}

SEC("iter/tcp")
int marker_arm(struct bpf_iter__tcp *context)
{
	struct sock_common *sk = context->sk_common;
	struct marker_stamping *known;
	struct marker_socket *socket;
	struct marker_value *value;
	struct marker_key key = {};
	struct tcp6_sock *six;
	__u32 place = 0;
	__u32 bit;
	void *tcp;

	known = bpf_map_lookup_elem(&stamping, &place);
	if (!sk || !known)
		return 0;
	if (sk->skc_state == TCP_LISTEN || sk->skc_state == TCP_CLOSE)
		return 0;
	/* Neither what is left of a connection nor one that is being made. */
	tcp = bpf_skc_to_tcp_sock(sk);
	if (!tcp)
		return 0;
	marker_common_key(sk, &key);
	bit = marker_port_bit(marker_key_ports(&key));
	value = 0;
	if (!known->released && control.ports[bit >> 3] & 1 << (bit & 7))
		value = bpf_map_lookup_elem(&flows, &key);
	socket = bpf_sk_storage_get(&own, tcp, 0, 0);
	if (!value) {
		if (socket)
			marker_arm_socket(tcp, socket, known);
		return 0;
	}
	if (sk->skc_family == MARKER_AF_INET6) {
		/* Options of IPv4 are not to be had of it; a label that the application asked for goes before ours. */
		six = bpf_skc_to_tcp6_sock(sk);
		if (marker_key_is_ipv4(&key) || (six && value->flags & MARKER_STAMP_LABEL && six->inet6.flow_label)) {
			if (value->reach != MARKER_UNREACHABLE)
				__sync_fetch_and_add(&known->refused, 1);
			value->reach = MARKER_UNREACHABLE;
			return 0;
		}
	}
	if (socket && socket->label == value->label && socket->keep == value->keep && socket->dscp == value->dscp &&
	    socket->flags == (value->flags & MARKER_STAMP_FLAGS)) {
		value->reach = MARKER_REACHED;
		return 0;
	}
	if (!socket)
		socket = bpf_sk_storage_get(&own, tcp, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (socket && !marker_arm_socket(tcp, socket, known))
		value->reach = MARKER_REACHED;
	return 0;
}
