/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* How addresses stand in the maps. */
#ifndef MARKER_ADDRESS_H
#define MARKER_ADDRESS_H

#include <linux/bpf.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "table.h"

static __always_inline void marker_map_ipv4(__u8 *mapped, const __be32 *address)
{
	__builtin_memset(mapped, 0, 10);
	mapped[10] = mapped[11] = 0xff;
	__builtin_memcpy(mapped + 12, address, 4);
}
#endif
