// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Deciding a flow, one family's part: the stages, and the entries that they lead to. Included by
 * plait_engine.h.
 *
 * The steps are global functions, and what they share lies in a map: so the verifier walks each
 * step once. Inlined, with the packet on the stack, it would walk each for every way that the ones
 * before it can end (175,000 instructions in place of a fifth of that).
 */

/* A packet off the fast path, its flow while that is decided, and the other direction's. */
struct F(plait_work) {
	struct plait_pkt pkt;
	struct plait_fragment frag;
	struct F(plait_key) key;
	struct F(plait_key) peer_key;
	struct F(plait_key) old_key; /* the other direction's until now */
	struct F(plait_entry) entry;
	struct F(plait_entry) peer;
	bool through_host; /* what it clashes with goes through the host's stack */
	__u8 pad[7];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct F(plait_work));
} F(plait_draft) SEC(".maps");

static __always_inline struct F(plait_work) *F(plait_work)(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&F(plait_draft), &zero);
}

/* Flows that a generation has opened or changed while another one with tables of its own takes
 * over: whichever generation meets their next packet knows them. Without the plugins' parts, which
 * may be laid out otherwise there: the control plane carries these over.
 */
struct F(plait_handed) {
	struct plait_flow flow;
	struct F(plait_tuple) to;
	union F(plait_via) via;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct F(plait_key));
	__type(value, struct F(plait_handed));
} F(plait_handover) SEC(".maps");

static __always_inline void F(plait_hand)(const struct F(plait_key) *key)
{
	const struct F(plait_entry) *entry = bpf_map_lookup_elem(&F(plait_flow), key);
	struct F(plait_handed) handed;

	if (!entry)
		return;
	handed.flow = entry->flow;
	handed.to = entry->to;
	handed.via = entry->via;
	bpf_map_update_elem(&F(plait_handover), key, &handed, BPF_ANY);
}

/* Hand over the flow that the draft is about, and the other direction's. */
PLAIT_STEP int F(plait_hand_over)(void)
{
	struct F(plait_work) *work = F(plait_work)();

	if (!work)
		return 0;
	F(plait_hand)(&work->key);
	F(plait_hand)(&work->peer_key);
	return 0;
}

/* Take the flow of the packet from the other generation, should it have been there. */
PLAIT_STEP int F(plait_take_over)(void)
{
	struct F(plait_work) *work = F(plait_work)();
	const struct F(plait_handed) *handed;

	if (!work)
		return -1;
	handed = bpf_map_lookup_elem(&F(plait_handover), &work->key);
	if (!handed)
		return -1;
	__builtin_memset(&work->entry, 0, sizeof(work->entry));
	work->entry.flow = handed->flow;
	work->entry.to = handed->to;
	work->entry.via = handed->via;
	return bpf_map_update_elem(&F(plait_flow), &work->key, &work->entry, BPF_NOEXIST);
}

/* True while nothing that the flow was decided from has changed. */
static __always_inline bool F(plait_current)(const struct plait_flow *flow)
{
	const struct plait_revisions *revs = plait_revisions();

	return revs && flow->stamp &&
	       flow->stamp == revs->all + revs->slot[flow->deps[0]] + revs->slot[flow->deps[1]] +
				      revs->slot[flow->deps[2]];
}

static __always_inline bool F(plait_same_tuple)(const struct F(plait_tuple) *a,
						const struct F(plait_tuple) *b)
{
	return F(plait_same)(a->saddr, b->saddr) && F(plait_same)(a->daddr, b->daddr) &&
	       a->sport == b->sport && a->dport == b->dport;
}

/* Policy is asked about a connection, as its opener's packets leave: for replies, too. */
static __always_inline void F(plait_turn_to_opener)(struct plait_pkt *pkt,
						    const struct F(plait_key) *key,
						    const struct F(plait_tuple) *to)
{
	pkt->saddr = F(plait_widen)(to->daddr);
	pkt->daddr = F(plait_widen)(key->saddr);
	pkt->sport = to->dport;
	pkt->dport = key->sport;
}

/* A reply leaves with the tuple that its opener came with, turned around. */
static __always_inline void F(plait_turn_to_reply)(struct plait_pkt *pkt,
						   const struct F(plait_tuple) *to)
{
	pkt->saddr = F(plait_widen)(to->saddr);
	pkt->daddr = F(plait_widen)(to->daddr);
	pkt->sport = to->sport;
	pkt->dport = to->dport;
}

static __always_inline void F(plait_note_translation)(struct plait_pkt *pkt,
						      const struct F(plait_key) *key)
{
	struct plait_addr daddr = F(plait_widen)(key->daddr);
	bool moved = !plait_addr_same(&pkt->daddr, &daddr) || pkt->dport != key->dport;

	if (moved)
		pkt->third = pkt->daddr;
	pkt->translated = moved || pkt->masquerade;
}

