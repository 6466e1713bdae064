// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The flow engine of one address family: look up, decide when needed, apply.
 *
 * Included once per family that the plan has, with PLAIT_FAMILY set to 4 or 6, by a generated
 * program that has defined before:
 *
 *	struct plait_parts		the plugins' parts of a flow
 *	plait_stages_admit()		the fragments of a stage, in order
 *	plait_stages_service()		... of service
 *	plait_stages_policy()		... of identity and policy: new flows, not replies
 *	plait_stages_route()		... of route and encrypt
 *	plait_stages_apply()		... of apply
 *	plait_zone(skb)			where packets of this hook come from
 *	plait_owns(pkt)			whether a new flow of this hook is an endpoint's
 *	PLAIT_PER_PACKET		1 when stages admit or apply have fragments
 *	PLAIT_TO_POD			1 when packets of this hook are on their way into a pod
 *
 * plait_fast reads the plain packet of a decided flow; whatever else goes to plait_slow.
 */
#include "plait_answer.h"
#include "plait_reset.h"
#include "plait_table.h"
#include "plait_send.h"
#include "plait_decide.h"

static __always_inline struct F(plait_key) F(plait_key_of)(const struct plait_pkt *pkt)
{
	return (struct F(plait_key)){
		.saddr = F(plait_narrow)(&pkt->saddr),
		.daddr = F(plait_narrow)(&pkt->daddr),
		.sport = pkt->sport,
		.dport = pkt->dport,
		.zone_proto = PLAIT_ZONE_PROTO(pkt->zone, pkt->proto),
	};
}

/* The flow of a plain packet, when it is decided, settled, and nothing is unusual; else NULL, with
 * what is to be done in `code`.
 */
static __always_inline struct F(plait_entry) *F(plait_fast)(struct __sk_buff *skb, int *code)
{
	void *end = (void *)(long)skb->data_end;
	struct ethhdr *eth = (void *)(long)skb->data;
	F(plait_header) *ip = (void *)(eth + 1);
	struct tcphdr *tcp = (void *)(ip + 1);
	struct udphdr *udp = (void *)(ip + 1);
	struct F(plait_entry) *entry;
	struct F(plait_key) key;
	__u32 header;
	__u8 proto;

	*code = PLAIT_GO_SLOW;
	if ((void *)(udp + 1) > end)
		return NULL;
#if PLAIT_FAMILY == 4
	if (*(__u8 *)ip != 0x45 || ip->ttl <= 1 ||
	    ip->frag_off & bpf_htons(PLAIT_IP_MF | PLAIT_IP_OFFSET))
		return NULL;
#else
	if (ip->hop_limit <= 1)
		return NULL;
#endif
	proto = F(plait_proto)(ip);
	header = sizeof(*ip) + sizeof(*udp);
	if (proto == IPPROTO_TCP) {
		if ((void *)(tcp + 1) > end || ((__u8 *)tcp)[13] & PLAIT_TCP_CHANGES)
			return NULL;
		header = sizeof(*ip) + tcp->doff * 4;
	} else if (proto != IPPROTO_UDP) {
		return NULL;
	}

	key.saddr = F(plait_source)(ip);
	key.daddr = F(plait_dest)(ip);
	key.sport = udp->source;
	key.dport = udp->dest;
	key.zone_proto = PLAIT_ZONE_PROTO(plait_zone(skb), proto);
	entry = bpf_map_lookup_elem(&F(plait_flow), &key);
	if (!entry)
		*code = PLAIT_GO_OPEN;
	if (!entry || !(entry->flow.flags & PLAIT_FLOW_SETTLED) ||
	    !F(plait_current)(&entry->flow) || F(plait_too_big)(skb, header, entry->flow.mtu))
		return NULL;
	if (!bpf_cast_to_kern_ctx && entry->flow.flags & PLAIT_FLOW_REWRITE)
		return NULL;
	if (PLAIT_PER_PACKET) {
		struct plait_pkt pkt = {
			.skb = skb,
			.saddr = F(plait_widen)(key.saddr),
			.daddr = F(plait_widen)(key.daddr),
			.sport = key.sport,
			.dport = key.dport,
			.family = PLAIT_FAMILY,
			.proto = proto,
			.tcp_flags = proto == IPPROTO_TCP ? ((__u8 *)tcp)[13] : 0,
			.l4 = sizeof(*eth) + sizeof(*ip),
			.header = header,
			.zone = plait_zone(skb),
		};

		if (plait_stages_admit(&pkt) != PLAIT_NEXT ||
		    plait_stages_apply(&pkt, &entry->flow, &entry->parts) != PLAIT_NEXT) {
			plait_count_drop(pkt.reason);
			*code = TC_ACT_SHOT;
			return NULL;
		}
	}

	F(plait_count)(&entry->flow, skb);
	return entry;
}

