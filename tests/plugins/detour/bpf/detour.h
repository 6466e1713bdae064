// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Detour: sockets that call listed addresses get others, or an error, and are told of those listed.
 *
 * Stage: service   Maps: detour_routes, detour_taken   Constants: detour_host_only
 */
#pragma once
#include "plait_sock.h"

PLAIT_CONST(bool, detour_host_only, "leave the sockets of pods alone");

struct detour_end {
	struct plait_addr addr;
	__be16 port;
	__u8 proto;
	__u8 pad;
};
_Static_assert(sizeof(struct detour_end) == 20, "hashed as bytes: no hidden padding");

struct detour_route {
	struct plait_addr addr;
	__be16 port;
	__u16 error; /* refuse with this one, unless 0 */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, struct detour_end);
	__type(value, struct detour_route);
} detour_routes SEC(".maps");

/* What a socket called, by what it got. */
struct detour_got {
	__u64 cookie;
	struct plait_addr addr;
	__be16 port;
	__u8 pad[6];
};
_Static_assert(sizeof(struct detour_got) == 32, "hashed as bytes: no hidden padding");

struct detour_called {
	struct plait_addr addr;
	__be16 port;
	bool host;
	__u8 pad[5];
	__u64 netns;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 64);
	__type(key, struct detour_got);
	__type(value, struct detour_called);
} detour_taken SEC(".maps");

static __always_inline int detour_there(plait_sock_ctx *ctx, struct plait_sock *sock)
{
	struct detour_end called = { .addr = sock->addr, .port = sock->port, .proto = sock->proto };
	struct detour_called value = { .addr = sock->addr, .port = sock->port, .host = sock->host };
	struct detour_got got = { .cookie = sock->cookie };
	const struct detour_route *route;

	if (detour_host_only && !sock->host)
		return PLAIT_NEXT;
	route = bpf_map_lookup_elem(&detour_routes, &called);
	if (!route)
		return PLAIT_NEXT;
	if (route->error)
		return plait_sock_refuse(sock, route->error);
	sock->addr = got.addr = route->addr;
	sock->port = got.port = route->port;
	value.netns = sock->netns;
	bpf_map_update_elem(&detour_taken, &got, &value, BPF_ANY);
	return PLAIT_NEXT;
}

static __always_inline int detour_back(plait_sock_ctx *ctx, struct plait_sock *sock)
{
	struct detour_got got = { .cookie = sock->cookie, .addr = sock->addr, .port = sock->port };
	const struct detour_called *called = bpf_map_lookup_elem(&detour_taken, &got);

	if (!called)
		return PLAIT_NEXT;
	sock->addr = called->addr;
	sock->port = called->port;
	return PLAIT_NEXT;
}

static __always_inline int detour_silence(plait_sock_ctx *ctx, struct plait_sock *sock)
{
	sock->port = 0;
	return plait_sock_refuse(sock, EACCES);
}
