// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Flows that are new, or decide again, one family's part: the stages, then the entries that they
 * lead to. Included by plait_engine.h.
 */

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
