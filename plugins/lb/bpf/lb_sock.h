// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Load balancing at the socket: a process that asks a service talks to a backend from the start,
 * and its packets are nobody's business.
 *
 * Stage: service   Maps: see lb_tables.h, and lb_sockets   Constants: lb_host_only
 */
#pragma once
#include "plait_sock.h"
#include "lb_choose.h"

PLAIT_CONST(bool, lb_host_only, "of sockets only those of the node's own network namespace ask");

/* Whom a socket has asked, by who answers in its place: what its process is told. */
struct lb_socket_key {
	__u64 cookie;
	struct lb_backend backend;
	__u32 pad;
};
_Static_assert(sizeof(struct lb_socket_key) == 32, "hashed as bytes: no hidden padding");

struct lb_socket {
	struct plait_addr addr;
	__be16 port;
	__u16 pad;
};

/* Connected sockets that are to be ended when their backend is gone: by their cookies. */
struct lb_peer_key {
	__u64 cookie;
};

struct lb_peer {
	__u64 netns; /* the cookie of the socket's network namespace */
	struct lb_backend backend;
	__u8 proto;
	__u8 pad[3];
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, struct lb_socket_key);
	__type(value, struct lb_socket);
} lb_sockets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, struct lb_peer_key);
	__type(value, struct lb_peer);
} lb_peers SEC(".maps");

static __always_inline struct lb_socket_key lb_socket_key(const struct plait_sock *sock)
{
	return (struct lb_socket_key){
		.cookie = sock->cookie,
		.backend = { .addr = sock->addr, .port = sock->port },
	};
}

/* Who asks, before it has an address: for the node itself the one that it leaves by, as a rule; for
 * others their network namespace, as an address that nobody has.
 */
static __always_inline struct plait_addr lb_socket_client(const struct plait_sock *sock)
{
	const struct plait_node *node = plait_node();

	if (node && sock->host)
		return sock->family == 4 ? node->addr4 : node->addr6;
	return (struct plait_addr){ .w = { 0, 1, sock->netns >> 32, sock->netns } };
}

static __always_inline int lb_ask_for(struct plait_sock *sock, const struct lb_service *service,
				      struct lb_ask *ask)
{
	ask->client = lb_socket_client(sock);
	ask->hash = sock->cookie;
	ask->steady = true;
	if (!lb_serves_client(service, &ask->client))
		return plait_sock_refuse(sock, EPERM);
	if (lb_choose(service, ask) == LB_CHOSE)
		return PLAIT_NEXT;
	return plait_sock_refuse(sock, service->flags & LB_ELSEWHERE ? EHOSTUNREACH : ECONNREFUSED);
}

/* Remember whom a socket has asked, when it does not ask the same one again. */
static __always_inline void lb_note(const struct plait_sock *sock, const struct lb_socket *asked)
{
	struct lb_socket_key key = lb_socket_key(sock);
	const struct lb_socket *last = bpf_map_lookup_elem(&lb_sockets, &key);

	if (!last || !plait_addr_same(&last->addr, &asked->addr) || last->port != asked->port)
		bpf_map_update_elem(&lb_sockets, &key, asked, BPF_ANY);
}

/* A datagram's sender would never notice that nobody is there any more; one of TCP would, late. */
static __always_inline void lb_watch(const struct plait_sock *sock)
{
	struct lb_peer_key key = { .cookie = sock->cookie };
	struct lb_peer peer = {
		.netns = sock->netns,
		.backend = { .addr = sock->addr, .port = sock->port },
		.proto = sock->proto,
	};

	if (sock->proto == IPPROTO_UDP || lb_reset)
		bpf_map_update_elem(&lb_peers, &key, &peer, BPF_ANY);
}

/* Turn to a backend when a service is asked. All datagrams of a socket go to the same one. */
static __always_inline int lb_turn(struct plait_sock *sock, bool connected)
{
	struct lb_socket asked = { .addr = sock->addr, .port = sock->port };
	enum lb_owner owner = LB_SOMEBODY;
	const struct lb_service *service;
	struct lb_ask ask = {};
	int verdict;

	if (lb_host_only && !sock->host)
		return PLAIT_NEXT;
	service = lb_find(&sock->addr, sock->port, sock->proto, false, &owner);
	if (!service)
		return owner == LB_SERVICE && lb_refuse ? plait_sock_refuse(sock, ECONNREFUSED) :
							  PLAIT_NEXT;
	verdict = lb_ask_for(sock, service, &ask);
	if (verdict != PLAIT_NEXT)
		return verdict;
	sock->addr = ask.backend.addr;
	sock->port = ask.backend.port;
	lb_note(sock, &asked);
	if (connected)
		lb_watch(sock);
	return PLAIT_NEXT;
}

/* Tell the name of the service that was asked in place of the backend's. */
static __always_inline int lb_turn_back(struct plait_sock *sock)
{
	struct lb_socket_key key = lb_socket_key(sock);
	const struct lb_socket *asked = bpf_map_lookup_elem(&lb_sockets, &key);

	if (asked) {
		sock->addr = asked->addr;
		sock->port = asked->port;
	}
	return PLAIT_NEXT;
}

static __always_inline int lb_connect(plait_sock_ctx *ctx, struct plait_sock *sock)
{
	return lb_turn(sock, true);
}

static __always_inline int lb_sendmsg(plait_sock_ctx *ctx, struct plait_sock *sock)
{
	return lb_turn(sock, false);
}

static __always_inline int lb_recvmsg(plait_sock_ctx *ctx, struct plait_sock *sock)
{
	return lb_turn_back(sock);
}

static __always_inline int lb_getpeername(plait_sock_ctx *ctx, struct plait_sock *sock)
{
	return lb_turn_back(sock);
}
