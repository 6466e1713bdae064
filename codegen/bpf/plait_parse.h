// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Parsing with nothing left out: options, extension headers, fragments, ICMP errors.
 *
 * The fast path reads the plain case by itself; everything else comes here. On return the packet's
 * tuple is in pkt: for an ICMP error the tuple of the flow that the error is about, seen from
 * the error's direction, so that it meets the entry which translates it.
 */
#pragma once
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include "plait_track.h"

#define PLAIT_IP_MF 0x2000
#define PLAIT_IP_DF 0x4000
#define PLAIT_IP_OFFSET 0x1fff
#define PLAIT_IP6_MF 0x1
#define PLAIT_IP6_OFFSET 0xfff8

#define PLAIT_LINEAR 256 /* bytes of headers that parsing may need */
#define PLAIT_EXTENSIONS 6 /* IPv6 extension headers that are followed */
#define PLAIT_HEADERS_MAX 200 /* bytes up to the transport header; longer chains are not ours */

/* ICMP types and codes (RFC 792, RFC 4443); the kernel's header of them needs a C library. */
enum plait_icmp_type {
	ICMP_ECHOREPLY = 0,
	ICMP_DEST_UNREACH = 3,
	ICMP_ECHO = 8,
	ICMP_TIME_EXCEEDED = 11,
	ICMP_PARAMETERPROB = 12,
	ICMPV6_DEST_UNREACH = 1,
	ICMPV6_PKT_TOOBIG = 2,
	ICMPV6_TIME_EXCEED = 3,
	ICMPV6_PARAMPROB = 4,
	ICMPV6_ECHO_REQUEST = 128,
	ICMPV6_ECHO_REPLY = 129,
};

enum plait_icmp_code {
	ICMP_HOST_UNREACH = 1,
	ICMP_PORT_UNREACH = 3,
	ICMP_FRAG_NEEDED = 4,
	ICMPV6_ADDR_UNREACH = 3,
	ICMPV6_PORT_UNREACH = 4,
};

struct plait_icmp {
	__u8 type;
	__u8 code;
	__u16 check;
	union {
		__be16 id; /* of an echo */
		__be32 info; /* the MTU, in "too big" */
	};
};

struct plait_ports {
	__be16 source;
	__be16 dest;
};

struct plait_frag_header {
	__u8 nexthdr;
	__u8 reserved;
	__be16 offset;
	__be32 id;
};

struct plait_extension {
	__u8 nexthdr;
	__u8 length; /* in units of 8 bytes, without the first */
};

static __always_inline void *plait_at(plait_ctx *ctx, __u32 offset, __u32 size)
{
	void *start = (void *)(long)ctx->data + offset;

	return start + size > (void *)(long)ctx->data_end ? NULL : start;
}

/* Make sure that all headers can be read directly. */
static __always_inline long plait_pull(plait_ctx *ctx)
{
	__u32 wanted = ctx->len < PLAIT_LINEAR ? ctx->len : PLAIT_LINEAR;

	if ((long)ctx->data_end - (long)ctx->data >= wanted)
		return 0;
	return bpf_skb_pull_data(ctx, wanted);
}

static __always_inline bool plait_is_icmp(const struct plait_pkt *pkt)
{
	return pkt->proto == (pkt->family == 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6);
}

/* True for what is sent on with the ports that it comes with: an echo has none, and SCTP's checksum
 * covers them by a sum that is taken of the whole packet, while it knows nothing of addresses.
 */
static __always_inline bool plait_keeps_ports(const struct plait_pkt *pkt)
{
	return plait_is_icmp(pkt) || pkt->proto == IPPROTO_SCTP;
}

static __always_inline bool plait_is_icmp_error(__u8 family, __u8 type)
{
	if (family == 4)
		return type == ICMP_DEST_UNREACH || type == ICMP_TIME_EXCEEDED ||
		       type == ICMP_PARAMETERPROB;
	return type == ICMPV6_DEST_UNREACH || type == ICMPV6_PKT_TOOBIG ||
	       type == ICMPV6_TIME_EXCEED || type == ICMPV6_PARAMPROB;
}

static __always_inline bool plait_is_echo(__u8 family, __u8 type)
{
	if (family == 4)
		return type == ICMP_ECHO || type == ICMP_ECHOREPLY;
	return type == ICMPV6_ECHO_REQUEST || type == ICMPV6_ECHO_REPLY;
}

