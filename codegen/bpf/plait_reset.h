// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* A TCP connection that is refused: a reset, as if it came from the address that was asked.
 *
 * An ICMP error would not do. A connection that is established takes it for a passing trouble, and
 * so does connect(2) when the error is there before it has returned, as between pods of a node:
 * the one would hang for minutes, the other for the second until it tries again.
 */
#pragma once
#include "plait_answer.h"

struct plait_reset4 {
	__u16 pad; /* aligns the rest */
	struct ethhdr eth;
	struct iphdr ip;
	struct tcphdr tcp;
};

struct plait_reset6 {
	__u16 pad; /* aligns the rest */
	struct ethhdr eth;
	struct ipv6hdr ip;
	struct tcphdr tcp;
};

/* The answer to a segment with `length` bytes of data (RFC 9293, 3.5.2). */
static __always_inline struct tcphdr plait_reset_to(const struct tcphdr *tcp, __u32 length)
{
	struct tcphdr reset = { .source = tcp->dest, .dest = tcp->source, .doff = 5, .rst = 1 };

	if (tcp->ack) {
		reset.seq = tcp->ack_seq;
	} else {
		reset.ack = 1;
		reset.ack_seq = bpf_htonl(bpf_ntohl(tcp->seq) + tcp->syn + tcp->fin + length);
	}
	return reset;
}

/* What a reset's checksum must be; `sum` is that of the addresses. */
static __always_inline __u16 plait_reset_check(struct __sk_buff *skb, struct tcphdr *tcp, __s64 sum)
{
	sum += bpf_htonl(sizeof(*tcp));
	sum += bpf_htonl(IPPROTO_TCP);
	if (plait_ip_summed(skb) == PLAIT_CSUM_PARTIAL)
		return plait_fold(sum);
	return ~plait_fold(bpf_csum_diff(NULL, 0, (__be32 *)tcp, sizeof(*tcp), sum));
}

static __noinline __maybe_unused int plait_reset4(struct __sk_buff *skb)
{
	struct plait_reset4 head = {};
	struct tcphdr tcp;
	__u32 start;
	__u16 length;

	if (bpf_skb_load_bytes(skb, 0, &head.eth, ETH_HLEN + sizeof(head.ip)))
		return TC_ACT_SHOT;
	start = head.ip.ihl * 4;
	if (bpf_skb_load_bytes(skb, ETH_HLEN + start, &tcp, sizeof(tcp)) || tcp.rst)
		return TC_ACT_SHOT;

	length = bpf_ntohs(head.ip.tot_len) - start - tcp.doff * 4;
	head.tcp = plait_reset_to(&tcp, length);
	plait_turn_frame(&head.eth);
	head.ip = (struct iphdr){
		.version = 4,
		.ihl = 5,
		.ttl = 64,
		.protocol = IPPROTO_TCP,
		.tot_len = bpf_htons(sizeof(head.ip) + sizeof(head.tcp)),
		.saddr = head.ip.daddr,
		.daddr = head.ip.saddr,
	};
	head.ip.check = ~plait_fold(bpf_csum_diff(NULL, 0, (__be32 *)&head.ip, sizeof(head.ip), 0));
	head.tcp.check = plait_reset_check(skb, &head.tcp,
					   bpf_csum_diff(NULL, 0, (__be32 *)&head.ip.saddr, 8, 0));

	if (bpf_skb_change_tail(skb, sizeof(head) - sizeof(head.pad), 0) ||
	    bpf_skb_store_bytes(skb, 0, &head.eth, sizeof(head) - sizeof(head.pad), 0))
		return TC_ACT_SHOT;
	return plait_send_back(skb);
}

static __noinline __maybe_unused int plait_reset6(struct __sk_buff *skb)
{
	struct plait_reset6 head = {};
	struct in6_addr asked;
	struct tcphdr tcp;
	__u16 length;

	if (bpf_skb_load_bytes(skb, 0, &head.eth, ETH_HLEN + sizeof(head.ip)) ||
	    head.ip.nexthdr != IPPROTO_TCP ||
	    bpf_skb_load_bytes(skb, ETH_HLEN + sizeof(head.ip), &tcp, sizeof(tcp)) || tcp.rst)
		return TC_ACT_SHOT;

	length = bpf_ntohs(head.ip.payload_len) - tcp.doff * 4;
	head.tcp = plait_reset_to(&tcp, length);
	plait_turn_frame(&head.eth);
	head.ip.priority = 0;
	__builtin_memset(head.ip.flow_lbl, 0, sizeof(head.ip.flow_lbl));
	head.ip.hop_limit = 64;
	head.ip.payload_len = bpf_htons(sizeof(head.tcp));
	asked = head.ip.daddr;
	head.ip.daddr = head.ip.saddr;
	head.ip.saddr = asked;
	head.tcp.check = plait_reset_check(skb, &head.tcp,
					   bpf_csum_diff(NULL, 0, (__be32 *)&head.ip.saddr, 32, 0));

	if (bpf_skb_change_tail(skb, sizeof(head) - sizeof(head.pad), 0) ||
	    bpf_skb_store_bytes(skb, 0, &head.eth, sizeof(head) - sizeof(head.pad), 0))
		return TC_ACT_SHOT;
	return plait_send_back(skb);
}
