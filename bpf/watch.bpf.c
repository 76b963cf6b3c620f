// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * Finds the TCP connections of this host that a rule tags, as they begin, and has the tc path mark them from their
 * first packet on.
 *
 * Contract: every way out returns 1, which is "go on", and `reply` stays as it is: the programs of others have their
 * say. Nothing about the socket changes but that its later states are told of here.
 *
 * A connection that this host opens is entered when its SYN is about to leave, silently; userspace is told when it is
 * established. An entry that userspace was not told of is marked as pending and goes with its connection.
 */
#include <linux/tcp.h>

#include "sockops.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct marker_rules);
} rules SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, MARKER_RING_BYTES);
} events SEC(".maps");

/* Has the tc path look packets with these ports up. A bit that is lost to another's is set again by userspace. */
static __always_inline void marker_open_ports(const struct marker_key *key)
{
	__u32 bit = marker_port_bit(marker_key_ports(key));

	control.ports[bit >> 3] |= 1 << (bit & 7);
}

/*
 * Enters a connection into the tc path's table, where nobody else has.
 *
 * Returns 1 where it did; *label is then the entry's.
 */
static __always_inline int marker_enter(const struct marker_key *key, const struct marker_tag *tag, __u8 pending,
					__u32 *label)
{
	struct marker_value value;

	__builtin_memcpy(&value, marker_key_is_ipv4(key) ? &tag->ipv4 : &tag->ipv6, sizeof(value));
	if (!value.flags)
		return 0;
	if (value.flags & MARKER_STAMP_LABEL)
		value.label |= bpf_get_prandom_u32() & MARKER_LABEL_ENTROPY;
	value.flags |= pending;
	if (bpf_map_update_elem(&flows, key, &value, BPF_NOEXIST))
		return 0;
	marker_open_ports(key);
	*label = value.label;
	return 1;
}

/* The SYN is about to leave. */
static __always_inline void marker_connects(struct bpf_sock_ops *ops, const struct marker_key *key,
					    const struct marker_tag *tag)
{
	__u32 label;

	if (!tag || !marker_enter(key, tag, MARKER_PENDING, &label))
		return;
	/* Whatever others want to be told of stays. Where this fails userspace finds the entry as a stray. */
	bpf_sock_ops_cb_flags_set(ops, ops->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG);
}

static __always_inline void marker_established(const struct marker_key *key, struct marker_rules *known,
					       const struct marker_tag *tag)
{
	struct marker_value *value;
	struct marker_event *event;

	/* First, so that nothing is entered that userspace does not hear of. */
	event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event) {
		__sync_fetch_and_add(&known->lost, 1);
		return;
	}
	__builtin_memset(event, 0, sizeof(*event));
	__builtin_memcpy(&event->key, key, sizeof(*key));
	event->kind = MARKER_EVENT_ASK;
	if (tag) {
		event->kind = MARKER_EVENT_TAGGED;
		event->packed = tag->packed;
		value = bpf_map_lookup_elem(&flows, key);
		if (!value) {
			event->entered = marker_enter(key, tag, 0, &event->label);
		} else if (value->flags & MARKER_PENDING) {
			value->flags &= ~MARKER_PENDING;
			event->label = value->label;
			event->entered = 1;
		}
	}
	bpf_ringbuf_submit(event, 0);
}

/* The connection is over. */
static __always_inline void marker_closes(const struct marker_key *key)
{
	struct marker_value *value = bpf_map_lookup_elem(&flows, key);
	struct marker_event *event;

	if (!value || !(value->flags & MARKER_PENDING))
		return;
	bpf_map_delete_elem(&flows, key);
	/* Without it the bit of its ports stays, which costs look-ups and no mark. */
	event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event)
		return;
	__builtin_memset(event, 0, sizeof(*event));
	__builtin_memcpy(&event->key, key, sizeof(*key));
	event->kind = MARKER_EVENT_DROPPED;
	bpf_ringbuf_submit(event, 0);
}

static __always_inline int marker_socket_event(struct bpf_sock_ops *ops, int has_namespaces)
{
	const struct marker_tag *tag;
	const struct marker_row *row;
	struct marker_rules *known;
	struct marker_key key = {};
	__u32 op = ops->op;
	__u32 place = 0;

	if (op != BPF_SOCK_OPS_TCP_CONNECT_CB && op != BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB &&
	    op != BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB && op != BPF_SOCK_OPS_STATE_CB)
		return 1;
	known = bpf_map_lookup_elem(&rules, &place);
	if (!known || marker_socket_key(ops, &key))
		return 1;
	if (has_namespaces && bpf_get_netns_cookie(ops) != known->namespace_cookie)
		return 1;
	if (op == BPF_SOCK_OPS_STATE_CB) {
		/* The states are told before and after. */
		if (ops->args[1] == BPF_TCP_CLOSE)
			marker_closes(&key);
		return 1;
	}
	row = marker_first_row(known, &key);
	if (!row || row->verdict == MARKER_VERDICT_EXCLUDE)
		return 1;
	tag = marker_row_tag(known, row, &key);
	if (op == BPF_SOCK_OPS_TCP_CONNECT_CB)
		marker_connects(ops, &key, tag);
	else
		marker_established(&key, known, tag);
	return 1;
}

SEC("sockops")
int marker_watch(struct bpf_sock_ops *ops)
{
	return marker_socket_event(ops, 1);
}

/* For kernels before 5.15, which do not tell the namespace of a socket: userspace finds out. */
SEC("sockops")
int marker_watch_all(struct bpf_sock_ops *ops)
{
	return marker_socket_event(ops, 0);
}
