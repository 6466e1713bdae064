// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Deciding a flow, one family's part: run the stages on the draft. Included by plait_engine.h. */

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

/* What stage service has made of the tuple. */
static __always_inline void F(plait_note_translation)(struct plait_pkt *pkt,
						      const struct F(plait_key) *key)
{
	struct plait_addr saddr = F(plait_widen)(key->saddr);
	struct plait_addr daddr = F(plait_widen)(key->daddr);
	bool moved = !plait_addr_same(&pkt->daddr, &daddr);

	if (moved)
		pkt->third = pkt->daddr;
	pkt->translated = moved || !plait_addr_same(&pkt->saddr, &saddr) || pkt->masquerade ||
			  pkt->sport != key->sport || pkt->dport != key->dport;
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
