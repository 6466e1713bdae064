// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Answers that a router owes: ICMP errors, sent back where the packet came from.
 *
 * Not about what must not be answered: ICMP errors and later fragments never come here. The
 * quoted packet is cut to its headers (RFC 792, RFC 4443); of TCP the whole header is quoted,
 * because the kernel does not cut a packet before the checksum that a device is to complete.
 */
#pragma once
#include "plait_rewrite.h"

enum plait_answer {
	PLAIT_ANSWER_PORT_UNREACHABLE,
	PLAIT_ANSWER_HOST_UNREACHABLE,
	PLAIT_ANSWER_TIME_EXCEEDED,
	PLAIT_ANSWER_TOO_BIG,
	PLAIT_ANSWER_RESET, /* no ICMP error: see plait_reset.h */
};

/* A request for an answer travels up to the program's frame as a return code: on the stack of the
 * slow path there is no room for it. Codes are beyond those of the kernel.
 */
#define PLAIT_ANSWER_REQUEST 0x100
#define PLAIT_ANSWER(answer, mtu) (PLAIT_ANSWER_REQUEST | (answer) | (__u32)(mtu) << 12)
#define PLAIT_SEND_PLAIN 0x200 /* likewise: send the packet as the draft says */
#define PLAIT_GO_SLOW 0x400 /* this packet needs a closer look */
#define PLAIT_GO_OPEN 0x800 /* this packet begins a flow */

struct plait_answer4 {
	__u16 pad; /* aligns the rest */
	struct ethhdr eth;
	struct iphdr ip;
	struct plait_icmp icmp;
};

struct plait_answer6 {
	__u16 pad; /* aligns the rest */
	struct ethhdr eth;
	struct ipv6hdr ip;
	struct plait_icmp icmp;
};

static __always_inline struct plait_icmp plait_icmp4(__u8 answer, __u32 mtu)
{
	switch (answer) {
	case PLAIT_ANSWER_TIME_EXCEEDED:
		return (struct plait_icmp){ .type = ICMP_TIME_EXCEEDED };
	case PLAIT_ANSWER_TOO_BIG:
		return (struct plait_icmp){ .type = ICMP_DEST_UNREACH,
					    .code = ICMP_FRAG_NEEDED,
					    .info = bpf_htonl(mtu) };
	case PLAIT_ANSWER_HOST_UNREACHABLE:
		return (struct plait_icmp){ .type = ICMP_DEST_UNREACH, .code = ICMP_HOST_UNREACH };
	default:
		return (struct plait_icmp){ .type = ICMP_DEST_UNREACH, .code = ICMP_PORT_UNREACH };
	}
}

static __always_inline struct plait_icmp plait_icmp6(__u8 answer, __u32 mtu)
{
	switch (answer) {
	case PLAIT_ANSWER_TIME_EXCEEDED:
		return (struct plait_icmp){ .type = ICMPV6_TIME_EXCEED };
	case PLAIT_ANSWER_TOO_BIG:
		return (struct plait_icmp){ .type = ICMPV6_PKT_TOOBIG, .info = bpf_htonl(mtu) };
	case PLAIT_ANSWER_HOST_UNREACHABLE:
		return (struct plait_icmp){ .type = ICMPV6_DEST_UNREACH,
					    .code = ICMPV6_ADDR_UNREACH };
	default:
		return (struct plait_icmp){ .type = ICMPV6_DEST_UNREACH,
					    .code = ICMPV6_PORT_UNREACH };
	}
}

static __always_inline void plait_turn_frame(struct ethhdr *eth)
{
	__u8 mac[ETH_ALEN];

	__builtin_memcpy(mac, eth->h_dest, ETH_ALEN);
	__builtin_memcpy(eth->h_dest, eth->h_source, ETH_ALEN);
	__builtin_memcpy(eth->h_source, mac, ETH_ALEN);
}

/* The source of an answer: the address that refused, else this node as a router. */
static __always_inline bool plait_is_router(__u8 answer)
{
	return answer != PLAIT_ANSWER_PORT_UNREACHABLE;
}

/* What leaves a pod's device would go into the pod: the sender is behind it, in the host's stack. */
static __always_inline long plait_send_back(struct __sk_buff *skb)
{
	return bpf_redirect(skb->ifindex, PLAIT_TO_POD ? BPF_F_INGRESS : 0);
}

/* The checksum of the packet that is quoted may be left to the device that the answer leaves by: it
 * makes the transport header add up to the complement of what the field holds until then. `sum` is
 * that of the whole answer.
 */
static __always_inline __s64 plait_sum_partial(struct __sk_buff *skb, __u32 l4, __u8 proto,
					       __s64 sum)
{
	const __u32 size = proto == IPPROTO_TCP ? sizeof(struct tcphdr) : sizeof(struct udphdr);
	const __u32 at = proto == IPPROTO_TCP ? offsetof(struct tcphdr, check) :
						offsetof(struct udphdr, check);
	__u8 header[sizeof(struct tcphdr)] = {};

	if (plait_ip_summed(skb) != PLAIT_CSUM_PARTIAL ||
	    bpf_skb_load_bytes(skb, ETH_HLEN + l4, header, size))
		return sum;
	sum = bpf_csum_diff((__be32 *)header, sizeof(header), NULL, 0, sum);
	return sum + (__u16) ~*(__u16 *)(header + at);
}