/* True for a packet that can be sent as the fast path does it. */
static __always_inline bool F(plait_is_plain)(const struct plait_pkt *pkt)
{
	return bpf_cast_to_kern_ctx && pkt->kind == PLAIT_PACKET_PLAIN &&
	       pkt->l4 == sizeof(struct ethhdr) + sizeof(F(plait_header)) &&
	       (pkt->proto == IPPROTO_TCP || pkt->proto == IPPROTO_UDP);
}

/* What is to be done with a packet of this flow. A plain one is sent by the caller, from the draft:
 * there is one place that does it.
 */
static __always_inline int F(plait_apply)(struct plait_pkt *pkt, struct F(plait_work) *work,
					  struct F(plait_entry) *entry, bool counted)
{
	const struct F(plait_key) *key = &work->key;
	bool routes = F(plait_routes)(entry);
	int verdict;

	if (routes && F(plait_hops)(pkt->skb) <= 1) {
		plait_count_drop(PLAIT_HOPS_EXCEEDED);
		return pkt->kind == PLAIT_PACKET_PLAIN ?
			       PLAIT_ANSWER(PLAIT_ANSWER_TIME_EXCEEDED, 0) :
			       TC_ACT_SHOT;
	}
	if (routes && F(plait_too_big)(pkt->skb, pkt->header, entry->flow.mtu)) {
		if (!F(plait_may_fragment)(pkt->skb)) {
			plait_count_drop(PLAIT_TOO_BIG);
			return pkt->kind == PLAIT_PACKET_PLAIN ?
				       PLAIT_ANSWER(PLAIT_ANSWER_TOO_BIG, entry->flow.mtu) :
				       TC_ACT_SHOT;
		}
		routes = false;
	}
	verdict = plait_stages_apply(pkt, &entry->flow, &entry->parts);
	if (verdict != PLAIT_NEXT) {
		plait_count_drop(pkt->reason);
		return TC_ACT_SHOT;
	}

	if (!counted)
		F(plait_count)(&entry->flow, pkt->skb);
	if (!routes || !F(plait_is_plain)(pkt))
		return F(plait_send)(pkt, routes, key, entry);
	if (entry != &work->entry)
		work->entry = *entry;
	return PLAIT_SEND_PLAIN;
}

static __always_inline int F(plait_refuse)(const struct plait_pkt *pkt, int verdict)
{
	if (verdict == PLAIT_SKIP)
		return TC_ACT_UNSPEC;
	plait_count_drop(pkt->reason);
	if (verdict == PLAIT_REJECT && pkt->kind == PLAIT_PACKET_PLAIN)
		return pkt->no_route		 ? PLAIT_ANSWER(PLAIT_ANSWER_HOST_UNREACHABLE, 0) :
		       pkt->proto == IPPROTO_TCP ? PLAIT_ANSWER(PLAIT_ANSWER_RESET, 0) :
						   PLAIT_ANSWER(PLAIT_ANSWER_PORT_UNREACHABLE, 0);
	return TC_ACT_SHOT;
}

