/* tries.c - see tries.h. */
#include "backends/tries.h"
#include <errno.h>
#include <inttypes.h>
#include <sys/random.h>
#include "backends/request.h"
#include "backends/util/clock.h"
#include "backends/util/log.h"
#include "backends/util/banned.h"

enum { SLICE_MS = 100 }; /* a cancelled wait ends after this long at the latest */

/* Of the calling thread's current try; 0 = none. */
static _Thread_local uint64_t hint_ms;

void retry_after_hint(uint64_t ms)
{
	hint_ms = ms;
}

void tries_start(struct tries *t, const struct call *call)
{
	t->start_ns = clock_now_ns();
	t->call = call ? *call : (struct call){.deadline_ns = CLOCK_NEVER};
	if (t->call.deadline_ns == CLOCK_NEVER)
		t->call.deadline_ns =
			clock_add(t->start_ns, t->conf->deadline_ms * NS_PER_MS);
	hint_ms = 0;
}

static const char *reason(int r)
{
	switch (r) {
	case -ECOMM:
		return "no whole answer";
	case -ETIMEDOUT:
		return "stalled";
	case -EREMOTEIO:
		return "the server failed";
	case -EBUSY:
		return "the server asks to slow down";
	default:
		return "not the answer to what was asked";
	}
}

/* What the back-off says, in [0, min(cap, base * 2^n)]. */
static uint64_t jitter_ns(const struct retry_conf *conf, uint32_t n)
{
	uint64_t random = 0;
	uint64_t most = (uint64_t)conf->base_ms << (n < 20 ? n : 20);
	if (most > conf->cap_ms)
		most = conf->cap_ms;
	most *= NS_PER_MS;
	/* No random bytes: then everybody waits the longest, and nobody less. */
	if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random)
		return most;
	return random % (most + 1);
}

/* The tries are spent.  Nobody waits for a hint's bytes: that is no loss. */
static int give_up(const struct tries *t, int r)
{
	uint64_t ms = (clock_now_ns() - t->start_ns) / NS_PER_MS;
	log_line(
		t->call.prio == PRIO_DEMAND ? LOG_LEVEL_ERROR : LOG_LEVEL_WARN, t->scheme,
		"%s %s: gave up after %" PRIu32 " tries in %" PRIu64 ".%" PRIu64 " s: %s",
		t->op, t->key, t->n, ms / 1000, ms % 1000 / 100, reason(r));
	return t->answered ? -EIO : -ETIMEDOUT;
}

static void tell_once(struct tries *t, uint64_t wait_ns, int r)
{
	if (t->told || wait_ns <= NS_PER_S)
		return;
	t->told = true;
	log_warn(t->scheme, "%s %s: %s; trying again", t->op, t->key, reason(r));
}

static int wait_cancellable(const struct call *call, uint64_t ns)
{
	while (ns && !call_cancelled(call)) {
		uint64_t slice = ns < SLICE_MS * NS_PER_MS ? ns : SLICE_MS * NS_PER_MS;
		clock_sleep_ns(slice);
		ns -= slice;
	}
	return call_cancelled(call) ? -EINTR : 0;
}

bool tries_more(struct tries *t, int *r)
{
	const struct retry_conf *conf = t->conf;
	uint64_t hint_ns, wait_ns;
	t->n++;
	health_note(t->health, *r);
	/* The store refuses what we sent: no argument of the user's is wrong. */
	if (*r == -EINVAL)
		*r = -EIO;
	if (!store_errno_is_transient(*r))
		return false;
	if (call_cancelled(&t->call)) {
		*r = -EINTR;
		return false;
	}
	t->lost |= *r != -EBUSY;
	t->answered |= *r != -ECOMM && *r != -ETIMEDOUT;
	t->bad_answers += *r == -EBADMSG;

	uint64_t left = call_left_ns(&t->call);
	wait_ns = jitter_ns(conf, t->n - 1);
	if (wait_ns > left / 2) /* the last tries come closer together */
		wait_ns = left / 2;
	if (__builtin_mul_overflow(hint_ms, NS_PER_MS, &hint_ns))
		hint_ns = CLOCK_NEVER;
	if (wait_ns < hint_ns)
		wait_ns = hint_ns;
	if (left < conf->base_ms * NS_PER_MS || wait_ns >= left ||
	    t->bad_answers > conf->bad_answers_max) {
		*r = give_up(t, *r);
		return false;
	}
	tell_once(t, wait_ns, *r);
	if (wait_cancellable(&t->call, wait_ns) < 0) {
		*r = -EINTR;
		return false;
	}
	hint_ms = 0;
	return true;
}
