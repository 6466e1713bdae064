/* TCP connections, one after the other, or one that a byte goes to and fro on: how many a second, and
 * how long one takes.
 *
 *	connections serve PORT				sends back whatever comes
 *	connections connect ADDRESS PORT SECONDS	prints connections/s and the median in us
 *	connections transact ADDRESS PORT SECONDS	prints transactions/s and the median in us
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MOST 4000000

static uint32_t samples[MOST];

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ull + now.tv_nsec;
}

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static int serve(struct sockaddr_in address)
{
	int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);

	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(listener, (void *)&address, sizeof(address)) || listen(listener, 4096))
		fail("listen");
	puts("listening");
	fflush(stdout);
	for (;;) {
		int peer = accept(listener, NULL, NULL);
		char byte;

		setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		while (read(peer, &byte, 1) == 1 && write(peer, &byte, 1) == 1)
			continue;
		close(peer);
	}
}

/* Closed with a reset: no port is kept from use by TIME_WAIT. */
static uint32_t connect_once(const struct sockaddr_in *address)
{
	struct linger at_once = { .l_onoff = 1 };
	int sock = socket(AF_INET, SOCK_STREAM, 0);
	uint64_t began = now_ns();

	if (connect(sock, (const void *)address, sizeof(*address)))
		fail("connect");
	began = now_ns() - began;
	setsockopt(sock, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	close(sock);
	return began;
}

static int compare(const void *a, const void *b)
{
	uint32_t first = *(const uint32_t *)a, second = *(const uint32_t *)b;

	return first < second ? -1 : first > second;
}

static int connection;

static void open_connection(const struct sockaddr_in *address)
{
	int one = 1;

	connection = socket(AF_INET, SOCK_STREAM, 0);
	if (connect(connection, (const void *)address, sizeof(*address)))
		fail("connect");
	setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

static uint32_t transact_once(const struct sockaddr_in *address)
{
	uint64_t began = now_ns();
	char byte = 0;

	(void)address;
	if (write(connection, &byte, 1) != 1 || read(connection, &byte, 1) != 1)
		fail("transact");
	return now_ns() - began;
}

static int repeat(struct sockaddr_in address, double seconds,
		  uint32_t (*once)(const struct sockaddr_in *))
{
	uint64_t began = now_ns(), end = began + seconds * 1e9, last = began;
	size_t count = 0;

	while (last < end && count < MOST) {
		samples[count++] = once(&address);
		last = now_ns();
	}
	qsort(samples, count, sizeof(samples[0]), compare);
	printf("%.1f %.2f\n", count * 1e9 / (last - began), samples[count / 2] / 1e3);
	return 0;
}

int main(int argc, char **argv)
{
	struct sockaddr_in address = { .sin_family = AF_INET };

	if (argc == 3 && !strcmp(argv[1], "serve")) {
		address.sin_port = htons(atoi(argv[2]));
		return serve(address);
	}
	if (argc == 5 && inet_pton(AF_INET, argv[2], &address.sin_addr) == 1) {
		address.sin_port = htons(atoi(argv[3]));
		if (!strcmp(argv[1], "connect"))
			return repeat(address, atof(argv[4]), connect_once);
		if (!strcmp(argv[1], "transact")) {
			open_connection(&address);
			return repeat(address, atof(argv[4]), transact_once);
		}
	}
	fputs("usage: connections serve PORT | (connect | transact) ADDRESS PORT SECONDS\n", stderr);
	return 2;
}
