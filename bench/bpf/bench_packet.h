// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Programs that repeat one packet through a hook, for BPF_PROG_TEST_RUN.
 *
 * A test run leaves the packet to the next one as it is. So each program first puts back what the
 * hook rewrites, field by field as a sender's stack would have written it; it exists with the hook
 * (run_...) and without (only_...), and the hook's cost is the difference.
 *
 * Appended to a generated program whose entry is BENCH_HOOK, inlined here.
 */
#pragma once
#include "plait.h"
#include "plait_rewrite.h"

#define BENCH_SERVICES 10000

/* What a hook changes in a packet. */
static struct {
	__u8 macs[12];
	struct plait_addr saddr;
	struct plait_addr daddr;
	__be16 sport;
	__be16 dport;
	__u8 hops;
	__u16 ip_check;
	__u16 check;
} bench_packet;

static __u32 bench_count;

struct bench_frame4 {
	struct ethhdr eth;
	struct iphdr ip;
	struct tcphdr tcp;
} __attribute__((packed));

struct bench_frame6 {
	struct ethhdr eth;
	struct ipv6hdr ip;
	struct tcphdr tcp;
} __attribute__((packed));

static __always_inline void bench_save4(struct bench_frame4 *frame)
{
	__builtin_memcpy(bench_packet.macs, &frame->eth, sizeof(bench_packet.macs));
	bench_packet.saddr.w[3] = frame->ip.saddr;
	bench_packet.daddr.w[3] = frame->ip.daddr;
	bench_packet.sport = frame->tcp.source;
	bench_packet.dport = frame->tcp.dest;
	bench_packet.hops = frame->ip.ttl;
	bench_packet.ip_check = frame->ip.check;
	bench_packet.check = frame->tcp.check;
}

static __always_inline void bench_save6(struct bench_frame6 *frame)
{
	__builtin_memcpy(bench_packet.macs, &frame->eth, sizeof(bench_packet.macs));
	__builtin_memcpy(&bench_packet.saddr, &frame->ip.saddr, sizeof(bench_packet.saddr));
	__builtin_memcpy(&bench_packet.daddr, &frame->ip.daddr, sizeof(bench_packet.daddr));
	bench_packet.sport = frame->tcp.source;
	bench_packet.dport = frame->tcp.dest;
	bench_packet.hops = frame->ip.hop_limit;
	bench_packet.check = frame->tcp.check;
}

/* The packet as it was saved, but from the port, and to the address, that many further on. */
static __always_inline void bench_restore4(struct bench_frame4 *frame, __u16 port, __u32 addr)
{
	__be16 sport = bpf_htons(bpf_ntohs(bench_packet.sport) + port);
	__be32 daddr = bpf_htonl(bpf_ntohl(bench_packet.daddr.w[3]) + addr);
	__u64 moved = plait_diff_word(bench_packet.daddr.w[3], daddr);

	__builtin_memcpy(&frame->eth, bench_packet.macs, sizeof(bench_packet.macs));
	frame->ip.ttl = bench_packet.hops;
	frame->ip.check = plait_csum_adjust(bench_packet.ip_check, moved);
	frame->ip.saddr = bench_packet.saddr.w[3];
	frame->ip.daddr = daddr;
	frame->tcp.source = sport;
	frame->tcp.dest = bench_packet.dport;
	frame->tcp.check = plait_csum_adjust(bench_packet.check,
					     moved + plait_diff_word(bench_packet.sport, sport));
}

static __always_inline void bench_restore6(struct bench_frame6 *frame, __u16 port)
{
	__be16 sport = bpf_htons(bpf_ntohs(bench_packet.sport) + port);

	__builtin_memcpy(&frame->eth, bench_packet.macs, sizeof(bench_packet.macs));
	frame->ip.hop_limit = bench_packet.hops;
	__builtin_memcpy(&frame->ip.saddr, &bench_packet.saddr, sizeof(bench_packet.saddr));
	__builtin_memcpy(&frame->ip.daddr, &bench_packet.daddr, sizeof(bench_packet.daddr));
	frame->tcp.source = sport;
	frame->tcp.dest = bench_packet.dport;
	frame->tcp.check =
		plait_csum_adjust(bench_packet.check, plait_diff_word(bench_packet.sport, sport));
}

static __always_inline void bench_restore(struct __sk_buff *skb, __u16 port, __u32 addr)
{
	struct bench_frame4 *frame4 = (void *)(long)skb->data;
	struct bench_frame6 *frame6 = (void *)(long)skb->data;
	void *end = (void *)(long)skb->data_end;

	if (skb->protocol == bpf_htons(ETH_P_IP) && (void *)(frame4 + 1) <= end)
		bench_restore4(frame4, port, addr);
	else if (skb->protocol == bpf_htons(ETH_P_IPV6) && (void *)(frame6 + 1) <= end)
		bench_restore6(frame6, port);
}

/* Remember the packet, and count from 0 again. */
SEC("tc")
int bench_save(struct __sk_buff *skb)
{
	struct bench_frame4 *frame4 = (void *)(long)skb->data;
	struct bench_frame6 *frame6 = (void *)(long)skb->data;
	void *end = (void *)(long)skb->data_end;

	if (skb->protocol == bpf_htons(ETH_P_IP) && (void *)(frame4 + 1) <= end)
		bench_save4(frame4);
	else if (skb->protocol == bpf_htons(ETH_P_IPV6) && (void *)(frame6 + 1) <= end)
		bench_save6(frame6);
	bench_count = 0;
	return TC_ACT_OK;
}

SEC("tc")
int bench_floor(struct __sk_buff *skb)
{
	(void)skb;
	return TC_ACT_OK;
}

/* The same flow again and again. */
SEC("tc")
int only_same(struct __sk_buff *skb)
{
	bench_restore(skb, 0, 0);
	return TC_ACT_OK;
}

SEC("tc")
int run_same(struct __sk_buff *skb)
{
	bench_restore(skb, 0, 0);
	return BENCH_HOOK(skb);
}

/* 65,536 flows in turn, one for each source port. */
SEC("tc")
int only_ports(struct __sk_buff *skb)
{
	bench_restore(skb, bench_count++, 0);
	return TC_ACT_OK;
}

SEC("tc")
int run_ports(struct __sk_buff *skb)
{
	bench_restore(skb, bench_count++, 0);
	return BENCH_HOOK(skb);
}

/* A flow to each of many services in turn, then from the next port. */
SEC("tc")
int only_dests(struct __sk_buff *skb)
{
	__u32 count = bench_count++;

	bench_restore(skb, count / BENCH_SERVICES, count % BENCH_SERVICES);
	return TC_ACT_OK;
}

SEC("tc")
int run_dests(struct __sk_buff *skb)
{
	__u32 count = bench_count++;

	bench_restore(skb, count / BENCH_SERVICES, count % BENCH_SERVICES);
	return BENCH_HOOK(skb);
}
