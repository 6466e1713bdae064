// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Addresses: one type for both families, IPv4 as ::ffff:a.b.c.d. */
#pragma once
#include <linux/types.h>
#include <bpf/bpf_endian.h>

struct plait_addr {
	__be32 w[4];
};

/* The address as each family's headers hold it. */
typedef __be32 plait_ip4;
typedef struct plait_addr plait_ip6;

static __always_inline struct plait_addr plait_widen4(plait_ip4 ip)
{
	return (struct plait_addr){ .w = { 0, 0, bpf_htonl(0xffff), ip } };
}

static __always_inline struct plait_addr plait_widen6(plait_ip6 ip)
{
	return ip;
}

static __always_inline plait_ip4 plait_narrow4(const struct plait_addr *addr)
{
	return addr->w[3];
}

static __always_inline plait_ip6 plait_narrow6(const struct plait_addr *addr)
{
	return *addr;
}

static __always_inline bool plait_same4(plait_ip4 a, plait_ip4 b)
{
	return a == b;
}

static __always_inline bool plait_same6(plait_ip6 a, plait_ip6 b)
{
	return !((a.w[0] ^ b.w[0]) | (a.w[1] ^ b.w[1]) | (a.w[2] ^ b.w[2]) | (a.w[3] ^ b.w[3]));
}

static __always_inline bool plait_addr_same(const struct plait_addr *a, const struct plait_addr *b)
{
	return plait_same6(*a, *b);
}

static __always_inline bool plait_is_ip4(const struct plait_addr *addr)
{
	return !(addr->w[0] | addr->w[1]) && addr->w[2] == bpf_htonl(0xffff);
}

/* True for what is never routed: multicast, broadcast, loopback, link-local, unspecified, and IPv4
 * addresses in IPv6 packets, which would be taken for IPv4.
 */
static __always_inline bool plait_unroutable4(plait_ip4 ip)
{
	__u32 addr = bpf_ntohl(ip);

	return addr >> 28 == 0xe || addr == 0xffffffff || addr >> 24 == 127 ||
	       addr >> 16 == 0xa9fe || !addr;
}

static __always_inline bool plait_unroutable6(plait_ip6 ip)
{
	__u32 top = bpf_ntohl(ip.w[0]);

	return top >> 24 == 0xff || top >> 22 == 0xfe80 >> 6 ||
	       (!(ip.w[0] | ip.w[1]) && (!ip.w[2] || ip.w[2] == bpf_htonl(0xffff)));
}