/* The source that a masqueraded flow leaves with. */
static __always_inline int F(plait_take_address)(struct plait_pkt *pkt)
{
	const struct plait_node *node = plait_node();
	F(plait_ip) addr;

	if (!node)
		return plait_drop(pkt, PLAIT_NO_ADDRESS);
	addr = F(plait_narrow)(PLAIT_FAMILY == 4 ? &node->addr4 : &node->addr6);
	if (F(plait_unroutable)(addr))
		return plait_drop(pkt, PLAIT_NO_ADDRESS);
	pkt->saddr = F(plait_widen)(addr);
	if (!plait_keeps_ports(pkt))
		pkt->sport = plait_any_port(pkt);
	return PLAIT_DONE;
}

/* Run the stages on the draft: zeroed for a new flow, else a copy of the flow as it was. A revision
 * is read before the maps that it stands for, so a change in between is seen later.
 */
PLAIT_STEP int F(plait_decide)(plait_ctx *ctx)
{
	const struct plait_revisions *revs = plait_revisions();
	struct F(plait_work) *work = F(plait_work)();
	const struct F(plait_key) *key;
	struct F(plait_entry) *entry;
	struct F(plait_tuple) before;
	struct plait_flow *flow;
	int verdict = PLAIT_NEXT;
	struct plait_pkt *pkt;
	__u32 stamp;
	bool reply;

	if (!revs || !work)
		return PLAIT_SKIP;
	pkt = &work->pkt;
	key = &work->key;
	entry = &work->entry;
	flow = &entry->flow;
	reply = plait_is_reply(flow);
	flow->deps[0] = plait_slot(&pkt->saddr);
	flow->deps[1] = plait_slot(&pkt->daddr);
	stamp = revs->all + revs->slot[flow->deps[0]] + revs->slot[flow->deps[1]];

	if (reply) {
		pkt->third = F(plait_widen)(entry->to.saddr);
		pkt->translated = flow->flags & PLAIT_FLOW_REWRITE;
		F(plait_turn_to_opener)(pkt, key, &entry->to);
	} else {
		pkt->last_daddr = F(plait_widen)(entry->to.daddr);
		pkt->last_dport = entry->to.dport;
		pkt->third = pkt->daddr;
		verdict = plait_stages_service(ctx, pkt, flow, &entry->parts);
		F(plait_note_translation)(pkt, key);
	}
	flow->deps[2] = plait_slot(&pkt->third);
	stamp += revs->slot[flow->deps[2]];

	if (verdict == PLAIT_NEXT)
		verdict = plait_stages_policy(ctx, pkt, flow, &entry->parts);
	if (reply) {
		F(plait_turn_to_reply)(pkt, &entry->to);
		/* What came through the host's stack, which may have translated it, goes back. */
		if (verdict == PLAIT_NEXT && flow->flags & PLAIT_FLOW_TO_HOST)
			verdict = plait_pass(pkt, flow);
	}
	if (verdict == PLAIT_NEXT)
		verdict = plait_stages_route(ctx, pkt, flow, &entry->parts);
	if (verdict == PLAIT_NEXT)
		verdict = plait_pass(pkt, flow);
	if (verdict == PLAIT_DONE && pkt->masquerade)
		verdict = F(plait_take_address)(pkt);
	if (verdict != PLAIT_DONE)
		return verdict;
	if (PLAIT_TO_POD) {
		flow->action = PLAIT_ACTION_PASS;
		flow->oif = pkt->ifindex;
		/* A flow from outside that came another way this time: its own hook knows better.
		 */
		pkt->provisional |= pkt->zone != plait_zone(ctx);
	}

	before = (struct F(plait_tuple)){ key->saddr, key->daddr, key->sport, key->dport };
	entry->to.saddr = F(plait_narrow)(&pkt->saddr);
	entry->to.daddr = F(plait_narrow)(&pkt->daddr);
	entry->to.sport = pkt->sport;
	entry->to.dport = pkt->dport;
	flow->flags &= ~PLAIT_FLOW_REWRITE;
	if (!F(plait_same_tuple)(&before, &entry->to))
		flow->flags |= PLAIT_FLOW_REWRITE;
	if (flow->action == PLAIT_ACTION_NEIGH)
		F(plait_set_nexthop)(entry, &pkt->nexthop);
	else
		entry->via.macs = pkt->macs;
	flow->stamp = pkt->provisional ? 0 : stamp;
	return PLAIT_DONE;
}

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

/* Try another port of the sender for the flow of the draft. */
static long F(plait_try_port)(__u32 tries, __u32 *reason)
{
	struct F(plait_work) *work = F(plait_work)();

	if (!work)
		return 1;
	work->entry.to.sport = plait_any_port(&work->pkt);
	work->entry.flow.flags |= PLAIT_FLOW_REWRITE;
	*reason = F(plait_make_peer)();
	/* Not a bool read from memory: "At callback return the register R0 has smin=0 smax=255". */
	if (*reason != PLAIT_FLOW_CLASH || work->through_host)
		return 1;
	return 0;
}

/* Make the other direction's entry, from another port of the sender if this one is taken: by a
 * connection to another service with the same backend, for one.
 */
