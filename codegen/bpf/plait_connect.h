// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The two directions of a connection, one family's part: each has an entry, whose tuple is the
 * other one's turned around, and a port that no other connection has. Included by plait_engine.h.
 */

/* True when the entry for the other direction is a live connection's already: one that leaves with
 * another tuple, or whose packets come from elsewhere than this one, which anybody may have sent.
 * A pod has been checked, and takes over from the one that had its address before; the wire knows
 * better than the host's stack, unless a connection through that has been answered.
 */
static __always_inline bool F(plait_clashes)(const struct F(plait_key) *key,
					     const struct F(plait_tuple) *back,
					     const struct F(plait_entry) *taken)
{
	__u32 zone = key->zone_proto >> 8, other = plait_far_zone(&taken->flow);

	if (plait_has_ended(taken->flow.state))
		return false;
	if (!F(plait_same_tuple)(&taken->to, back))
		return true;
	if (zone == PLAIT_ZONE_OUTSIDE)
		return other != PLAIT_ZONE_OUTSIDE &&
		       (other != PLAIT_ZONE_HOST || taken->flow.packets);
	return zone == PLAIT_ZONE_HOST && other != PLAIT_ZONE_HOST;
}

/* The other direction leaves with the tuple that this one comes with, turned around. */
static __always_inline bool F(plait_leads_back)(const struct F(plait_tuple) *to,
						const struct F(plait_key) *key)
{
	return F(plait_same)(to->saddr, key->daddr) && F(plait_same)(to->daddr, key->saddr) &&
	       to->sport == key->dport && to->dport == key->sport;
}

static __always_inline bool F(plait_same_key)(const struct F(plait_key) *a,
					      const struct F(plait_key) *b)
{
	return F(plait_same)(a->saddr, b->saddr) && F(plait_same)(a->daddr, b->daddr) &&
	       a->sport == b->sport && a->dport == b->dport && a->zone_proto == b->zone_proto;
}

/* Make the other direction's entry: its tuple is known, its way is decided by its first packet.
 * Returns the reason to drop when it cannot be made, else 0.
 */
PLAIT_STEP __u32 F(plait_make_peer)(void)
{
	struct F(plait_work) *work = F(plait_work)();
	struct F(plait_entry) *peer, *taken;
	const struct F(plait_key) *key;
	struct plait_flow *flow;
	int failed; /* not long: the upper half is undefined before Linux 6.4 */

	if (!work)
		return PLAIT_FLOW_TABLE_FULL;
	key = &work->key;
	peer = &work->peer;
	flow = &peer->flow;
	*peer = work->entry;
	work->peer_key = F(plait_peer_key)(peer, (__u8)key->zone_proto);
	peer->to = (struct F(plait_tuple)){ key->daddr, key->saddr, key->dport, key->sport };
	flow->stamp = 0;
	flow->oif = key->zone_proto >> 8;
	flow->action = PLAIT_ACTION_NONE;
	flow->flags = PLAIT_FLOW_REPLY | (flow->flags & PLAIT_FLOW_REWRITE);
	if (flow->oif == PLAIT_ZONE_HOST)
		flow->flags |= PLAIT_FLOW_TO_HOST;
	flow->packets = 0;
	flow->bytes = 0;
	plait_set_state(flow, flow->state);

	failed = bpf_map_update_elem(&F(plait_flow), &work->peer_key, peer, BPF_NOEXIST);
	if (failed != -EEXIST)
		return failed ? PLAIT_FLOW_TABLE_FULL : 0;
	taken = bpf_map_lookup_elem(&F(plait_flow), &work->peer_key);
	if (taken && F(plait_clashes)(key, &peer->to, taken)) {
		work->through_host = plait_far_zone(&taken->flow) == PLAIT_ZONE_HOST;
		return PLAIT_FLOW_CLASH;
	}
	if (taken && !plait_has_ended(taken->flow.state)) {
		flow->packets = taken->flow.packets;
		flow->bytes = taken->flow.bytes;
		flow->flags |= taken->flow.flags & PLAIT_FLOW_FIN_SEEN;
	}
	return bpf_map_update_elem(&F(plait_flow), &work->peer_key, peer, BPF_ANY) ?
		       PLAIT_FLOW_TABLE_FULL :
		       0;
}

/* True while the flow of the draft may leave from another port, as the one that it has is taken.
 * What goes through the host's stack is left to that, unless the port is ours to give.
 */
static __always_inline bool F(plait_may_try_port)(const struct F(plait_work) *work, __u32 reason)
{
	return reason == PLAIT_FLOW_CLASH && (work->pkt.masquerade || !work->through_host);
}

/* Try another port for the flow of the draft. */
static long F(plait_try_port)(__u32 tries, __u32 *reason)
{
	struct F(plait_work) *work = F(plait_work)();

	if (!work)
		return 1;
	work->entry.to.sport = plait_any_port(&work->pkt);
	work->entry.flow.flags |= PLAIT_FLOW_REWRITE;
	*reason = F(plait_make_peer)();
	/* Not the bool itself: "At callback return the register R0 has smin=0 smax=255". */
	if (F(plait_may_try_port)(work, *reason))
		return 0;
	return 1;
}

/* Make the other direction's entry, from another port if this one is taken: by a connection to
 * another service with the same backend, for one.
 */
PLAIT_STEP __u32 F(plait_connect)(void)
{
	struct F(plait_work) *work = F(plait_work)();
	__u32 reason = F(plait_make_peer)();
	long tries = 0;

	if (!work)
		return PLAIT_FLOW_TABLE_FULL;
	if (PLAIT_TO_POD || plait_keeps_ports(&work->pkt))
		return reason;
	if (F(plait_may_try_port)(work, reason))
		tries = bpf_loop(PLAIT_PORT_TRIES, F(plait_try_port), &reason, 0);
	if (!work->pkt.masquerade || (reason && reason != PLAIT_FLOW_CLASH))
		return reason;
	plait_note_tries(&work->pkt, tries, reason);
	return reason ? PLAIT_PORTS_EXHAUSTED : 0;
}

/* The other direction's entry, if it is still this connection's; `peer_key` gets its key. */
static __always_inline struct F(plait_entry) *F(plait_find_peer)(struct F(plait_key) *peer_key,
								 const struct F(plait_key) *key,
								 const struct F(plait_entry) *entry)
{
	struct F(plait_entry) *peer;

	*peer_key = F(plait_peer_key)(entry, (__u8)key->zone_proto);
	peer = bpf_map_lookup_elem(&F(plait_flow), peer_key);
	return peer && F(plait_leads_back)(&peer->to, key) ? peer : NULL;
}

static __always_inline void F(plait_forget_peer)(struct F(plait_work) *work,
						 const struct F(plait_entry) *entry)
{
	if (F(plait_find_peer)(&work->old_key, &work->key, entry))
		bpf_map_delete_elem(&F(plait_flow), &work->old_key);
}

/* The stages know nothing of a port that was found by trying: it stays, with the address. */
static __always_inline void F(plait_keep_port)(struct F(plait_work) *work,
					       const struct F(plait_entry) *entry)
{
	struct F(plait_tuple) *to = &work->entry.to;

	if (!F(plait_same)(to->saddr, entry->to.saddr))
		return;
	if (!work->pkt.masquerade &&
	    (to->sport != work->key.sport || entry->to.sport == work->key.sport))
		return;
	to->sport = entry->to.sport;
	work->entry.flow.flags |= PLAIT_FLOW_REWRITE;
}