#define PLAIT_QUOTE4_MAX (60 + 20)

static __noinline __maybe_unused int plait_answer4(struct __sk_buff *skb, __u32 request)
{
	struct plait_answer4 head = {};
	__u8 quote[PLAIT_QUOTE4_MAX] = {};
	__u8 answer = request;
	struct plait_node *node = plait_node();
	struct iphdr ip;
	__u32 length;
	__s64 sum;

	if (!node || bpf_skb_load_bytes(skb, 0, &head.eth, ETH_HLEN) ||
	    bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)))
		return TC_ACT_SHOT;
	length = ip.ihl * 4 + (ip.protocol == IPPROTO_TCP ? 20 : 8);
	if (length < 28 || length > PLAIT_QUOTE4_MAX ||
	    bpf_skb_load_bytes(skb, ETH_HLEN, quote, length))
		return TC_ACT_SHOT;

	plait_turn_frame(&head.eth);
	head.icmp = plait_icmp4(answer, request >> 12);
	sum = bpf_csum_diff(NULL, 0, (__be32 *)&head.icmp, sizeof(head.icmp), 0);
	sum = bpf_csum_diff(NULL, 0, (__be32 *)quote, sizeof(quote), sum);
	sum = plait_sum_partial(skb, ip.ihl * 4, ip.protocol, sum);
	head.icmp.check = ~plait_fold(sum);

	head.ip.version = 4;
	head.ip.ihl = 5;
	head.ip.ttl = 64;
	head.ip.protocol = IPPROTO_ICMP;
	head.ip.tot_len = bpf_htons(sizeof(head.ip) + sizeof(head.icmp) + length);
	head.ip.saddr = plait_is_router(answer) ? plait_narrow4(&node->addr4) : ip.daddr;
	head.ip.daddr = ip.saddr;
	sum = bpf_csum_diff(NULL, 0, (__be32 *)&head.ip, sizeof(head.ip), 0);
	head.ip.check = ~plait_fold(sum);

	if (bpf_skb_change_tail(skb, ETH_HLEN + length, 0) ||
	    bpf_skb_adjust_room(skb, sizeof(head.ip) + sizeof(head.icmp), BPF_ADJ_ROOM_MAC, 0) ||
	    bpf_skb_store_bytes(skb, 0, &head.eth, sizeof(head) - sizeof(head.pad), 0))
		return TC_ACT_SHOT;
	return plait_send_back(skb);
}

static __noinline __maybe_unused int plait_answer6(struct __sk_buff *skb, __u32 request)
{
	struct plait_answer6 head = {};
	__u8 quote[80] = {};
	__u8 answer = request;
	struct plait_node *node = plait_node();
	struct ipv6hdr ip;
	__u32 length;
	__s64 sum;

	if (!node || bpf_skb_load_bytes(skb, 0, &head.eth, ETH_HLEN) ||
	    bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)))
		return TC_ACT_SHOT;
	length = sizeof(ip) + (ip.nexthdr == IPPROTO_TCP ? 20 : 8);
	if (ip.nexthdr == IPPROTO_FRAGMENT) /* its receiver wants to see the ports */
		length += sizeof(struct plait_frag_header);
	if (bpf_skb_load_bytes(skb, ETH_HLEN, quote, length))
		return TC_ACT_SHOT;

	plait_turn_frame(&head.eth);
	head.ip.version = 6;
	head.ip.hop_limit = 64;
	head.ip.nexthdr = IPPROTO_ICMPV6;
	head.ip.payload_len = bpf_htons(sizeof(head.icmp) + length);
	if (!plait_is_router(answer))
		head.ip.saddr = ip.daddr;
	else if (!plait_unroutable6(node->addr6))
		__builtin_memcpy(&head.ip.saddr, &node->addr6, 16);
	else
		return TC_ACT_SHOT;
	head.ip.daddr = ip.saddr;

	head.icmp = plait_icmp6(answer, request >> 12);
	sum = bpf_csum_diff(NULL, 0, (__be32 *)&head.ip.saddr, 32, 0);
	sum = bpf_csum_diff(NULL, 0, (__be32 *)&head.icmp, sizeof(head.icmp), sum);
	sum = bpf_csum_diff(NULL, 0, (__be32 *)quote, sizeof(quote), sum);
	if (ip.nexthdr != IPPROTO_FRAGMENT)
		sum = plait_sum_partial(skb, sizeof(ip), ip.nexthdr, sum);
	sum += bpf_htonl(sizeof(head.icmp) + length);
	sum += bpf_htonl(IPPROTO_ICMPV6);
	head.icmp.check = ~plait_fold(sum);

	if (bpf_skb_change_tail(skb, ETH_HLEN + length, 0) ||
	    bpf_skb_adjust_room(skb, sizeof(head.ip) + sizeof(head.icmp), BPF_ADJ_ROOM_MAC, 0) ||
	    bpf_skb_store_bytes(skb, 0, &head.eth, sizeof(head) - sizeof(head.pad), 0))
		return TC_ACT_SHOT;
	return plait_send_back(skb);
}
