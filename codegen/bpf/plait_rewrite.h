// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Rewriting addresses and ports: inline for the plain packet, by helpers for all others. */
#pragma once
#include <bpf/bpf_core_read.h>
#include "plait_parse.h"

/* How the kernel holds a packet's transport checksum (include/linux/skbuff.h). */
enum plait_ip_summed {
	PLAIT_CSUM_NONE, /* complete, in the packet */
	PLAIT_CSUM_UNNECESSARY, /* the same, and verified */
	PLAIT_CSUM_COMPLETE, /* the same, and the sum of the whole packet is in the skb */
	PLAIT_CSUM_PARTIAL, /* the pseudo header's only: the device is to complete it */
	PLAIT_CSUM_UNKNOWN, /* the kernel is too old to tell: use helpers */
};

struct sk_buff___plait {
	__u8 ip_summed : 2;
} __attribute__((preserve_access_index));

extern void *bpf_cast_to_kern_ctx(void *obj) __weak __ksym;

static __always_inline enum plait_ip_summed plait_ip_summed(struct __sk_buff *skb)
{
	struct sk_buff___plait *kernel_skb;

	if (!bpf_cast_to_kern_ctx)
		return PLAIT_CSUM_UNKNOWN;
	kernel_skb = bpf_cast_to_kern_ctx(skb);
	return BPF_CORE_READ_BITFIELD(kernel_skb, ip_summed);
}

/* One's complement sums, source: RFC 1071, and RFC 1624 for updates. */
static __always_inline __u16 plait_fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

static __always_inline __u16 plait_csum_adjust(__u16 check, __u64 diff)
{
	return ~plait_fold((__u16)~check + diff);
}

static __always_inline __u64 plait_diff_word(__u32 from, __u32 to)
{
	return (__u64)(__u32)~from + to;
}

/* Replace a word, and add to a checksum's sum what that changes: at once, because the compiler
 * would rather keep all words until the end, on the stack.
 */
static __always_inline __u64 plait_replace4(__u64 sum, plait_ip4 *ip, const plait_ip4 *with)
{
	sum += plait_diff_word(*ip, *with);
	*ip = *with;
	asm volatile("" : "+r"(sum));
	return sum;
}

static __always_inline __u64 plait_replace6(__u64 sum, plait_ip6 *ip, const plait_ip6 *with)
{
	sum = plait_replace4(sum, &ip->w[0], &with->w[0]);
	sum = plait_replace4(sum, &ip->w[1], &with->w[1]);
	sum = plait_replace4(sum, &ip->w[2], &with->w[2]);
	return plait_replace4(sum, &ip->w[3], &with->w[3]);
}

static __always_inline __u64 plait_replace_port(__u64 sum, __be16 *port, __be16 with)
{
	sum += plait_diff_word(*port, with);
	*port = with;
	return sum;
}

/* The transport checksum of a packet whose addresses changed by `addresses` and ports by `ports`.
 * A partial one covers the addresses only, and is not complemented yet. Zero means none in UDP.
 */
static __always_inline void plait_fix_transport(__u16 *check, bool udp, __u64 addresses,
						__u64 ports, enum plait_ip_summed summed)
{
	if (udp && !*check)
		return;
	if (summed == PLAIT_CSUM_PARTIAL) {
		*check = plait_fold(*check + addresses);
		return;
	}
	*check = plait_csum_adjust(*check, addresses + ports);
	if (udp && !*check)
		*check = 0xffff;
}

static __always_inline __u32 plait_transport_check(const struct plait_pkt *pkt)
{
	return pkt->l4 + (pkt->proto == IPPROTO_TCP ? offsetof(struct tcphdr, check) :
						      offsetof(struct udphdr, check));
}
