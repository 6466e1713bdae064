// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The flow engine of one address family: look up, decide when needed, apply.
 *
 * Included once per family that the plan has, with PLAIT_FAMILY set to 4 or 6, by a generated
 * program that has defined before:
 *
 *	struct plait_parts		the plugins' parts of a flow
 *	plait_stages_admit()		the fragments of a stage, in order
 *	plait_stages_service()		... of service
 *	plait_stages_policy()		... of identity and policy
 *	plait_stages_route()		... of route and encrypt
 *	plait_stages_apply()		... of apply
 *	plait_zone(skb)			where packets of this hook come from
 *	plait_begin(pkt)		PLAIT_NEXT for who may begin a flow here: its endpoint
 *	PLAIT_PER_PACKET		1 when stages admit or apply have fragments
 *	PLAIT_TO_POD			1 when packets of this hook are on their way into a pod
 *	PLAIT_OPENS			1 when flows begin at this hook
 *
 * plait_fast reads the plain packet of a decided flow; whatever else goes to plait_slow.
 */
/* 1 when this hook sends packets on by itself; at others they are on their way already. */
#define PLAIT_FORWARDS (PLAIT_OPENS && !PLAIT_TO_POD)

#include "plait_answer.h"
#include "plait_ports.h"
#include "plait_reset.h"
#include "plait_table.h"
#include "plait_send.h"
#include "plait_draft.h"
#include "plait_decide.h"
#include "plait_connect.h"
#include "plait_open.h"

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
			.saddr = F(plait_widen)(key.saddr),
			.daddr = F(plait_widen)(key.daddr),
			.sport = key.sport,
			.dport = key.dport,
			.family = PLAIT_FAMILY,
			.proto = proto,
			.tcp_flags = proto == IPPROTO_TCP ? ((__u8 *)tcp)[13] : 0,
			.l4 = sizeof(*eth) + sizeof(*ip),
			.header = header,
			.ifindex = skb->ifindex,
			.zone = plait_zone(skb),
		};

		if (plait_stages_admit(skb, &pkt) != PLAIT_NEXT ||
		    plait_stages_apply(skb, &pkt, &entry->flow, &entry->parts) != PLAIT_NEXT) {
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
PLAIT_STEP int F(plait_apply)(plait_ctx *ctx, struct F(plait_entry) *entry, bool counted)
{
	struct F(plait_work) *work = F(plait_work)();
	struct plait_pkt *pkt;
	int verdict;
	bool routes;

	if (!work || !entry)
		return TC_ACT_SHOT;
	pkt = &work->pkt;
	routes = F(plait_routes)(entry);
	if (routes && F(plait_hops)(ctx) <= 1) {
		plait_count_drop(PLAIT_HOPS_EXCEEDED);
		return pkt->kind == PLAIT_PACKET_PLAIN ?
			       PLAIT_ANSWER(PLAIT_ANSWER_TIME_EXCEEDED, 0) :
			       TC_ACT_SHOT;
	}
	if (routes && F(plait_too_big)(ctx, pkt->header, entry->flow.mtu)) {
		if (!F(plait_may_fragment)(ctx)) {
			plait_count_drop(PLAIT_TOO_BIG);
			return pkt->kind == PLAIT_PACKET_PLAIN ?
				       PLAIT_ANSWER(PLAIT_ANSWER_TOO_BIG, entry->flow.mtu) :
				       TC_ACT_SHOT;
		}
		routes = false;
	}
	verdict = plait_stages_apply(ctx, pkt, &entry->flow, &entry->parts);
	if (verdict != PLAIT_NEXT) {
		plait_count_drop(pkt->reason);
		return TC_ACT_SHOT;
	}

	if (!counted)
		F(plait_count)(&entry->flow, ctx);
	if (!routes || !F(plait_is_plain)(pkt))
		return F(plait_send)(ctx, pkt, routes, &work->key, entry);
	if (PLAIT_PER_PACKET || !counted)
		work->entry = *entry;
	return PLAIT_SEND_PLAIN;
}

static __always_inline int F(plait_refuse)(const struct plait_pkt *pkt, int verdict)
{
	if (verdict == PLAIT_SKIP)
		return TC_ACT_UNSPEC;
	plait_count_drop(pkt->reason);
	/* A device may yet have to fill in SCTP's checksum: it would write it into an answer. */
	if (verdict == PLAIT_REJECT && pkt->kind == PLAIT_PACKET_PLAIN &&
	    pkt->proto != IPPROTO_SCTP)
		return pkt->no_route		 ? PLAIT_ANSWER(PLAIT_ANSWER_HOST_UNREACHABLE, 0) :
		       pkt->proto == IPPROTO_TCP ? PLAIT_ANSWER(PLAIT_ANSWER_RESET, 0) :
						   PLAIT_ANSWER(PLAIT_ANSWER_PORT_UNREACHABLE, 0);
	return TC_ACT_SHOT;
}

/* Read the transport header of the packet in the draft. */
PLAIT_STEP int F(plait_read_transport)(plait_ctx *ctx)
{
	struct F(plait_work) *work = F(plait_work)();

	return work ? plait_parse_transport(ctx, &work->pkt) : PLAIT_SKIP;
}

/* Read the extension header that is next. */
PLAIT_STEP int F(plait_read_extension)(plait_ctx *ctx)
{
	struct F(plait_work) *work = F(plait_work)();

	return work ? plait_parse_extension(ctx, &work->pkt, &work->frag) : PLAIT_SKIP;
}

static __always_inline int F(plait_parse)(plait_ctx *ctx, struct plait_pkt *pkt,
					  struct plait_fragment *frag)
{
	int i, verdict;

	if (plait_pull(ctx))
		return PLAIT_SKIP;
	verdict = F(plait_parse_headers)(ctx, pkt, frag);
	for (i = 0; PLAIT_FAMILY == 6 && i < PLAIT_EXTENSIONS; i++) {
		if (verdict != PLAIT_NEXT || frag->later || !plait_is_extension(pkt->proto))
			break;
		verdict = F(plait_read_extension)(ctx);
	}
	if (verdict != PLAIT_NEXT)
		return verdict;
	if (frag->later)
		return plait_parse_later(pkt, frag->id);
	verdict = F(plait_read_transport)(ctx);
	if (!frag->more || verdict != PLAIT_NEXT)
		return verdict;
	if (pkt->kind == PLAIT_PACKET_ICMP_ERROR)
		return PLAIT_SKIP;
	plait_note_ports(pkt, frag->id);
	return PLAIT_NEXT;
}

/* Read the packet into the draft, with nothing left out. */
PLAIT_STEP int F(plait_read)(plait_ctx *ctx)
{
	struct F(plait_work) *work = F(plait_work)();
	struct plait_pkt *pkt;

	if (!work)
		return PLAIT_SKIP;
	pkt = &work->pkt;
	__builtin_memset(pkt, 0, sizeof(*pkt));
	__builtin_memset(&work->frag, 0, sizeof(work->frag));
	pkt->family = PLAIT_FAMILY;
	pkt->ifindex = ctx->ifindex;
	pkt->zone = plait_zone(ctx);
	if (F(plait_parse)(ctx, pkt, &work->frag) != PLAIT_NEXT)
		pkt->kind = PLAIT_PACKET_OTHER;
	work->key = F(plait_key_of)(pkt);
	return PLAIT_NEXT;
}

/* A packet of a flow that is decided: what the connection is at now. */
PLAIT_STEP int F(plait_follow)(struct F(plait_entry) *entry)
{
	struct F(plait_work) *work = F(plait_work)();
	const struct plait_pkt *pkt;
	struct F(plait_entry) *peer;

	if (!work || !entry)
		return PLAIT_SKIP;
	pkt = &work->pkt;
	if (pkt->kind == PLAIT_PACKET_PLAIN &&
	    (!(entry->flow.flags & PLAIT_FLOW_SETTLED) || pkt->tcp_flags & PLAIT_TCP_CHANGES)) {
		peer = F(plait_find_peer)(&work->peer_key, &work->key, entry);
		if (peer)
			plait_track(pkt, &entry->flow, &peer->flow);
	}
	return PLAIT_DONE;
}

/* The flow of a packet from the host's stack that belongs to one from outside: it came by a device
 * that is no uplink, or not yet.
 */
static __always_inline struct F(plait_entry) *F(plait_find_outside)(struct F(plait_work) *work)
{
	struct F(plait_entry) *entry;
	__u32 own = work->key.zone_proto;

	work->key.zone_proto = PLAIT_ZONE_PROTO(PLAIT_ZONE_OUTSIDE, work->pkt.proto);
	entry = bpf_map_lookup_elem(&F(plait_flow), &work->key);
	if (entry)
		work->pkt.zone = PLAIT_ZONE_OUTSIDE;
	else
		work->key.zone_proto = own;
	return entry;
}

/* The flow of the packet in the draft, if there is one that goes on with it. `unknown`: none has
 * its key.
 */
static __always_inline struct F(plait_entry) *F(plait_find)(struct F(plait_work) *work,
							    bool unknown, bool handing_over)
{
	struct plait_pkt *pkt = &work->pkt;
	struct F(plait_entry) *entry = NULL;

	if (!unknown)
		entry = bpf_map_lookup_elem(&F(plait_flow), &work->key);
	if (!entry && handing_over && !F(plait_take_over)())
		entry = bpf_map_lookup_elem(&F(plait_flow), &work->key);
	if (!entry && PLAIT_TO_POD)
		entry = F(plait_find_outside)(work);
	if (!entry || pkt->kind != PLAIT_PACKET_PLAIN || !plait_reopens(pkt, &entry->flow))
		return entry;
	F(plait_forget_peer)(work, entry);
	bpf_map_delete_elem(&F(plait_flow), &work->key);
	return NULL;
}

/* Everything but the plain packet of a decided flow. `unknown`: its flow is known to be new. */
PLAIT_STEP int F(plait_slow)(plait_ctx *ctx, bool unknown)
{
	struct F(plait_work) *work = F(plait_work)();
	bool opened = false, handing_over;
	struct F(plait_entry) *entry;
	struct plait_pkt *pkt;
	int verdict;

	if (!work || F(plait_read)(ctx) != PLAIT_NEXT)
		return TC_ACT_SHOT;
	pkt = &work->pkt;
	verdict = plait_stages_admit(ctx, pkt);
	if (verdict == PLAIT_NEXT && pkt->kind == PLAIT_PACKET_OTHER)
		verdict = PLAIT_SKIP;
	if (verdict != PLAIT_NEXT)
		return F(plait_refuse)(pkt, verdict);

	handing_over = plait_handing_over();
	entry = F(plait_find)(work, unknown, handing_over);
	if (!entry) {
		verdict = !PLAIT_OPENS || pkt->kind == PLAIT_PACKET_ICMP_ERROR ? PLAIT_SKIP :
										 F(plait_open)(ctx);
		opened = verdict == PLAIT_DONE;
		if (!opened && verdict != PLAIT_RACED)
			return F(plait_refuse)(pkt, verdict);
		/* What fragments write to their parts while they apply must reach the table. */
		if (PLAIT_PER_PACKET || !opened)
			entry = bpf_map_lookup_elem(&F(plait_flow), &work->key);
		else
			entry = &work->entry;
		if (!entry)
			return TC_ACT_SHOT;
	}
	if (!opened) {
		verdict = PLAIT_DONE;
		if (!F(plait_current)(&entry->flow))
			verdict = F(plait_renew)(ctx, entry);
		if (verdict == PLAIT_DONE)
			verdict = F(plait_follow)(entry);
		if (verdict != PLAIT_DONE)
			return F(plait_refuse)(pkt, verdict);
	}
	if (handing_over)
		F(plait_hand_over)();
	return F(plait_apply)(ctx, entry, opened);
}

/* A packet of this family: the program's whole work. */
static __always_inline int F(plait_run)(struct __sk_buff *skb)
{
	struct F(plait_entry) *entry;
	struct F(plait_work) *work;
	int code;

	entry = F(plait_fast)(skb, &code);
	if (plait_unlikely(!entry)) {
		if (!PLAIT_OPENS && code == PLAIT_GO_OPEN && !plait_handing_over())
			return TC_ACT_UNSPEC;
		if (code == PLAIT_GO_SLOW || code == PLAIT_GO_OPEN)
			code = F(plait_slow)(skb, code == PLAIT_GO_OPEN);
		if (code == TC_ACT_UNSPEC || code < PLAIT_ANSWER_REQUEST)
			return code;
		if (code == PLAIT_ANSWER(PLAIT_ANSWER_RESET, 0))
			return F(plait_reset)(skb);
		if (code != PLAIT_SEND_PLAIN)
			return F(plait_answer)(skb, code);
		work = F(plait_work)();
		if (!work)
			return TC_ACT_SHOT;
		entry = &work->entry;
	}
	/* One pointer from here on, not one for each field and way that leads here. */
	asm volatile("" : "+r"(entry));
	return F(plait_send_plain)(skb, entry);
}

#include "plait_family_end.h"
