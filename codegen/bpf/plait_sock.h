// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* What a fragment at a hook of sockets may use. It is a function of a plugin's header:
 *
 *	static __always_inline int f(plait_sock_ctx *ctx, struct plait_sock *sock);
 *
 * It runs when a process of the node's cgroup calls the kernel. It reads in sock whom the call is
 * about, rewrites addr and port there when that is to be somebody else, and returns PLAIT_NEXT for
 * the next fragment, or plait_sock_refuse(sock, errno). addr and port are
 *
 * - at sock_connect and sock_sendmsg those of the destination, before anything is sent
 * - at sock_recvmsg those of the source, before the process is told
 * - at sock_getpeername those of the peer, before the process is told
 *
 * An IPv6 socket that speaks IPv4 (::ffff:a.b.c.d) is like an IPv4 one here. An address is replaced
 * by one of its own family; only at sock_connect may an IPv4 address replace an IPv6 one.
 */
#pragma once
#include "plait.h"

/* What the kernel hands to a program. */
typedef struct bpf_sock_addr plait_sock_ctx;

/* A socket, and whom a call of it is about. */
struct plait_sock {
	struct plait_addr addr;
	__be16 port;
	__u8 family; /* of addr: 4 or 6 */
	__u8 proto;
	bool host; /* it is in the node's own network namespace, not in a pod's */
	int error; /* of who refused */
	__u64 netns; /* the cookie of its network namespace */
	__u64 cookie; /* its own: no two sockets have the same until the machine reboots */
};

/* Let the call fail with this errno, or with EPERM where the kernel has no other (before Linux 6.1,
 * about). Who only asks cannot be refused: at sock_recvmsg and sock_getpeername the process is told
 * the truth.
 */
static __always_inline int plait_sock_refuse(struct plait_sock *sock, int error)
{
	sock->error = error;
	return PLAIT_DROP;
}

/* The engine's own, from here on. */

static __always_inline struct plait_sock plait_sock_of(plait_sock_ctx *ctx, struct plait_addr addr)
{
	const struct plait_node *node = plait_node();
	__u64 netns = bpf_get_netns_cookie(ctx);

	return (struct plait_sock){
		.addr = addr,
		.port = ctx->user_port,
		.family = plait_is_ip4(&addr) ? 4 : 6,
		.proto = ctx->protocol,
		.host = node && node->netns == netns,
		.netns = netns,
		.cookie = bpf_get_socket_cookie(ctx),
	};
}

static __always_inline struct plait_sock plait_sock_read4(plait_sock_ctx *ctx)
{
	return plait_sock_of(ctx, plait_widen4(ctx->user_ip4));
}

static __always_inline struct plait_sock plait_sock_read6(plait_sock_ctx *ctx)
{
	const __u32 *ip = ctx->user_ip6;

	return plait_sock_of(ctx, (struct plait_addr){ .w = { ip[0], ip[1], ip[2], ip[3] } });
}

/* What the fragments changed becomes what the call is about. */
static __always_inline void plait_sock_write4(plait_sock_ctx *ctx, const struct plait_sock *sock)
{
	ctx->user_ip4 = plait_narrow4(&sock->addr);
	ctx->user_port = sock->port;
}

static __always_inline void plait_sock_write6(plait_sock_ctx *ctx, const struct plait_sock *sock)
{
	ctx->user_ip6[0] = sock->addr.w[0];
	ctx->user_ip6[1] = sock->addr.w[1];
	ctx->user_ip6[2] = sock->addr.w[2];
	ctx->user_ip6[3] = sock->addr.w[3];
	ctx->user_port = sock->port;
}

#define PLAIT_SOCK_FAIL 0
#define PLAIT_SOCK_GO_ON 1

static __always_inline int plait_sock_fail(const struct plait_sock *sock)
{
	bpf_set_retval(-sock->error);
	return PLAIT_SOCK_FAIL;
}
