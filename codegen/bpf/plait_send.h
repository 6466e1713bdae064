// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Sending a packet of a decided flow, one family's part: what the fast path does, and what the slow
 * path does by helpers for packets that are not plain. Included by plait_engine.h.
 */

/* What one hop less adds to a checksum over the header. PLAIT_RECOMPUTE: whether the sum that a
 * device took of the whole packet must follow when addresses change: in IPv4 the header's checksum
 * makes up for them, in IPv6 bpf_l4_csum_replace() only thinks so.
 */
#undef PLAIT_HOP_DIFF
#undef PLAIT_RECOMPUTE
#if PLAIT_FAMILY == 4
typedef struct iphdr F(plait_header);
#define PLAIT_HOP_DIFF bpf_htons(0xfeff) /* the high byte of its word */
#define PLAIT_RECOMPUTE 0
#else
typedef struct ipv6hdr F(plait_header);
#define PLAIT_HOP_DIFF bpf_htons(0xfffe) /* the low byte of its word */
#define PLAIT_RECOMPUTE BPF_F_RECOMPUTE_CSUM
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

static __always_inline __u8 F(plait_proto)(const F(plait_header) *ip)
{
#if PLAIT_FAMILY == 4
	return ip->protocol;
#else
	return ip->nexthdr;
#endif
}

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
	if (!PLAIT_FORWARDS || entry->flow.action == PLAIT_ACTION_PASS)
		return TC_ACT_UNSPEC;
	if (entry->flow.action == PLAIT_ACTION_PEER)
		return bpf_redirect_peer(entry->flow.oif, 0);
	if (entry->flow.action == PLAIT_ACTION_NEIGH)
		return F(plait_to_nexthop)(entry);
	if (entry->flow.action == PLAIT_ACTION_DEVICE)
		return bpf_redirect(entry->flow.oif, 0);
	return TC_ACT_SHOT;
}