/* The packet inside an ICMP error, turned around: the flow that goes back to its sender. */
static __always_inline int plait_parse_quoted(plait_ctx *ctx, struct plait_pkt *pkt)
{
	__u32 l4, inner = pkt->l4 + sizeof(struct plait_icmp);
	struct plait_addr saddr, daddr;
	struct plait_ports ports;
	__u8 proto;

	if (pkt->family == 4) {
		struct iphdr *ip = plait_at(ctx, inner, sizeof(*ip));

		if (!ip || ip->ihl < 5 || ip->frag_off & bpf_htons(PLAIT_IP_OFFSET))
			return PLAIT_SKIP;
		l4 = inner + ip->ihl * 4;
		proto = ip->protocol;
		saddr = plait_widen4(ip->daddr);
		daddr = plait_widen4(ip->saddr);
	} else {
		struct ipv6hdr *ip = plait_at(ctx, inner, sizeof(*ip));

		if (!ip)
			return PLAIT_SKIP;
		l4 = inner + sizeof(*ip);
		proto = ip->nexthdr;
		__builtin_memcpy(&saddr, &ip->daddr, 16);
		__builtin_memcpy(&daddr, &ip->saddr, 16);
		if (proto == IPPROTO_FRAGMENT) {
			struct plait_frag_header *frag = plait_at(ctx, l4, sizeof(*frag));

			if (!frag || frag->offset & bpf_htons(PLAIT_IP6_OFFSET))
				return PLAIT_SKIP;
			l4 += sizeof(*frag);
			proto = frag->nexthdr;
		}
	}

	if (!plait_addr_same(&pkt->daddr, &daddr))
		return PLAIT_SKIP;
	if (proto == pkt->proto) { /* ICMP about an echo */
		struct plait_icmp *echo = plait_at(ctx, l4, sizeof(*echo));

		if (!echo || !plait_is_echo(pkt->family, echo->type))
			return PLAIT_SKIP;
		ports = (struct plait_ports){ echo->id, echo->id };
	} else if (proto == IPPROTO_TCP || proto == IPPROTO_UDP || proto == IPPROTO_SCTP) {
		struct plait_ports *quoted = plait_at(ctx, l4, sizeof(*quoted));

		if (!quoted)
			return PLAIT_SKIP;
		ports = *quoted;
	} else {
		return PLAIT_SKIP;
	}

	pkt->quoted_l4 = l4;
	pkt->from_far_end = plait_addr_same(&pkt->saddr, &saddr);
	pkt->kind = PLAIT_PACKET_ICMP_ERROR;
	pkt->proto = proto;
	pkt->saddr = saddr;
	pkt->daddr = daddr;
	pkt->sport = ports.dest;
	pkt->dport = ports.source;
	return PLAIT_NEXT;
}

static __always_inline int plait_parse_transport(plait_ctx *ctx, struct plait_pkt *pkt)
{
	if (pkt->l4 > PLAIT_HEADERS_MAX)
		return PLAIT_SKIP;
	pkt->header = pkt->l4 - ETH_HLEN + sizeof(struct udphdr);

	if (pkt->proto == IPPROTO_TCP) {
		struct tcphdr *tcp = plait_at(ctx, pkt->l4, sizeof(*tcp));

		if (!tcp)
			return PLAIT_SKIP;
		pkt->sport = tcp->source;
		pkt->dport = tcp->dest;
		pkt->tcp_flags = ((__u8 *)tcp)[13];
		pkt->header = pkt->l4 - ETH_HLEN + tcp->doff * 4;
		return PLAIT_NEXT;
	}
	if (pkt->proto == IPPROTO_UDP || pkt->proto == IPPROTO_SCTP) {
		struct plait_ports *ports = plait_at(ctx, pkt->l4, sizeof(struct udphdr));

		if (!ports)
			return PLAIT_SKIP;
		pkt->sport = ports->source;
		pkt->dport = ports->dest;
		return PLAIT_NEXT;
	}
	if (plait_is_icmp(pkt)) {
		struct plait_icmp *icmp = plait_at(ctx, pkt->l4, sizeof(*icmp));

		if (!icmp)
			return PLAIT_SKIP;
		if (plait_is_icmp_error(pkt->family, icmp->type))
			return plait_parse_quoted(ctx, pkt);
		if (!plait_is_echo(pkt->family, icmp->type))
			return PLAIT_SKIP;
		if (pkt->family == 4 && plait_unroutable4(pkt->saddr.w[3]))
			return PLAIT_SKIP;
		pkt->sport = pkt->dport = icmp->id;
		return PLAIT_NEXT;
	}
	return PLAIT_SKIP;
}

/* What the headers say of fragmentation. */
struct plait_fragment {
	__u32 id;
	bool more; /* this is a part of a packet */
	bool later; /* and not the first one, which alone has the ports */
};

