/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The map of flows and the program's variables, which the objects of the tc path and the programs at TCP's events
 * share: whoever loads the second object gives it the maps of the first.
 */
#ifndef MARKER_FLOWS_H
#define MARKER_FLOWS_H

#include "address.h"

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	/* Set from maxFlows before loading. Memory is taken as flows come, not for all of them at once. */
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct marker_key);
	__type(value, struct marker_value);
} flows SEC(".maps");

/* The only variable: objects that share it have to agree about all of .bss. */
struct marker_control control;
#endif
