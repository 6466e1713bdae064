// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Load balancing: a flow to a service's address goes to one of its backends, and stays there.
 *
 * Stage: service   Maps: see lb_tables.h   Flow part: lb_flow
 */
#pragma once
#include "plait.h"
#include "plait_track.h"
#include "lb_choose.h"
#include "lb_flow.h"

PLAIT_DROP_REASON(LB_NO_BACKEND);
PLAIT_DROP_REASON(LB_NO_LOCAL_BACKEND);
PLAIT_DROP_REASON(LB_BACKEND_GONE);
PLAIT_DROP_REASON(LB_NO_SUCH_PORT);
PLAIT_DROP_REASON(LB_CLIENT_REFUSED);

/* A client's port and the pool that it asks as a number: whichever of its addresses is asked, and
 * of whichever node.
 */
static __always_inline __u32 lb_fold(const struct plait_pkt *pkt, const struct lb_service *service)
{
	__u32 from = pkt->saddr.w[0] ^ pkt->saddr.w[1] * 3 ^ pkt->saddr.w[2] * 5 ^ pkt->saddr.w[3];

	return (from ^ (__u32)service->id) + pkt->sport * 0x9e3779b1u;
}

/* The flow's backend is none of its service any more, or its service is gone. */
static __always_inline int lb_lost(struct plait_pkt *pkt)
{
	return lb_reset && pkt->proto == IPPROTO_TCP ? plait_reject(pkt, LB_BACKEND_GONE) :
						       PLAIT_NEXT;
}

static __always_inline int lb_ask_service(struct plait_pkt *pkt, const struct lb_service *service,
					  struct lb_ask *ask)
{
	ask->client = pkt->saddr;
	ask->hash = lb_fold(pkt, service);
	if (!ask->balanced && !lb_serves_client(service, &pkt->saddr))
		return plait_drop(pkt, LB_CLIENT_REFUSED);
	switch (lb_choose(service, ask)) {
	case LB_CHOSE:
	case LB_KEPT:
		return PLAIT_NEXT;
	case LB_GONE:
		if (pkt->proto == IPPROTO_TCP && !(pkt->tcp_flags & PLAIT_TCP_SYN))
			return lb_lost(pkt);
		ask->balanced = false;
		if (lb_choose(service, ask) == LB_CHOSE)
			return PLAIT_NEXT;
	}
	return service->flags & LB_ELSEWHERE ? plait_drop(pkt, LB_NO_LOCAL_BACKEND) :
					       plait_reject(pkt, LB_NO_BACKEND);
}

/* No service is asked. */
static __always_inline int lb_leave(struct plait_pkt *pkt, enum lb_owner owner)
{
	if (owner == LB_SERVICE && lb_refuse)
		return plait_reject(pkt, LB_NO_SUCH_PORT);
	if (owner == LB_NODE) /* should a service get this port */
		pkt->third = lb_unspecified(&pkt->daddr);
	return PLAIT_NEXT;
}

/* `outside`: the flow comes from another machine. */
static __always_inline int lb_balance(struct plait_pkt *pkt, struct lb_flow *part, bool outside)
{
	struct lb_ask ask = {
		.balanced = pkt->known && part->service, /* whatever it was called then */
		.backend = { .addr = pkt->last_daddr, .port = pkt->last_dport },
	};
	const struct plait_addr asked = pkt->daddr;
	enum lb_owner owner = LB_SOMEBODY;
	const struct lb_service *service;
	int verdict;

	service = lb_find(&asked, pkt->dport, pkt->proto, outside, &owner);
	if (service)
		verdict = lb_ask_service(pkt, service, &ask);
	else if (ask.balanced)
		verdict = lb_lost(pkt);
	else
		return lb_leave(pkt, owner);
	if (verdict != PLAIT_NEXT)
		return verdict;

	if (service)
		part->service = service->id;
	pkt->daddr = ask.backend.addr;
	pkt->dport = ask.backend.port;
	/* Who is balanced to itself must not see its own address: it hears from the service. */
	if (plait_addr_same(&pkt->daddr, &pkt->saddr))
		pkt->saddr = asked;
	return PLAIT_NEXT;
}

static __always_inline int lb_from_pod(plait_ctx *ctx, struct plait_pkt *pkt,
				       struct plait_flow *flow, struct lb_flow *part)
{
	return lb_balance(pkt, part, false);
}

/* A backend on another node must answer by way of this one. */
static __always_inline int lb_from_wire(plait_ctx *ctx, struct plait_pkt *pkt,
					struct plait_flow *flow, struct lb_flow *part)
{
	const struct plait_addr asked = pkt->daddr;
	int verdict = lb_balance(pkt, part, true);

	if (verdict == PLAIT_NEXT && !plait_addr_same(&pkt->daddr, &asked) &&
	    !plait_endpoint(&pkt->daddr) && !plait_is_local(&pkt->daddr))
		plait_masquerade(pkt);
	return verdict;
}
