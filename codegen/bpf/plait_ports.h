// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Ports for flows that cannot leave with their sender's own: a masqueraded one, or one whose tuple
 * another flow has already. A port is taken by making the entry of the replies to it, which fails
 * when there is one: no two flows get the same, and none that is live loses its own.
 */
#pragma once
#include "plait.h"

#define PLAIT_PORT_TRIES 128 /* with nine of ten ports in use, one in a million flows gets none */

PLAIT_CONST(__u16, plait_ports_first, "the first port that masqueraded flows leave from");
PLAIT_CONST(__u16, plait_ports_count, "how many ports these are");

/* How hard it is to find a port, since the agent last looked. */
struct plait_port_use {
	__u64 flows; /* that were given one */
	__u64 failed; /* that got none */
	__u32 most; /* tries for one of them, and where that went to: */
	__be16 port;
	__u8 proto;
	__u8 pad;
	struct plait_addr addr;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct plait_port_use);
} plait_port_uses SEC(".maps");

/* Any of the ports of masqueraded flows, else of the dynamic ones (RFC 6335). */
static __always_inline __be16 plait_any_port(const struct plait_pkt *pkt)
{
	__u32 random = bpf_get_prandom_u32();

	if (pkt->masquerade)
		return bpf_htons(plait_ports_first + ((random & 0xffff) * plait_ports_count >> 16));
	return bpf_htons(0xc000 | (random & 0x3fff));
}

static __always_inline void plait_note_tries(const struct plait_pkt *pkt, __u32 tries, bool failed)
{
	struct plait_port_use *use;
	__u32 zero = 0;

	use = bpf_map_lookup_elem(&plait_port_uses, &zero);
	if (!use)
		return;
	if (failed)
		__sync_fetch_and_add(&use->failed, 1);
	else
		__sync_fetch_and_add(&use->flows, 1);
	if (tries <= use->most)
		return;
	use->most = tries;
	use->addr = pkt->daddr;
	use->port = pkt->dport;
	use->proto = pkt->proto;
}
