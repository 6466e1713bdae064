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

#include "plait_table.h"

/* A flow while it is decided. On the stack there is no room for it. */
struct F(plait_work) {
	struct F(plait_key) key;
	struct F(plait_key) peer_key;
	struct F(plait_entry) entry;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct F(plait_work));
} F(plait_draft) SEC(".maps");

/* What one hop less adds to a checksum over the header. */
#undef PLAIT_HOP_DIFF
#if PLAIT_FAMILY == 4
typedef struct iphdr F(plait_header);
#define PLAIT_HOP_DIFF bpf_htons(0xfeff) /* the high byte of its word */
#else
typedef struct ipv6hdr F(plait_header);
#define PLAIT_HOP_DIFF bpf_htons(0xfffe) /* the low byte of its word */
#endif

static __always_inline F(plait_ip) F(plait_source)(const F(plait_header) *ip)
{
	F(plait_ip) addr;

	__builtin_memcpy(&addr, &ip->saddr, sizeof(addr));
	return addr;
}

static __always_inline F(plait_ip) F(plait_dest)(const F(plait_header) *ip)
{
	F(plait_ip) addr;

	__builtin_memcpy(&addr, &ip->daddr, sizeof(addr));
	return addr;
}

/* True while nothing that the flow was decided from has changed. */
static __always_inline bool F(plait_current)(const struct plait_flow *flow)
{
	const struct plait_revisions *revs = plait_revisions();

	return revs && flow->stamp && flow->stamp == revs->all + revs->slot[flow->deps[0]] +
						revs->slot[flow->deps[1]] +
						revs->slot[flow->deps[2]];
}

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

static __always_inline bool F(plait_same_tuple)(const struct F(plait_tuple) *a,
						const struct F(plait_tuple) *b)
{
	return F(plait_same)(a->saddr, b->saddr) && F(plait_same)(a->daddr, b->daddr) &&
	       a->sport == b->sport && a->dport == b->dport;
}

/* ---- apply ---- */

#define PLAIT_AF_INET 2
#define PLAIT_AF_INET6 10

static __always_inline void F(plait_set_nexthop)(struct F(plait_entry) *entry,
						 const struct plait_addr *addr)
{
#if PLAIT_FAMILY == 4
	entry->via.nexthop = plait_narrow4(addr);
#else
	entry->via.nexthop = (struct plait_nexthop6){ PLAIT_AF_INET6, *addr };
#endif
}

static __always_inline int F(plait_to_nexthop)(struct F(plait_entry) *entry)
{
#if PLAIT_FAMILY == 4
	struct bpf_redir_neigh nexthop = { .nh_family = PLAIT_AF_INET,
					   .ipv4_nh = entry->via.nexthop };

	return bpf_redirect_neigh(entry->flow.oif, &nexthop, sizeof(nexthop), 0);
#else
	return bpf_redirect_neigh(entry->flow.oif, (void *)&entry->via.nexthop,
				  sizeof(struct bpf_redir_neigh), 0);
#endif
}

static __always_inline int F(plait_leave)(struct F(plait_entry) *entry)
{
	if (PLAIT_TO_POD || entry->flow.action == PLAIT_ACTION_PASS)
		return TC_ACT_UNSPEC;
	if (entry->flow.action == PLAIT_ACTION_PEER)
		return bpf_redirect_peer(entry->flow.oif, 0);
	if (entry->flow.action == PLAIT_ACTION_NEIGH)
		return F(plait_to_nexthop)(entry);
	return TC_ACT_SHOT;
}

/* A hop that this node takes as a router costs the packet one of its hops to live. */
static __always_inline bool F(plait_routes)(const struct F(plait_entry) *entry)
{
	return !PLAIT_TO_POD && entry->flow.action != PLAIT_ACTION_PASS;
}

static __always_inline void F(plait_count)(struct plait_flow *flow, struct __sk_buff *skb)
{
	flow->seen = bpf_jiffies64();
	flow->packets++;
	flow->bytes += skb->len;
}

static __always_inline bool F(plait_too_big)(struct __sk_buff *skb, __u32 header, __u32 mtu)
{
	if (plait_likely(skb->len <= mtu + ETH_HLEN))
		return false;
	return !skb->gso_size || skb->gso_size + header > mtu;
}

