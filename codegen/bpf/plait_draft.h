// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The draft of one family: what the steps off the fast path share, and flows that are handed over
 * to another generation. Included by plait_engine.h.
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