PLAIT_STEP __u32 F(plait_connect)(void)
{
	struct F(plait_work) *work = F(plait_work)();
	__u32 reason = F(plait_make_peer)();
	long tries = 0;

	if (!work)
		return PLAIT_FLOW_TABLE_FULL;
	if (reason == PLAIT_FLOW_CLASH && !PLAIT_TO_POD && !work->through_host &&
	    !plait_keeps_ports(&work->pkt))
		tries = bpf_loop(PLAIT_PORT_TRIES, F(plait_try_port), &reason, 0);
	if (!work->pkt.masquerade)
		return reason;
	plait_note_tries(&work->pkt, tries, reason == PLAIT_FLOW_CLASH);
	return reason == PLAIT_FLOW_CLASH ? PLAIT_PORTS_EXHAUSTED : reason;
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

/* A new flow: decide, then make the entries of both directions. What the host's stack has from this
 * node (to cut it, say) belongs to a flow already: it goes on to the pod, as was decided.
 */
PLAIT_STEP int F(plait_open)(plait_ctx *ctx)
{
	struct F(plait_work) *work = F(plait_work)();
	struct F(plait_entry) *entry;
	struct plait_pkt *pkt;
	__be16 sport;
	__u32 reason;
	int failed, verdict; /* not long: as above */

	if (!work)
		return PLAIT_SKIP;
	pkt = &work->pkt;
	entry = &work->entry;
	verdict = plait_begin(pkt);
	if (verdict != PLAIT_NEXT)
		return verdict;
	if (plait_ends_unknown(pkt))
		return PLAIT_SKIP;
	__builtin_memset(entry, 0, sizeof(*entry));
	verdict = F(plait_decide)(ctx);
	if (verdict != PLAIT_DONE)
		return verdict;

	plait_set_state(&entry->flow, plait_first_state(pkt));
	F(plait_count)(&entry->flow, ctx);
	failed = bpf_map_update_elem(&F(plait_flow), &work->key, entry, BPF_NOEXIST);
	if (failed)
		return failed == -EEXIST ? PLAIT_RACED : plait_drop(pkt, PLAIT_FLOW_TABLE_FULL);
	sport = entry->to.sport;
	reason = F(plait_connect)();
	if (!reason && entry->to.sport != sport)
		bpf_map_update_elem(&F(plait_flow), &work->key, entry, BPF_ANY);
	if (!reason)
		return PLAIT_DONE;
	bpf_map_delete_elem(&F(plait_flow), &work->key);
	if ((PLAIT_TO_POD || work->through_host) && reason == PLAIT_FLOW_CLASH)
		return PLAIT_SKIP;
	return plait_drop(pkt, reason);
}

/* The flow is not allowed any more. Nor are its replies: without an entry, these must be allowed as
 * a flow of their own.
 */
static __always_inline void F(plait_revoke)(struct F(plait_work) *work,
					    struct F(plait_entry) *entry)
{
	WRITE_ONCE(entry->flow.stamp, 0);
	if (plait_is_reply(&entry->flow) || entry->flow.action == PLAIT_ACTION_NONE)
		return;
	F(plait_forget_peer)(work, entry);
	entry->flow.action = PLAIT_ACTION_NONE;
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

/* A flow that was decided from something that changed. It keeps its state, and what the
 * fragments want to keep; the entry stays invalid while it is half written.
 */
PLAIT_STEP int F(plait_renew)(plait_ctx *ctx, struct F(plait_entry) *entry)
{
	struct F(plait_work) *work = F(plait_work)();
	const struct plait_flow *drafted;
	struct plait_flow *flow;
	__u32 reason;
	int verdict;

	if (!work || !entry)
		return PLAIT_SKIP;
	flow = &entry->flow;
	drafted = &work->entry.flow;
	work->entry = *entry;
	work->pkt.known = true;
	verdict = plait_begin(&work->pkt);
	if (verdict == PLAIT_NEXT)
		verdict = F(plait_decide)(ctx);
	if (verdict != PLAIT_DONE) {
		F(plait_revoke)(work, entry);
		return verdict;
	}

	if (PLAIT_OPENS && !plait_is_reply(flow)) {
		F(plait_keep_port)(work, entry);
		if (!F(plait_same_tuple)(&work->entry.to, &entry->to) ||
		    drafted->action != flow->action || drafted->oif != flow->oif) {
			reason = F(plait_connect)();
			if (reason)
				return plait_drop(&work->pkt, reason);
			work->old_key = F(plait_peer_key)(entry, (__u8)work->key.zone_proto);
			if (!F(plait_same_key)(&work->old_key, &work->peer_key))
				F(plait_forget_peer)(work, entry);
		}
	}

	WRITE_ONCE(flow->stamp, 0);
	entry->to = work->entry.to;
	entry->via = work->entry.via;
	entry->parts = work->entry.parts;
	flow->deps[0] = drafted->deps[0];
	flow->deps[1] = drafted->deps[1];
	flow->deps[2] = drafted->deps[2];
	flow->action = drafted->action;
	flow->flags &= ~PLAIT_FLOW_REWRITE;
	flow->flags |= drafted->flags & PLAIT_FLOW_REWRITE;
	flow->mtu = drafted->mtu;
	flow->oif = drafted->oif;
	WRITE_ONCE(flow->stamp, drafted->stamp);
	return PLAIT_DONE;
}