/* The whole packet path of a flow that is decided, settled, and has nothing unusual about it. */
static __always_inline int F(plait_fast)(struct __sk_buff *skb, bool *slow)
{
	void *end = (void *)(long)skb->data_end;
	struct ethhdr *eth = (void *)(long)skb->data;
	F(plait_header) *ip = (void *)(eth + 1);
	struct tcphdr *tcp = (void *)(ip + 1);
	struct udphdr *udp = (void *)(ip + 1);
	struct F(plait_entry) *entry;
	enum plait_ip_summed summed;
	struct F(plait_key) key;
	__u64 addresses, ports;
	__u32 header;
	__u8 proto;

	*slow = true;
	if ((void *)(udp + 1) > end)
		return 0;
#if PLAIT_FAMILY == 4
	if (*(__u8 *)ip != 0x45 || ip->ttl <= 1 ||
	    ip->frag_off & bpf_htons(PLAIT_IP_MF | PLAIT_IP_OFFSET))
		return 0;
	proto = ip->protocol;
#else
	if (ip->hop_limit <= 1)
		return 0;
	proto = ip->nexthdr;
#endif
	header = sizeof(*ip) + sizeof(*udp);
	if (proto == IPPROTO_TCP) {
		if ((void *)(tcp + 1) > end || ((__u8 *)tcp)[13] & PLAIT_TCP_CHANGES)
			return 0;
		header = sizeof(*ip) + tcp->doff * 4;
	} else if (proto != IPPROTO_UDP) {
		return 0;
	}

	key.saddr = F(plait_source)(ip);
	key.daddr = F(plait_dest)(ip);
	key.sport = udp->source;
	key.dport = udp->dest;
	key.zone_proto = PLAIT_ZONE_PROTO(plait_zone(skb), proto);
	entry = bpf_map_lookup_elem(&F(plait_flow), &key);
	if (!entry || !(entry->flow.flags & PLAIT_FLOW_SETTLED) ||
	    !F(plait_current)(&entry->flow) ||
	    F(plait_too_big)(skb, header, entry->flow.mtu))
		return 0;
	summed = plait_ip_summed(skb);
	if (summed == PLAIT_CSUM_UNKNOWN && entry->flow.flags & PLAIT_FLOW_REWRITE)
		return 0;
	*slow = false;
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
			return TC_ACT_SHOT;
		}
	}

	addresses = 0;
	if (entry->flow.flags & PLAIT_FLOW_REWRITE) {
		addresses = F(plait_diff)(key.saddr, entry->to.saddr) +
			    F(plait_diff)(key.daddr, entry->to.daddr);
		ports = plait_diff_word(key.sport, entry->to.sport) +
			plait_diff_word(key.dport, entry->to.dport);
		__builtin_memcpy(&ip->saddr, &entry->to.saddr, sizeof(entry->to.saddr));
		__builtin_memcpy(&ip->daddr, &entry->to.daddr, sizeof(entry->to.daddr));
		udp->source = entry->to.sport;
		udp->dest = entry->to.dport;
		if (proto == IPPROTO_TCP)
			plait_fix_transport(&tcp->check, false, addresses, ports, summed);
		else
			plait_fix_transport(&udp->check, true, addresses, ports, summed);
		/* In IPv4 the header's checksum makes up for the addresses, but the transport's
		 * does, too: once too often for the sum that a device took of the whole packet.
		 */
		if (PLAIT_FAMILY == 4 && summed == PLAIT_CSUM_COMPLETE)
			bpf_csum_update(skb, (__u16)~plait_fold(addresses));
	}
	F(plait_count)(&entry->flow, skb);

	if (F(plait_routes)(entry)) {
#if PLAIT_FAMILY == 4
		ip->ttl--;
		addresses += PLAIT_HOP_DIFF;
#else
		ip->hop_limit--;
		if (summed == PLAIT_CSUM_COMPLETE || summed == PLAIT_CSUM_UNKNOWN)
			bpf_csum_update(skb, PLAIT_HOP_DIFF);
#endif
		if (entry->flow.action == PLAIT_ACTION_PEER)
			__builtin_memcpy(eth, &entry->via.macs, sizeof(entry->via.macs));
	}
#if PLAIT_FAMILY == 4
	ip->check = plait_csum_adjust(ip->check, addresses);
#endif
	return F(plait_leave)(entry);
}

/* ---- decide ---- */

/* Run the stages on the draft: zeroed for a new flow, else a copy of the flow as it was. A revision
 * is read before the maps that it stands for, so a change in between is seen later.
 */
