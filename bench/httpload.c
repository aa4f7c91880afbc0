/* httpload PORT PATH CONNECTIONS REQUESTS: GETs over kept-alive loopback connections, one thread.
 *
 * Prints {"name": "httpload", "rate": REQUESTS_PER_SECOND} on standard error, next to what the
 * benchmark script prints there. Exits 1 when an answer is not "200" with a Content-Length.
 */
#define _GNU_SOURCE
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CONNECTIONS 64
#define HEAD 4096

struct connection {
    char head[HEAD + 1];
    size_t got;   /* bytes of the head so far */
    long missing; /* bytes of the body still to come, -1 while the head is incomplete */
};

static struct connection connections[CONNECTIONS];
static struct pollfd polls[CONNECTIONS];
static char request[1024];
static char body[1 << 18];
static long unsent, unanswered;

static void fail(const char *words)
{
    fprintf(stderr, "httpload: %s\n", words);
    exit(1);
}

static void ask(int i)
{
    size_t size = strlen(request);
    if (unsent <= 0) {
        polls[i].fd = -1;
        return;
    }
    unsent--;
    connections[i].got = 0;
    connections[i].missing = -1;
    if (write(polls[i].fd, request, size) != (ssize_t)size)
        fail("cannot send");
}

static void answered(int i)
{
    unanswered--;
    ask(i);
}

static void read_head(int i)
{
    struct connection *c = &connections[i];
    ssize_t n = read(polls[i].fd, c->head + c->got, HEAD - c->got);
    if (n <= 0)
        fail("connection closed in the head");
    c->got += (size_t)n;
    c->head[c->got] = 0;
    char *end = strstr(c->head, "\r\n\r\n");
    if (!end) {
        if (c->got == HEAD)
            fail("head too long");
        return;
    }
    char *length = strcasestr(c->head, "content-length:");
    if (strncmp(c->head, "HTTP/1.1 200", 12) || !length || length > end)
        fail("not a 200 with a length");
    c->missing = atol(length + 15) - (long)(c->got - (size_t)(end + 4 - c->head));
    if (c->missing == 0)
        answered(i);
}

static void read_body(int i)
{
    struct connection *c = &connections[i];
    size_t room = (size_t)c->missing < sizeof body ? (size_t)c->missing : sizeof body;
    ssize_t n = read(polls[i].fd, body, room);
    if (n <= 0)
        fail("connection closed in the body");
    c->missing -= n;
    if (c->missing == 0)
        answered(i);
}

int main(int argc, char **argv)
{
    struct timespec start, end;
    if (argc != 5)
        fail("usage: httpload PORT PATH CONNECTIONS REQUESTS");
    int count = atoi(argv[3]);
    if (count < 1 || count > CONNECTIONS)
        fail("1 to 64 connections");
    unsent = unanswered = atol(argv[4]);
    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", argv[2]);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(argv[1])),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    for (int i = 0; i < count; i++) {
        polls[i] = (struct pollfd){.fd = socket(AF_INET, SOCK_STREAM, 0), .events = POLLIN};
        if (connect(polls[i].fd, (void *)&a, sizeof a))
            fail("cannot connect");
    }
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (int i = 0; i < count; i++)
        ask(i);
    while (unanswered > 0) {
        if (poll(polls, (nfds_t)count, 10000) <= 0)
            fail("no answer for ten seconds");
        for (int i = 0; i < count; i++) {
            if (polls[i].fd < 0 || !polls[i].revents)
                continue;
            if (connections[i].missing < 0)
                read_head(i);
            else
                read_body(i);
        }
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    double took = (double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec) / 1e9;
    fprintf(stderr, "{\"name\": \"httpload\", \"rate\": %.1f}\n", atof(argv[4]) / took);
    return 0;
}
