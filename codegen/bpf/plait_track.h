// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Connection tracking: states and idle times as Linux conntrack has them by default.
 *
 * Source: net/netfilter/nf_conntrack_proto_tcp.c, _udp.c, _icmp.c (states, timeouts), without the
 * window check. A packet in the middle of an unknown TCP connection picks it up (tcp_loose), for
 * the time of an unacknowledged one until it is answered.
 */
#pragma once
#include "plait.h"

enum plait_tcp_flag {
	PLAIT_TCP_FIN = 1 << 0,
	PLAIT_TCP_SYN = 1 << 1,
	PLAIT_TCP_RST = 1 << 2,
	PLAIT_TCP_ACK = 1 << 4,
};

#define PLAIT_TCP_CHANGES (PLAIT_TCP_FIN | PLAIT_TCP_SYN | PLAIT_TCP_RST)

/* clang-format off */

/* Idle seconds after which a flow in this state is forgotten. */
static const __u32 plait_timeouts[PLAIT_STATE_COUNT] = {
	[PLAIT_STATE_NONE] = 10,
	[PLAIT_STATE_SYN_SENT] = 120,
	[PLAIT_STATE_SYN_RECV] = 60,
	[PLAIT_STATE_ESTABLISHED] = 432000,
	[PLAIT_STATE_FIN_WAIT] = 120,
	[PLAIT_STATE_CLOSE_WAIT] = 60,
	[PLAIT_STATE_LAST_ACK] = 30,
	[PLAIT_STATE_TIME_WAIT] = 120,
	[PLAIT_STATE_CLOSE] = 10,
	[PLAIT_STATE_UDP_UNREPLIED] = 30,
	[PLAIT_STATE_UDP_STREAM] = 120,
	[PLAIT_STATE_ICMP] = 30,
	[PLAIT_STATE_PICKED_UP] = 300,
};

/* clang-format on */

/* True for the end of a connection that nobody knows: it makes no flow. */
static __always_inline bool plait_ends_unknown(const struct plait_pkt *pkt)
{
	return pkt->tcp_flags & (PLAIT_TCP_RST | PLAIT_TCP_FIN);
}

static __always_inline __u8 plait_first_state(const struct plait_pkt *pkt)
{
	switch (pkt->proto) {
	case IPPROTO_TCP:
		return pkt->tcp_flags & PLAIT_TCP_SYN ? PLAIT_STATE_SYN_SENT :
							PLAIT_STATE_PICKED_UP;
	case IPPROTO_UDP:
	case IPPROTO_SCTP: /* its endpoints look after their associations themselves */
		return PLAIT_STATE_UDP_UNREPLIED;
	default:
		return PLAIT_STATE_ICMP;
	}
}

/* True when no packet of this direction changes the state, unless its TCP flags say so. */
static __always_inline bool plait_settles(__u8 state, bool reply)
{
	switch (state) {
	case PLAIT_STATE_ESTABLISHED:
	case PLAIT_STATE_CLOSE_WAIT:
	case PLAIT_STATE_UDP_STREAM:
		return true;
	case PLAIT_STATE_UDP_UNREPLIED:
	case PLAIT_STATE_PICKED_UP:
		return !reply;
	default:
		return false;
	}
}

static __always_inline void plait_set_state(struct plait_flow *flow, __u8 state)
{
	flow->state = state;
	if (plait_settles(state, plait_is_reply(flow)))
		flow->flags |= PLAIT_FLOW_SETTLED;
	else
		flow->flags &= ~PLAIT_FLOW_SETTLED;
}

static __always_inline bool plait_has_ended(__u8 state)
{
	return state == PLAIT_STATE_TIME_WAIT || state == PLAIT_STATE_CLOSE ||
	       state == PLAIT_STATE_LAST_ACK;
}

/* A SYN on a connection that has ended begins a new one with the same ports. */
static __always_inline bool plait_reopens(const struct plait_pkt *pkt,
					  const struct plait_flow *flow)
{
	return pkt->proto == IPPROTO_TCP &&
	       (pkt->tcp_flags & (PLAIT_TCP_SYN | PLAIT_TCP_ACK)) == PLAIT_TCP_SYN &&
	       plait_has_ended(flow->state);
}

static __always_inline __u8 plait_tcp_next(const struct plait_pkt *pkt,
					   const struct plait_flow *flow,
					   const struct plait_flow *peer)
{
	bool reply = plait_is_reply(flow);
	__u8 flags = pkt->tcp_flags;

	if (flags & PLAIT_TCP_RST)
		return PLAIT_STATE_CLOSE;
	if (flags & PLAIT_TCP_FIN && !plait_has_ended(flow->state))
		return peer->flags & PLAIT_FLOW_FIN_SEEN ? PLAIT_STATE_LAST_ACK :
							   PLAIT_STATE_FIN_WAIT;
	if (!(flags & PLAIT_TCP_ACK))
		return flow->state;

	switch (flow->state) {
	case PLAIT_STATE_SYN_SENT:
		return reply ? PLAIT_STATE_SYN_RECV : PLAIT_STATE_SYN_SENT;
	case PLAIT_STATE_SYN_RECV:
		return reply ? PLAIT_STATE_SYN_RECV : PLAIT_STATE_ESTABLISHED;
	case PLAIT_STATE_FIN_WAIT:
		return flow->flags & PLAIT_FLOW_FIN_SEEN ? PLAIT_STATE_FIN_WAIT :
							   PLAIT_STATE_CLOSE_WAIT;
	case PLAIT_STATE_LAST_ACK:
		return PLAIT_STATE_TIME_WAIT;
	case PLAIT_STATE_PICKED_UP:
		return reply ? PLAIT_STATE_ESTABLISHED : PLAIT_STATE_PICKED_UP;
	case PLAIT_STATE_CLOSE:
		/* Who goes on has not sent the RST, of which no sequence number was looked at. */
		return flow->flags & PLAIT_FLOW_RST_SEEN && !(flags & PLAIT_TCP_CHANGES) ?
			       PLAIT_STATE_PICKED_UP :
			       PLAIT_STATE_CLOSE;
	default:
		return flow->state;
	}
}

/* Take the connection, both of its directions, on to the state after this packet. */
static __always_inline void plait_track(const struct plait_pkt *pkt, struct plait_flow *flow,
					struct plait_flow *peer)
{
	__u8 state = flow->state;

	if (pkt->proto == IPPROTO_TCP)
		state = plait_tcp_next(pkt, flow, peer);
	else if (state == PLAIT_STATE_UDP_UNREPLIED && plait_is_reply(flow))
		state = PLAIT_STATE_UDP_STREAM;

	if (pkt->tcp_flags & PLAIT_TCP_FIN)
		flow->flags |= PLAIT_FLOW_FIN_SEEN;
	if (pkt->tcp_flags & PLAIT_TCP_RST)
		flow->flags |= PLAIT_FLOW_RST_SEEN;
	if (state == flow->state)
		return;
	plait_set_state(flow, state);
	plait_set_state(peer, state);
}