static __always_inline int F(plait_decide)(struct plait_pkt *pkt, struct F(plait_work) *work)
{
	const struct plait_revisions *revs = plait_revisions();
	const struct F(plait_key) *key = &work->key;
	struct F(plait_entry) *entry = &work->entry;
	struct plait_flow *flow = &entry->flow;
	struct F(plait_tuple) before;
	int verdict = PLAIT_NEXT;
	__u32 stamp;

	if (!revs)
		return PLAIT_SKIP;
	flow->deps[0] = plait_slot(&pkt->saddr);
	flow->deps[1] = plait_slot(&pkt->daddr);
	stamp = revs->all + revs->slot[flow->deps[0]] + revs->slot[flow->deps[1]];

	if (plait_is_reply(flow)) {
		pkt->saddr = F(plait_widen)(entry->to.saddr);
		pkt->daddr = F(plait_widen)(entry->to.daddr);
		pkt->sport = entry->to.sport;
		pkt->dport = entry->to.dport;
	} else {
		pkt->last_daddr = F(plait_widen)(entry->to.daddr);
		pkt->last_dport = entry->to.dport;
		verdict = plait_stages_service(pkt, flow, &entry->parts);
	}
	flow->deps[2] = plait_slot(plait_is_reply(flow) ? &pkt->saddr : &pkt->daddr);
	stamp += revs->slot[flow->deps[2]];

	if (verdict == PLAIT_NEXT && !plait_is_reply(flow))
		verdict = plait_stages_policy(pkt, flow, &entry->parts);
	if (verdict == PLAIT_NEXT)
		verdict = plait_stages_route(pkt, flow, &entry->parts);
	if (verdict == PLAIT_NEXT)
		verdict = plait_pass(pkt, flow);
	if (verdict != PLAIT_DONE)
		return verdict;
	if (PLAIT_TO_POD) {
		flow->action = PLAIT_ACTION_PASS;
		flow->oif = pkt->skb->ifindex;
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

/* The other direction's entry: its tuple is known, its way is decided by its first packet. */
static __always_inline int F(plait_make_peer)(struct F(plait_work) *work)
{
	const struct F(plait_key) *key = &work->key;
	struct F(plait_tuple) back = { key->daddr, key->saddr, key->dport, key->sport };
	struct plait_flow *flow = &work->entry.flow;
	struct F(plait_entry) *taken;

	work->peer_key = F(plait_peer_key)(&work->entry, (__u8)key->zone_proto);
	taken = bpf_map_lookup_elem(&F(plait_flow), &work->peer_key);
	if (taken && !plait_has_ended(taken->flow.state) &&
	    !F(plait_same_tuple)(&taken->to, &back))
		return -1;
	work->entry.to = back;
	flow->stamp = 0;
	flow->oif = key->zone_proto >> 8;
	flow->action = PLAIT_ACTION_NONE;
	flow->flags = PLAIT_FLOW_REPLY | (flow->flags & PLAIT_FLOW_REWRITE);
	flow->packets = 0;
	flow->bytes = 0;
	plait_set_state(flow, flow->state);
	return bpf_map_update_elem(&F(plait_flow), &work->peer_key, &work->entry, BPF_ANY);
}

static __always_inline struct F(plait_entry) *F(plait_find_peer)(struct F(plait_work) *work,
								 const struct F(plait_entry) *entry)
{
	work->peer_key = F(plait_peer_key)(entry, (__u8)work->key.zone_proto);
	return bpf_map_lookup_elem(&F(plait_flow), &work->peer_key);
}

static __always_inline void F(plait_forget_peer)(struct F(plait_work) *work,
						 const struct F(plait_entry) *entry)
{
	work->peer_key = F(plait_peer_key)(entry, (__u8)work->key.zone_proto);
	bpf_map_delete_elem(&F(plait_flow), &work->peer_key);
}

/* A new flow: decide, then make the entries of both directions. */
static __always_inline int F(plait_open)(struct plait_pkt *pkt, struct F(plait_work) *work)
{
	struct plait_flow *flow = &work->entry.flow;
	int verdict;

	if (!plait_owns(pkt))
		return PLAIT_SKIP;
	__builtin_memset(&work->entry, 0, sizeof(work->entry));
	verdict = F(plait_decide)(pkt, work);
	if (verdict != PLAIT_DONE)
		return verdict;

	flow->seen = bpf_jiffies64();
	plait_set_state(flow, plait_first_state(pkt));
	if (bpf_map_update_elem(&F(plait_flow), &work->key, &work->entry, BPF_ANY))
		return plait_drop(pkt, PLAIT_FLOW_TABLE_FULL);
	if (F(plait_make_peer)(work)) {
		bpf_map_delete_elem(&F(plait_flow), &work->key);
		return plait_drop(pkt, PLAIT_FLOW_CLASH);
	}
	return PLAIT_DONE;
}

/* A flow that was decided from something that changed. It keeps its state, and what the
 * fragments want to keep; the entry stays invalid while it is half written.
 */
static __always_inline int F(plait_renew)(struct plait_pkt *pkt, struct F(plait_work) *work,
					  struct F(plait_entry) *entry)
{
	const struct plait_flow *drafted = &work->entry.flow;
	struct plait_flow *flow = &entry->flow;
	bool moved;
	int verdict;

	work->entry = *entry;
	pkt->known = true;
	verdict = F(plait_decide)(pkt, work);
	if (verdict != PLAIT_DONE)
		return verdict;

	moved = !plait_is_reply(flow) &&
		(!F(plait_same_tuple)(&work->entry.to, &entry->to) ||
		 drafted->action != flow->action || drafted->oif != flow->oif);
	if (moved)
		F(plait_forget_peer)(work, entry);
	WRITE_ONCE(flow->stamp, 0);
	entry->to = work->entry.to;
	entry->via = work->entry.via;
	entry->parts = work->entry.parts;
	flow->deps[0] = drafted->deps[0];
	flow->deps[1] = drafted->deps[1];
	flow->deps[2] = drafted->deps[2];
	flow->action = drafted->action;
	flow->flags = drafted->flags;
	flow->mtu = drafted->mtu;
	flow->oif = drafted->oif;
	WRITE_ONCE(flow->stamp, drafted->stamp);
	if (moved && F(plait_make_peer)(work))
		return plait_drop(pkt, PLAIT_FLOW_CLASH);
	return PLAIT_DONE;
}

/* ---- everything but the plain packet of a decided flow ---- */

static __always_inline __s64 F(plait_diff_of)(const F(plait_ip) *from, const F(plait_ip) *to,
					      __s64 seed)
{
	return bpf_csum_diff((__be32 *)from, sizeof(*from), (__be32 *)to, sizeof(*to), seed);
}

/* Rewrite by helpers, which know every kind of checksum and work at any offset. */
static __always_inline int F(plait_rewrite)(const struct plait_pkt *pkt,
					    const struct F(plait_key) *key,
					    const struct F(plait_entry) *entry)
{
	const __u32 at = ETH_HLEN + offsetof(F(plait_header), saddr);
	const struct F(plait_tuple) *to = &entry->to;
	__u32 old_ports = (__u32)key->dport << 16 | key->sport;
	__u32 new_ports = (__u32)to->dport << 16 | to->sport;
	__u32 check = plait_transport_check(pkt);
	__u64 mangled = pkt->proto == IPPROTO_UDP ? BPF_F_MARK_MANGLED_0 : 0;
	__s64 diff = F(plait_diff_of)(&key->saddr, &to->saddr, 0);

	diff = F(plait_diff_of)(&key->daddr, &to->daddr, diff);
	if (bpf_skb_store_bytes(pkt->skb, at, &to->saddr, 2 * sizeof(to->saddr), 0))
		return -1;
	if (PLAIT_FAMILY == 4 &&
	    bpf_l3_csum_replace(pkt->skb, ETH_HLEN + offsetof(struct iphdr, check), 0, diff, 0))
		return -1;
	if (pkt->kind == PLAIT_PACKET_FRAGMENT)
		return 0;
	if (bpf_l4_csum_replace(pkt->skb, check, 0, diff, BPF_F_PSEUDO_HDR | mangled) ||
	    bpf_l4_csum_replace(pkt->skb, check, old_ports, new_ports, 4 | mangled))
		return -1;
	return bpf_skb_store_bytes(pkt->skb, pkt->l4, &new_ports, sizeof(new_ports), 0);
}

/* The packet that an ICMP error quotes is put back as its sender knows it. Its own transport
 * checksum stays as it was: receivers do not look at it.
 */
static __always_inline int F(plait_rewrite_quoted)(const struct plait_pkt *pkt,
						   const struct F(plait_key) *key,
						   const struct F(plait_entry) *entry)
{
	const __u32 inner = pkt->l4 + sizeof(struct plait_icmp);
	const __u32 check = pkt->l4 + offsetof(struct plait_icmp, check);
	const struct F(plait_tuple) *to = &entry->to;
	__u32 old_ports = (__u32)key->sport << 16 | key->dport;
	__u32 new_ports = (__u32)to->sport << 16 | to->dport;
	__s64 diff = F(plait_diff_of)(&key->daddr, &to->daddr, 0);

	diff = F(plait_diff_of)(&key->saddr, &to->saddr, diff);
	if (bpf_skb_store_bytes(pkt->skb, inner + offsetof(F(plait_header), saddr), &to->daddr,
				sizeof(to->daddr), 0) ||
	    bpf_skb_store_bytes(pkt->skb, inner + offsetof(F(plait_header), daddr), &to->saddr,
				sizeof(to->saddr), 0))
		return -1;
	if (PLAIT_FAMILY == 4) {
		/* The quoted header's own checksum makes up for the addresses. */
		if (bpf_l3_csum_replace(pkt->skb, inner + offsetof(struct iphdr, check), 0, diff,
					0))
			return -1;
	} else if (bpf_l4_csum_replace(pkt->skb, check, 0, diff, 0)) {
		return -1;
	}
	if (bpf_skb_store_bytes(pkt->skb, inner + sizeof(F(plait_header)), &new_ports,
				sizeof(new_ports), 0))
		return -1;
	return bpf_l4_csum_replace(pkt->skb, check, old_ports, new_ports, sizeof(new_ports));
}

/* An ICMP error about a flow: it comes from the service when it came from the backend. */
static __always_inline int F(plait_rewrite_error)(const struct plait_pkt *pkt,
						  const struct F(plait_key) *key,
						  const struct F(plait_entry) *entry)
{
	const struct F(plait_tuple) *to = &entry->to;
	__s64 diff = F(plait_diff_of)(&key->daddr, &to->daddr, 0);

	if (F(plait_rewrite_quoted)(pkt, key, entry) ||
	    bpf_skb_store_bytes(pkt->skb, ETH_HLEN + offsetof(F(plait_header), daddr), &to->daddr,
				sizeof(to->daddr), 0))
		return -1;
	if (pkt->from_far_end) {
		diff = F(plait_diff_of)(&key->saddr, &to->saddr, diff);
		if (bpf_skb_store_bytes(pkt->skb, ETH_HLEN + offsetof(F(plait_header), saddr),
					&to->saddr, sizeof(to->saddr), 0))
			return -1;
	}
	if (PLAIT_FAMILY == 4)
		return bpf_l3_csum_replace(pkt->skb, ETH_HLEN + offsetof(struct iphdr, check), 0,
					   diff, 0);
	return bpf_l4_csum_replace(pkt->skb, pkt->l4 + offsetof(struct plait_icmp, check), 0, diff,
				   BPF_F_PSEUDO_HDR);
}

/* One hop less to live; the caller has seen that there is one left. */
static __always_inline int F(plait_age)(struct __sk_buff *skb)
{
#if PLAIT_FAMILY == 4
	const __u32 at = ETH_HLEN + offsetof(struct iphdr, ttl);
	__be16 from, to;

	if (bpf_skb_load_bytes(skb, at, &from, sizeof(from)))
		return -1;
	to = from - bpf_htons(0x0100);
	if (bpf_l3_csum_replace(skb, ETH_HLEN + offsetof(struct iphdr, check), from, to, 2))
		return -1;
	return bpf_skb_store_bytes(skb, at, &to, sizeof(to), 0);
#else
	const __u32 at = ETH_HLEN + offsetof(struct ipv6hdr, hop_limit);
	__u8 hops;

	if (bpf_skb_load_bytes(skb, at, &hops, sizeof(hops)))
		return -1;
	hops--;
	return bpf_skb_store_bytes(skb, at, &hops, sizeof(hops), BPF_F_RECOMPUTE_CSUM);
#endif
}

static __always_inline __u8 F(plait_hops)(struct __sk_buff *skb)
{
	F(plait_header) *ip = plait_at(skb, ETH_HLEN, sizeof(*ip));

	if (!ip)
		return 0;
#if PLAIT_FAMILY == 4
	return ip->ttl;
#else
	return ip->hop_limit;
#endif
}

/* True when the packet may be cut on its way: then the host's stack does it. */
static __always_inline bool F(plait_may_fragment)(struct __sk_buff *skb)
{
#if PLAIT_FAMILY == 4
	struct iphdr *ip = plait_at(skb, ETH_HLEN, sizeof(*ip));

	return ip && !(ip->frag_off & bpf_htons(PLAIT_IP_DF));
#else
	(void)skb;
	return false;
#endif
}

static __always_inline int F(plait_apply)(struct plait_pkt *pkt, const struct F(plait_key) *key,
					  struct F(plait_entry) *entry)
{
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

	F(plait_count)(&entry->flow, pkt->skb);
	if (entry->flow.flags & PLAIT_FLOW_REWRITE &&
	    (pkt->kind == PLAIT_PACKET_ICMP_ERROR ? F(plait_rewrite_error)(pkt, key, entry) :
						    F(plait_rewrite)(pkt, key, entry)))
		return TC_ACT_SHOT;
	if (!routes)
		return TC_ACT_UNSPEC;
	if (F(plait_age)(pkt->skb))
		return TC_ACT_SHOT;
	if (entry->flow.action == PLAIT_ACTION_PEER &&
	    bpf_skb_store_bytes(pkt->skb, 0, &entry->via.macs, sizeof(entry->via.macs), 0))
		return TC_ACT_SHOT;
	return F(plait_leave)(entry);
}

static __always_inline int F(plait_refuse)(const struct plait_pkt *pkt, int verdict)
{
	if (verdict == PLAIT_SKIP)
		return TC_ACT_UNSPEC;
	plait_count_drop(pkt->reason);
	if (verdict == PLAIT_REJECT && pkt->kind == PLAIT_PACKET_PLAIN)
		return PLAIT_ANSWER(pkt->no_route ? PLAIT_ANSWER_HOST_UNREACHABLE :
						    PLAIT_ANSWER_PORT_UNREACHABLE, 0);
	return TC_ACT_SHOT;
}

static __noinline int F(plait_slow)(struct __sk_buff *skb)
{
	struct plait_pkt pkt = { .skb = skb, .family = PLAIT_FAMILY, .zone = plait_zone(skb) };
	struct F(plait_entry) *entry, *peer;
	struct F(plait_work) *work;
	__u32 zero = 0;
	int verdict;

	work = bpf_map_lookup_elem(&F(plait_draft), &zero);
	if (!work || bpf_skb_pull_data(skb, skb->len < PLAIT_LINEAR ? skb->len : PLAIT_LINEAR))
		return TC_ACT_UNSPEC;
	verdict = F(plait_parse)(&pkt);
	if (verdict == PLAIT_NEXT)
		verdict = plait_stages_admit(&pkt);
	if (verdict != PLAIT_NEXT)
		return F(plait_refuse)(&pkt, verdict);

	work->key = F(plait_key_of)(&pkt);
	entry = bpf_map_lookup_elem(&F(plait_flow), &work->key);
	if (entry && pkt.kind == PLAIT_PACKET_PLAIN && plait_reopens(&pkt, &entry->flow)) {
		F(plait_forget_peer)(work, entry);
		entry = NULL;
	}
	if (entry) {
		verdict = F(plait_current)(&entry->flow) ? PLAIT_DONE :
							   F(plait_renew)(&pkt, work, entry);
	} else if (pkt.kind == PLAIT_PACKET_ICMP_ERROR) {
		verdict = PLAIT_SKIP;
	} else {
		verdict = F(plait_open)(&pkt, work);
		entry = bpf_map_lookup_elem(&F(plait_flow), &work->key);
	}
	if (verdict != PLAIT_DONE)
		return F(plait_refuse)(&pkt, verdict);
	if (!entry)
		return TC_ACT_SHOT;

	if (pkt.kind == PLAIT_PACKET_PLAIN && (!(entry->flow.flags & PLAIT_FLOW_SETTLED) ||
					       pkt.tcp_flags & PLAIT_TCP_CHANGES)) {
		peer = F(plait_find_peer)(work, entry);
		if (peer)
			plait_track(&pkt, &entry->flow, &peer->flow);
	}
	return F(plait_apply)(&pkt, &work->key, entry);
}

/* A packet of this family: the program's whole work. */
static __always_inline int F(plait_run)(struct __sk_buff *skb)
{
	bool slow;
	int code = F(plait_fast)(skb, &slow);

	if (plait_likely(!slow))
		return code;
	code = F(plait_slow)(skb);
	if (code != TC_ACT_UNSPEC && code & PLAIT_ANSWER_REQUEST)
		return F(plait_answer)(skb, code);
	return code;
}

#include "plait_family_end.h"