/* Everything but the plain packet of a decided flow. `unknown`: its flow is known to be new. Not
 * static: so the verifier walks it once, and not once for each way that leads here.
 */
__noinline int F(plait_slow)(struct __sk_buff *skb, bool unknown)
{
	struct plait_pkt pkt = { .skb = skb, .family = PLAIT_FAMILY, .zone = plait_zone(skb) };
	struct F(plait_entry) *entry, *peer;
	struct F(plait_work) *work;
	__u32 zero = 0;
	int verdict;

	work = bpf_map_lookup_elem(&F(plait_draft), &zero);
	if (!work || plait_pull(skb))
		return TC_ACT_UNSPEC;
	verdict = F(plait_parse)(&pkt);
	if (verdict == PLAIT_NEXT)
		verdict = plait_stages_admit(&pkt);
	if (verdict != PLAIT_NEXT)
		return F(plait_refuse)(&pkt, verdict);

	work->key = F(plait_key_of)(&pkt);
	entry = unknown ? NULL : bpf_map_lookup_elem(&F(plait_flow), &work->key);
	if (entry && pkt.kind == PLAIT_PACKET_PLAIN && plait_reopens(&pkt, &entry->flow)) {
		F(plait_forget_peer)(work, entry);
		entry = NULL;
	}
	if (!entry) {
		verdict = pkt.kind == PLAIT_PACKET_ICMP_ERROR ? PLAIT_SKIP :
								F(plait_open)(&pkt, work);
		if (verdict != PLAIT_DONE)
			return F(plait_refuse)(&pkt, verdict);
		/* What fragments write to their parts while they apply must reach the table. */
		entry = PLAIT_PER_PACKET ? bpf_map_lookup_elem(&F(plait_flow), &work->key) :
					   &work->entry;
		return entry ? F(plait_apply)(&pkt, work, entry, true) : TC_ACT_SHOT;
	}

	if (!F(plait_current)(&entry->flow)) {
		verdict = F(plait_renew)(&pkt, work, entry);
		if (verdict != PLAIT_DONE)
			return F(plait_refuse)(&pkt, verdict);
	}
	if (pkt.kind == PLAIT_PACKET_PLAIN &&
	    (!(entry->flow.flags & PLAIT_FLOW_SETTLED) || pkt.tcp_flags & PLAIT_TCP_CHANGES)) {
		peer = F(plait_find_peer)(work, entry);
		if (peer)
			plait_track(&pkt, &entry->flow, &peer->flow);
	}
	return F(plait_apply)(&pkt, work, entry, false);
}

/* A packet of this family: the program's whole work. */
static __always_inline int F(plait_run)(struct __sk_buff *skb)
{
	struct F(plait_entry) *entry;
	struct F(plait_work) *work;
	__u32 zero = 0;
	int code;

	entry = F(plait_fast)(skb, &code);
	if (plait_unlikely(!entry)) {
		if (code == PLAIT_GO_SLOW || code == PLAIT_GO_OPEN)
			code = F(plait_slow)(skb, code == PLAIT_GO_OPEN);
		if (code == TC_ACT_UNSPEC || code < PLAIT_ANSWER_REQUEST)
			return code;
		if (code == PLAIT_ANSWER(PLAIT_ANSWER_RESET, 0))
			return F(plait_reset)(skb);
		if (code != PLAIT_SEND_PLAIN)
			return F(plait_answer)(skb, code);
		work = bpf_map_lookup_elem(&F(plait_draft), &zero);
		if (!work)
			return TC_ACT_SHOT;
		entry = &work->entry;
	}
	/* One pointer from here on, not one for each field and way that leads here. */
	asm volatile("" : "+r"(entry));
	return F(plait_send_plain)(skb, entry);
}

#include "plait_family_end.h"
