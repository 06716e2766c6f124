/* parts_send.c - see parts.h: an upload is begun, and its parts are sent. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "backends/crc.h"
#include "cache/parts_impl.h"
#include "cache/tags.h"
#include "backends/util/cleanup.h"
#include "backends/util/banned.h"

enum {
	EARLY_S = 5, /* for beginning one early */
	READ_SIZE = 256 << 10,
};

/* --- beginning --- */

/* An error after which the store may still have done it. */
bool parts_is_transient(int r)
{
	return r == -EIO || r == -ETIMEDOUT || r == -EINTR || r == -ENOMEM;
}

int parts_save_row(struct parts *p, uint64_t row, uint64_t staged_id, const char *id,
		   const char *tag)
{
	struct journal_upload up = {.id = row,
				    .staged_id = staged_id,
				    .key = p->key,
				    .upload_id = id,
				    .tag = tag};
	struct journal_change c = {.kind = JOURNAL_PUT_UPLOAD, .upload = &up};
	return journal_commit(p->conf.jn, &c, 1, false);
}

void parts_forget_row(struct parts *p, uint64_t row)
{
	struct journal_change c = {.kind = JOURNAL_DEL_UPLOAD, .id = row};
	if (row)
		(void)journal_commit(p->conf.jn, &c, 1, false);
}

/* One that was begun, and perhaps others before it, whose answers were lost. */
struct begun {
	uint64_t row;
	char *id;	   /* owned */
	uint64_t lost_row; /* 0 = there are no others */
	char lost[48];	   /* as PARTS_UNKNOWN says */
};

/* Each upload has a row of its own: the one before may still be an orphan's. */
static int begin(struct parts *p, const struct put_opts *opts, struct call *call,
		 struct begun *ret)
{
	uint64_t row = journal_new_id(p->conf.jn);
	int n = snprintf(ret->lost, sizeof(ret->lost), "%c%" PRId64, PARTS_UNKNOWN,
			 clock_wall_ns());
	int r = parts_save_row(p, row, p->conf.staged_id, ret->lost, opts->tag); /* (1) */
	if (r)
		return r;
	r = backend_upload_begin(p->conf.be, p->key, 0, opts, &ret->id, call);
	/* If it may be there, the row stays: the next mount looks for it. */
	if (r && !parts_is_transient(r) && !call->repeated)
		parts_forget_row(p, row);
	if (r)
		return r;
	if (call->repeated) {
		(void)snprintf(ret->lost + n, sizeof(ret->lost) - (size_t)n, "-%" PRId64,
			       clock_wall_ns());
		ret->lost_row = row;
		row = journal_new_id(p->conf.jn);
	}
	r = parts_save_row(p, row, p->conf.staged_id, ret->id, opts->tag);
	if (r)
		orphans_add(p->conf.orphans, row, p->key, ret->id);
	else
		ret->row = row;
	return r;
}

/* Begun when it returns 0.  Drops the lock meanwhile. */
int parts_begun_locked(struct parts *p)
{
	char tag[TAG_SIZE];
	struct begun made = {.id = NULL};
	while (p->beginning)
		cond_wait_ms(&p->changed, &p->lock, PARTS_WAIT_MS);
	if (p->id)
		return 0;
	if (!p->whole && p->settled)
		return -EINTR; /* no tag is made that nobody asks for */
	bool whole = p->whole;
	struct call call = parts_call(p);
	struct put_opts opts = {.tag = tag, .mtime_ns = p->mtime_ns};
	uint64_t old_row = p->row;
	memcpy(tag, p->tag, sizeof(tag));
	if (!whole) {
		/* Its time is not known yet; nobody waits, but somebody may come to. */
		opts.mtime_ns = 0;
		call.deadline_ns = clock_add(clock_now_ns(), EARLY_S * NS_PER_S);
	}
	p->beginning = true;
	p->row = 0;
	(void)pthread_mutex_unlock(&p->lock);
	parts_forget_row(p, old_row); /* of one that the store has forgotten */
	int r = whole ? 0 : tag_make(tag);
	if (!r)
		r = begin(p, &opts, &call, &made);
	(void)pthread_mutex_lock(&p->lock);
	p->beginning = false;
	if (!r) {
		p->id = STEAL(made.id);
		p->row = made.row;
		memcpy(p->tag, tag, sizeof(tag));
	}
	free(made.id);
	/* Now that it is known which one is not lost. */
	if (made.lost_row)
		orphans_add(p->conf.orphans, made.lost_row, p->key, made.lost);
	(void)pthread_cond_broadcast(&p->changed);
	return r;
}

/* --- sending --- */