/* A hop that this node takes as a router costs the packet one of its hops to live. */
static __always_inline bool F(plait_routes)(const struct F(plait_entry) *entry)
{
	return PLAIT_FORWARDS && entry->flow.action != PLAIT_ACTION_PASS;
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

/* Rewrite a plain packet in place, and send it on its way. */
static __always_inline int F(plait_send_plain)(struct __sk_buff *skb, struct F(plait_entry) *entry)
{
	enum plait_ip_summed summed = plait_ip_summed(skb);
	void *end = (void *)(long)skb->data_end;
	struct ethhdr *eth = (void *)(long)skb->data;
	F(plait_header) *ip = (void *)(eth + 1);
	struct tcphdr *tcp = (void *)(ip + 1);
	struct udphdr *udp = (void *)(ip + 1);
	__u64 addresses = 0, ports;

	if ((void *)(udp + 1) > end)
		return TC_ACT_SHOT;

	if (entry->flow.flags & PLAIT_FLOW_REWRITE) {
		addresses = F(plait_replace)(0, (void *)&ip->saddr, &entry->to.saddr);
		addresses = F(plait_replace)(addresses, (void *)&ip->daddr, &entry->to.daddr);
		ports = plait_replace_port(0, &udp->source, entry->to.sport);
		ports = plait_replace_port(ports, &udp->dest, entry->to.dport);
		/* Checked here, and not above for TCP only: Linux 6.1 would have forgotten it, "R7
		 * offset is outside of the packet".
		 */
		if (F(plait_proto)(ip) == IPPROTO_UDP)
			plait_fix_transport(&udp->check, true, addresses, ports, summed);
		else if ((void *)(tcp + 1) <= end)
			plait_fix_transport(&tcp->check, false, addresses, ports, summed);
		else
			return TC_ACT_SHOT;
		/* In IPv4 the header's checksum makes up for the addresses, but the transport's
		 * does, too: once too often for the sum that a device took of the whole packet.
		 */
		if (PLAIT_FAMILY == 4 && summed == PLAIT_CSUM_COMPLETE)
			bpf_csum_update(skb, (__u16)~plait_fold(addresses));
	}

	if (F(plait_routes)(entry)) {
#if PLAIT_FAMILY == 4
		ip->ttl--;
		addresses += PLAIT_HOP_DIFF;
#else
		ip->hop_limit--;
		if (summed == PLAIT_CSUM_COMPLETE || summed == PLAIT_CSUM_UNKNOWN)
			bpf_csum_update(skb, PLAIT_HOP_DIFF);
#endif
		if (entry->flow.action != PLAIT_ACTION_NEIGH)
			__builtin_memcpy(eth, &entry->via.macs, sizeof(entry->via.macs));
	}
#if PLAIT_FAMILY == 4
	ip->check = plait_csum_adjust(ip->check, addresses);
#endif
	return F(plait_leave)(entry);
}

static __always_inline __s64 F(plait_diff_of)(const F(plait_ip) *from, const F(plait_ip) *to,
					      __s64 seed)
{
	return bpf_csum_diff((__be32 *)from, sizeof(*from), (__be32 *)to, sizeof(*to), seed);
}

/* Rewrite by helpers, which know every kind of checksum and work at any offset. */
static __always_inline int F(plait_rewrite)(plait_ctx *ctx, const struct plait_pkt *pkt,
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
	if (bpf_skb_store_bytes(ctx, at, &to->saddr, 2 * sizeof(to->saddr), PLAIT_RECOMPUTE))
		return -1;
	if (PLAIT_FAMILY == 4 &&
	    bpf_l3_csum_replace(ctx, ETH_HLEN + offsetof(struct iphdr, check), 0, diff, 0))
		return -1;
	if (pkt->kind == PLAIT_PACKET_FRAGMENT || pkt->proto == IPPROTO_SCTP)
		return 0;
	if (bpf_l4_csum_replace(ctx, check, 0, diff, BPF_F_PSEUDO_HDR | mangled) ||
	    bpf_l4_csum_replace(ctx, check, old_ports, new_ports, 4 | mangled))
		return -1;
	return bpf_skb_store_bytes(ctx, pkt->l4, &new_ports, sizeof(new_ports), 0);
}

/* The packet that an ICMP error quotes is put back as its sender knows it. Its own transport
 * checksum stays as it was: receivers do not look at it.
 */
static __always_inline int F(plait_rewrite_quoted)(plait_ctx *ctx, const struct plait_pkt *pkt,
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
	if (bpf_skb_store_bytes(ctx, inner + offsetof(F(plait_header), saddr), &to->daddr,
				sizeof(to->daddr), 0) ||
	    bpf_skb_store_bytes(ctx, inner + offsetof(F(plait_header), daddr), &to->saddr,
				sizeof(to->saddr), 0))
		return -1;
	if (PLAIT_FAMILY == 4) {
		/* The quoted header's own checksum makes up for the addresses. */
		if (bpf_l3_csum_replace(ctx, inner + offsetof(struct iphdr, check), 0, diff, 0))
			return -1;
	} else if (bpf_l4_csum_replace(ctx, check, 0, diff, 0)) {
		return -1;
	}
	if (bpf_skb_store_bytes(ctx, pkt->quoted_l4, &new_ports, sizeof(new_ports), 0))
		return -1;
	return bpf_l4_csum_replace(ctx, check, old_ports, new_ports, sizeof(new_ports));
}

/* An ICMP error about a flow: it comes from the service when it came from the backend. */
static __always_inline int F(plait_rewrite_error)(plait_ctx *ctx, const struct plait_pkt *pkt,
						  const struct F(plait_key) *key,
						  const struct F(plait_entry) *entry)
{
	const struct F(plait_tuple) *to = &entry->to;
	__s64 diff = F(plait_diff_of)(&key->daddr, &to->daddr, 0);

	if (F(plait_rewrite_quoted)(ctx, pkt, key, entry) ||
	    bpf_skb_store_bytes(ctx, ETH_HLEN + offsetof(F(plait_header), daddr), &to->daddr,
				sizeof(to->daddr), PLAIT_RECOMPUTE))
		return -1;
	if (pkt->from_far_end) {
		diff = F(plait_diff_of)(&key->saddr, &to->saddr, diff);
		if (bpf_skb_store_bytes(ctx, ETH_HLEN + offsetof(F(plait_header), saddr),
					&to->saddr, sizeof(to->saddr), PLAIT_RECOMPUTE))
			return -1;
	}
	if (PLAIT_FAMILY == 4)
		return bpf_l3_csum_replace(ctx, ETH_HLEN + offsetof(struct iphdr, check), 0, diff,
					   0);
	return bpf_l4_csum_replace(ctx, pkt->l4 + offsetof(struct plait_icmp, check), 0, diff,
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
	return false;
#endif
}

/* Send any packet, by helpers. */
static __always_inline int F(plait_send)(plait_ctx *ctx, const struct plait_pkt *pkt, bool routes,
					 const struct F(plait_key) *key,
					 struct F(plait_entry) *entry)
{
	if (entry->flow.flags & PLAIT_FLOW_REWRITE &&
	    (pkt->kind == PLAIT_PACKET_ICMP_ERROR ? F(plait_rewrite_error)(ctx, pkt, key, entry) :
						    F(plait_rewrite)(ctx, pkt, key, entry)))
		return TC_ACT_SHOT;
	if (!routes)
		return TC_ACT_UNSPEC;
	if (F(plait_age)(ctx))
		return TC_ACT_SHOT;
	if (entry->flow.action != PLAIT_ACTION_NEIGH &&
	    bpf_skb_store_bytes(ctx, 0, &entry->via.macs, sizeof(entry->via.macs), 0))
		return TC_ACT_SHOT;
	return F(plait_leave)(entry);
}