static __always_inline struct plait_frag_key plait_frag_key(const struct plait_pkt *pkt, __u32 id)
{
	return (struct plait_frag_key){
		.saddr = pkt->saddr,
		.daddr = pkt->daddr,
		.id = id,
		.zone_proto = PLAIT_ZONE_PROTO(pkt->zone, pkt->proto),
	};
}

/* The ports of a first fragment, for those that follow. */
static __always_inline void plait_note_ports(const struct plait_pkt *pkt, __u32 id)
{
	struct plait_frag_key key = plait_frag_key(pkt, id);
	struct plait_frag_ports ports = { pkt->sport, pkt->dport };

	bpf_map_update_elem(&plait_frags, &key, &ports, BPF_ANY);
}

static __always_inline int plait_parse_later(struct plait_pkt *pkt, __u32 id)
{
	struct plait_frag_key key = plait_frag_key(pkt, id);
	struct plait_frag_ports *known = bpf_map_lookup_elem(&plait_frags, &key);

	if (!known)
		return PLAIT_SKIP;
	pkt->kind = PLAIT_PACKET_FRAGMENT;
	pkt->sport = known->sport;
	pkt->dport = known->dport;
	return PLAIT_NEXT;
}

/* The headers up to the transport's. */
static __always_inline int plait_parse_headers4(plait_ctx *ctx, struct plait_pkt *pkt,
						struct plait_fragment *frag)
{
	struct iphdr *ip = plait_at(ctx, ETH_HLEN, sizeof(*ip));

	if (!ip || ip->version != 4 || ip->ihl < 5)
		return PLAIT_SKIP;
	pkt->saddr = plait_widen4(ip->saddr);
	pkt->daddr = plait_widen4(ip->daddr);
	pkt->proto = ip->protocol;
	pkt->l4 = ETH_HLEN + ip->ihl * 4;
	frag->id = ip->id;
	frag->later = ip->frag_off & bpf_htons(PLAIT_IP_OFFSET);
	frag->more = ip->frag_off & bpf_htons(PLAIT_IP_MF | PLAIT_IP_OFFSET);
	/* ICMP errors may come from routers whose links have link-local addresses only. */
	if (plait_unroutable4(ip->daddr) ||
	    (ip->protocol != IPPROTO_ICMP && plait_unroutable4(ip->saddr)))
		return PLAIT_SKIP;
	return PLAIT_NEXT;
}

static __always_inline int plait_parse_headers6(plait_ctx *ctx, struct plait_pkt *pkt,
						struct plait_fragment *frag)
{
	struct ipv6hdr *ip = plait_at(ctx, ETH_HLEN, sizeof(*ip));

	if (!ip || ip->version != 6)
		return PLAIT_SKIP;
	__builtin_memcpy(&pkt->saddr, &ip->saddr, 16);
	__builtin_memcpy(&pkt->daddr, &ip->daddr, 16);
	pkt->proto = ip->nexthdr;
	pkt->l4 = ETH_HLEN + sizeof(*ip);
	if (plait_unroutable6(pkt->daddr) || plait_unroutable6(pkt->saddr))
		return PLAIT_SKIP;
	return PLAIT_NEXT;
}

static __always_inline bool plait_is_extension(__u8 proto)
{
	return proto == IPPROTO_HOPOPTS || proto == IPPROTO_ROUTING || proto == IPPROTO_DSTOPTS ||
	       proto == IPPROTO_FRAGMENT;
}

/* The extension header that pkt->proto announces at pkt->l4. */
static __always_inline int plait_parse_extension(plait_ctx *ctx, struct plait_pkt *pkt,
						 struct plait_fragment *frag)
{
	struct plait_frag_header *header;
	struct plait_extension *ext;
	__u32 offset = pkt->l4;

	if (offset > PLAIT_HEADERS_MAX)
		return PLAIT_SKIP;
	if (pkt->proto == IPPROTO_FRAGMENT) {
		header = plait_at(ctx, offset, sizeof(*header));
		if (!header)
			return PLAIT_SKIP;
		frag->id = header->id;
		frag->later = header->offset & bpf_htons(PLAIT_IP6_OFFSET);
		frag->more = header->offset & bpf_htons(PLAIT_IP6_OFFSET | PLAIT_IP6_MF);
		pkt->proto = header->nexthdr;
		pkt->l4 = offset + sizeof(*header);
		return PLAIT_NEXT;
	}
	ext = plait_at(ctx, offset, sizeof(*ext));
	if (!ext)
		return PLAIT_SKIP;
	pkt->proto = ext->nexthdr;
	pkt->l4 = offset + (ext->length + 1) * 8;
	return PLAIT_NEXT;
}
