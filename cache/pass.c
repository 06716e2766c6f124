/* pass.c - see pass.h. */
#include "cache/pass.h"
#include <errno.h>
#include <unistd.h>
#include "backends/util/cleanup.h"
#include "cache/version.h"
#include "backends/util/banned.h"

/* An open may wait for 8 MiB to be verified: their CRC takes 1.2 ms (2026-11-26), reading
 * them from a slow disk about as long as one request to the bucket.  For more it does not
 * wait: 5 GB would take seconds. */
enum { VERIFY_AT_OPEN = 32 }; /* blocks */

static bool is_whole_locked(const struct version *v)
{
	return v->n_blocks && v->bytes == v->obj.size;
}

static uint64_t unverified_locked(struct version *v)
{
	uint64_t n = 0;
	for (uint64_t b = 0; b < v->n_blocks; b++)
		n += block_state_locked(v, b) == BLOCK_UNVERIFIED;
	return n;
}

/* 0: all there and verified; else as pass_begin, or how many blocks are not. */
static int64_t look(struct version *v)
{
	SCOPED_LOCK(&v->lock);
	return is_whole_locked(v) ? (int64_t)unverified_locked(v) : -ENODATA;
}

static int make_sure(struct version *v, bool may_block)
{
	int64_t n = look(v);
	if (n <= 0)
		return (int)n;
	if (n > VERIFY_AT_OPEN) {
		fill_verify(v);
		return -ENODATA;
	}
	if (!may_block)
		return -EAGAIN;
	/* Without a call nothing is fetched: what is damaged is missing then. */
	int r = blocks_bring(v, 0, NULL, v->obj.size, NULL);
	return r == -EAGAIN ? -ENODATA : r;
}

static int claim(struct version *v, struct pass *ret)
{
	SCOPED_LOCK(&v->lock);
	if (!is_whole_locked(v) || unverified_locked(v))
		return -ENODATA;
	v->passes++;
	*ret = (struct pass){.v = version_ref(v), .epoch = v->epoch};
	return 0;
}

/* The file that was opened is the one that the claim is about. */
static bool is_current(const struct pass *p)
{
	SCOPED_LOCK(&p->v->lock);
	return p->epoch == p->v->epoch;
}

int pass_begin(struct version *v, bool may_block, struct pass *ret, int *ret_fd)
{
	CLEANUP_CLOSE int fd = -1;
	int r = store_sees_users(v->bl->store) ? make_sure(v, may_block) : -ENODATA;
	if (!r)
		r = claim(v, ret);
	if (r)
		return r;
	r = store_open(v->bl->store, &v->id, &fd);
	if (r == -ENODATA)
		(void)version_check_file(v, NULL);
	if (!r && !is_current(ret))
		r = -ENODATA;
	if (r) {
		pass_end(ret);
		return r;
	}
	*ret_fd = fd;
	fd = -1;
	return 0;
}

bool pass_is_of(const struct pass *p, struct version *v)
{
	if (p->v != v)
		return false;
	if (store_check(v->bl->store, &v->id) == -ENODATA)
		(void)version_check_file(v, NULL);
	return is_current(p);
}

void pass_end(struct pass *p)
{
	struct version *v = STEAL(p->v);
	if (!v)
		return;
	(void)pthread_mutex_lock(&v->lock);
	v->passes--;
	(void)pthread_mutex_unlock(&v->lock);
	version_unref(v);
}
