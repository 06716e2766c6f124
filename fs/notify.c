/* notify.c - see notify.h. */
#include "fs/notify.h"
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>
#include "backends/util/buf.h"
#include "backends/util/cleanup.h"
#include "backends/util/log.h"
#include "backends/util/thread.h"
#include "backends/util/banned.h"

enum {
	TEXT_MAX = 8192,
	SEND_S = 5,   /* a manager that does not read holds up nothing */
	GRACE_S = 30, /* beyond what a wait was announced for */
};

/* Set once, before any thread; length 0: there is no manager. */
static struct sockaddr_un manager;
static socklen_t manager_length;

void notify_take(void)
{
	const char *name = getenv("NOTIFY_SOCKET");
	size_t n = name ? strlen(name) : 0;
	if (!n)
		return;
	if (n < 2 || n >= sizeof manager.sun_path || !strchr("/@", name[0])) {
		log_warn("mount", "NOTIFY_SOCKET=%s: not a Unix socket's name", name);
	} else {
		manager.sun_family = AF_UNIX;
		memcpy(manager.sun_path, name, n);
		if (name[0] == '@')
			manager.sun_path[0] = '\0';
		manager_length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
	}
	(void)unsetenv("NOTIFY_SOCKET");
}

static void tell(const char *text, size_t len)
{
	if (!manager_length)
		return;
	const struct timeval limit = {.tv_sec = SEND_S};
	CLEANUP_CLOSE int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	ssize_t n = -1;
	if (fd >= 0 &&
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) == 0) {
		do {
			n = sendto(fd, text, len, MSG_NOSIGNAL,
				   (const struct sockaddr *)&manager, manager_length);
		} while (n < 0 && errno == EINTR);
	}
	if (n < 0)
		log_warn("mount", "tell the service manager: %s", strerror(errno));
}

/* A line is a message of its own: what a path or URL holds must not become one. */
void notify_status(const char *fmt, ...)
{
	CLEANUP_BUF struct buf b;
	va_list ap;
	buf_init(&b, TEXT_MAX);
	buf_adds(&b, "STATUS=");
	va_start(ap, fmt);
	buf_vaddf(&b, fmt, ap);
	va_end(ap);
	for (size_t i = 0; i < b.len; i++) {
		if ((unsigned char)b.data[i] < ' ')
			b.data[i] = '?';
	}
	tell(b.data, b.len);
}

static void *wait_for_byte(void *arg)
{
	CLEANUP_CLOSE int fd = (int)(intptr_t)arg;
	char byte;
	ssize_t n;
	do {
		n = read(fd, &byte, 1);
	} while (n < 0 && errno == EINTR);
	if (n == 1)
		tell("READY=1", strlen("READY=1"));
	return NULL;
}

/* A thread of its own, because the others answer the kernel by then.  Nobody waits for
 * it: it uses nothing that is taken down. */
void notify_ready_when(int fd)
{
	pthread_t thread;
	if (!manager_length) {
		(void)close(fd);
		return;
	}
	int r = thread_start(&thread, 0, wait_for_byte, (void *)(intptr_t)fd);
	if (r == 0) {
		(void)pthread_detach(thread);
		return;
	}
	log_error("mount", "start a thread: %s", strerror(-r));
	(void)close(fd);
}

static void tell_wait(const char *lines, uint64_t seconds)
{
	uint64_t us;
	CLEANUP_BUF struct buf b;
	buf_init(&b, TEXT_MAX);
	if (__builtin_add_overflow(seconds, GRACE_S, &us) ||
	    __builtin_mul_overflow(us, UINT64_C(1000000), &us))
		us = UINT64_MAX - 1; /* all ones means for ever, elsewhere */
	buf_addf(&b, "%sEXTEND_TIMEOUT_USEC=%llu", lines, (unsigned long long)us);
	tell(b.data, b.len);
}

void notify_extend(uint64_t seconds)
{
	tell_wait("", seconds);
}

void notify_stopping(uint64_t seconds)
{
	tell_wait("STOPPING=1\n", seconds);
}