int parts_sum(int fd, uint64_t off, uint64_t len, uint32_t *ret)
{
	CLEANUP_FREE unsigned char *bytes = malloc(READ_SIZE);
	uint32_t crc = 0;
	if (!bytes)
		return -ENOMEM;
	while (len) {
		size_t want = len < READ_SIZE ? len : READ_SIZE;
		ssize_t n = pread(fd, bytes, want, (off_t)off);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EIO;
		crc = crc32c(crc, bytes, (size_t)n);
		off += (uint64_t)n;
		len -= (uint64_t)n;
	}
	*ret = crc;
	return 0;
}

static int send_slot(struct parts *p, uint32_t at, uint64_t len, const char *id,
		     struct part *part, uint32_t *ret_crc)
{
	struct source_sum sum = {0};
	struct source src = {
		.fd = p->conf.fd, .off = at * p->part_size, .len = len, .sum = &sum};
	struct call call = parts_call(p);
	*part = (struct part){.number = at + 1, .size = len};
	/* The disk may begin: whoever seals the file waits for the rest only. */
	(void)sync_file_range(src.fd, (off_t)src.off, (off_t)src.len,
			      SYNC_FILE_RANGE_WRITE);
	int r = backend_upload_part(p->conf.be, p->key, id, src.off, &src, part, &call);
	*ret_crc = sum.crc32c;
	return r || sum.known ? r : parts_sum(src.fd, src.off, src.len, ret_crc);
}

/* False: it was written to meanwhile, or is of an upload that is over. */
static bool sent_locked(struct parts *p, uint32_t at, uint32_t epoch,
			const struct part *part, uint32_t crc, int r)
{
	struct slot *s = &p->slots[at];
	bool counts = !r && !s->rewritten && epoch == p->epoch; /* (2) */
	s->state = counts ? SLOT_SENT : SLOT_OPEN;
	s->again = s->rewritten;
	s->crc = crc;
	memcpy(s->receipt, part->receipt, sizeof(s->receipt));
	return counts;
}

static void failed_locked(struct parts *p, uint32_t epoch, int r)
{
	if (r == -ENXIO && epoch == p->epoch)
		parts_over_locked(p);
	if (p->whole)
		p->error = p->error ? p->error : r;
	else
		p->quiet_until_ns = clock_add(clock_now_ns(), p->conf.quiet_ns);
}

/* One part, if there is one.  Drops the lock meanwhile. */
static bool send_one_locked(struct parts *p)
{
	uint32_t at, crc = 0;
	struct part part = {0};
	if (!parts_take_locked(p, &at))
		return false;
	int r = parts_begun_locked(p);
	uint32_t epoch = p->epoch;
	uint64_t row = p->row;
	CLEANUP_FREE char *id = !r ? strdup(p->id) : NULL;
	uint64_t len = p->slots[at].size;
	if (!r && !id)
		r = -ENOMEM;
	(void)pthread_mutex_unlock(&p->lock);
	if (!r)
		r = send_slot(p, at, len, id, &part, &crc);
	(void)pthread_mutex_lock(&p->lock);
	/* Bytes that change under a sum may well be refused. */
	bool moot = p->slots[at].rewritten;
	bool counts = sent_locked(p, at, epoch, &part, crc, r);
	if (r && !moot)
		failed_locked(p, epoch, r);
	(void)pthread_cond_broadcast(&p->changed);
	if (!counts)
		return true;
	(void)pthread_mutex_unlock(&p->lock);
	if (p->conf.sent)
		p->conf.sent(p->conf.arg, part.size);
	struct journal_change c = {
		.kind = JOURNAL_PUT_PART, .id = row, .part = &part, .crc = crc};
	/* If this is lost it is sent again. */
	(void)journal_commit(p->conf.jn, &c, 1, false);
	(void)pthread_mutex_lock(&p->lock);
	return true;
}

void parts_send_locked(struct parts *p)
{
	p->workers++;
	while (send_one_locked(p))
		;
	p->workers--;
	(void)pthread_cond_broadcast(&p->changed);
}

void parts_work(struct parts *p)
{
	(void)pthread_mutex_lock(&p->lock);
	p->hinted--;
	if (!p->gone)
		parts_send_locked(p);
	parts_unlock(p);
}

void parts_unwork(struct parts *p)
{
	(void)pthread_mutex_lock(&p->lock);
	p->hinted--;
	parts_unlock(p);
}

static void settle_locked(struct parts *p)
{
	p->settled = true;
	while (p->beginning)
		cond_wait_ms(&p->changed, &p->lock, PARTS_WAIT_MS);
}

void parts_settle(struct parts *p)
{
	SCOPED_LOCK(&p->lock);
	settle_locked(p);
}

void parts_hold(struct parts *p)
{
	SCOPED_LOCK(&p->lock);
	p->growing = false;
	settle_locked(p);
}

void parts_wait(struct parts *p)
{
	SCOPED_LOCK(&p->lock);
	while (p->workers)
		cond_wait_ms(&p->changed, &p->lock, PARTS_WAIT_MS);
}
