/* names_keep.c - complete listings, kept in the index so that the next mount on this
 * cache directory, within ttl, asks as little as this one would have (P7).
 *
 * One thread writes, some time after a listing came, so that no look-up waits for it.
 *
 *   K1  A kept listing shows nothing that this mount removed and hides nothing that it
 *       put: what we change in a directory drops what is kept of it before the journal
 *       forgets the change or the user hears of it; a mount that keeps none itself
 *       begins by dropping all.  A listing is kept only if nothing of
 *       ours is newer or on its way, which is looked at after its row was begun: what is
 *       dropped after that look is found gone when the row is finished.
 *   K2  Only within one run of the machine: after another start the last transactions of
 *       the index may be missing, a drop among them.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "backends/util/buf.h"
#include "backends/util/cleanup.h"
#include "backends/util/thread.h"
#include "cache/index.h"
#include "cache/names_impl.h"
#include "backends/util/banned.h"

enum {
	PAGE_ENTRIES = 1000,
	PAGE_MAX_BYTES = 1 << 20,
	KEPT_ENTRIES_MAX = 400000, /* together; about 40 MiB on disk (P9) */
	DELAY_MS = 1000,	   /* what follows a listing at once is mostly a change */
	ENTRY_FIXED_BYTES = 18,
};

struct wish {
	struct wish *next;
	char dir[];
};

struct keeper {
	/* set once */
	struct names *nm;
	char *owner; /* owned */
	pthread_t thread;

	/* guarded by names.lock */
	pthread_cond_t work;
	struct wish *first, **last;
	bool closing;
};

/* --- entries as bytes --- */

static void put_entry(struct buf *out, const struct listing *ls, uint32_t no)
{
	const struct listed *e = &ls->entries[no];
	const char *name = listing_name(ls, no), *etag = listing_etag(ls, no);
	uint8_t flags[2] = {e->dir, e->exact};
	buf_add(out, &e->size, sizeof(e->size));
	buf_add(out, &e->mtime_ns, sizeof(e->mtime_ns));
	buf_add(out, flags, sizeof(flags));
	buf_add(out, name, strlen(name) + 1);
	buf_add(out, etag, strlen(etag) + 1);
}

/* The string at *at of a body; NULL: it is none of less than max bytes. */
static const char *take_string(const char **at, const char *end, size_t max)
{
	const char *s = *at, *nul = memchr(s, '\0', (size_t)(end - s));
	if (!nul || (size_t)(nul - s) >= max)
		return NULL;
	*at = nul + 1;
	return s;
}

static int take_entry(struct listing *ls, const char **at, const char *end)
{
	struct object obj = {0};
	uint8_t flags[2];
	const char *p = *at;
	if (end - p < ENTRY_FIXED_BYTES)
		return -EUCLEAN;
	memcpy(&obj.size, p, sizeof(obj.size));
	memcpy(&obj.mtime_ns, p + 8, sizeof(obj.mtime_ns));
	memcpy(flags, p + 16, sizeof(flags));
	p += ENTRY_FIXED_BYTES;
	const char *name = take_string(&p, end, NAME_MAX_BYTES + 1);
	const char *etag = name ? take_string(&p, end, ETAG_SIZE) : NULL;
	if (!etag || !names_is_possible(name, strlen(name)))
		return -EUCLEAN;
	memcpy(obj.etag, etag, strlen(etag) + 1);
	int r = listing_add(ls, name, flags[0] ? NULL : &obj);
	if (r)
		return r < 0 ? r : -EUCLEAN;
	ls->entries[ls->n - 1].exact = flags[1];
	*at = p;
	return 0;
}

static int take_page(void *arg, const void *body, size_t len)
{
	const char *at = body, *end = at + len;
	int r = 0;
	while (!r && at < end)
		r = take_entry(arg, &at, end);
	return r;
}

/* --- keeping --- */

/* K1: something of ours in it, or it is not the listing any more. */
static bool is_outdated_locked(const struct directory *d, const struct listing *ls)
{
	struct map_node *node = NULL;
	if (!d || d->listing != ls || !d->listed_ns || d->changing)
		return true;
	while ((node = map_next(&d->entries, node)))
		if (container_of(node, struct entry, node)->local_ns)
			return true;
	return false;
}

static int64_t to_wall_ns(uint64_t mono_ns)
{
	return clock_wall_ns() - (int64_t)(clock_now_ns() - mono_ns);
}

/* The listing that is to be kept (a reference), or NULL. */
static struct listing *begin_locked(struct names *nm, const char *dir,
				    struct index_listing *row)
{
	struct directory *d = names_dir_find_locked(nm, dir);
	if (d)
		d->keeping = false;
	if (!d || !d->listing || is_outdated_locked(d, d->listing) ||
	    !names_fresh(d->listed_ns, nm->conf.ttl_ns) ||
	    d->listing->n > KEPT_ENTRIES_MAX)
		return NULL;
	d->unkept = false;
	d->kept_serial++;
	row->entries = d->listing->n;
	row->pages = row->entries / PAGE_ENTRIES + 1;
	row->listed_ns = to_wall_ns(d->listed_ns);
	return listing_ref(d->listing);
}

static int fill_page(struct names *nm, const char *dir, const struct listing *ls,
		     uint32_t no, struct buf *out)
{
	SCOPED_LOCK(&nm->lock);
	uint32_t from = no * PAGE_ENTRIES, to = from + PAGE_ENTRIES;
	if (is_outdated_locked(names_dir_find_locked(nm, dir), ls))
		return -ESTALE;
	buf_reset(out);
	for (uint32_t i = from; i < to && i < ls->n; i++)
		put_entry(out, ls, i);
	return buf_error(out);
}

static int write_pages(struct names *nm, const char *dir, const struct listing *ls,
		       const struct index_listing *row)
{
	struct index *ix = blocks_index(nm->bl);
	CLEANUP_BUF struct buf body;
	uint64_t id;
	buf_init(&body, PAGE_MAX_BYTES);
	int r = index_names_begin(ix, dir, &id);
	for (uint32_t i = 0; !r && i < row->pages; i++) {
		r = fill_page(nm, dir, ls, i, &body);
		if (!r)
			r = index_names_add(ix, id, i, body.data, body.len);
	}
	return r ? r : index_names_finish(ix, id, dir, row);
}

static void keep(struct keeper *kp, const char *dir)
{
	struct names *nm = kp->nm;
	struct index_listing row = {.owner = kp->owner};
	(void)pthread_mutex_lock(&nm->lock);
	struct listing *ls = begin_locked(nm, dir, &row);
	(void)pthread_mutex_unlock(&nm->lock);
	if (!ls)
		return;
	int r = write_pages(nm, dir, ls, &row);
	if (r)
		(void)index_names_drop(blocks_index(nm->bl), dir);
	(void)pthread_mutex_lock(&nm->lock);
	listing_unref(ls);
	(void)pthread_mutex_unlock(&nm->lock);
}

static void wait_delay_locked(struct keeper *kp)
{
	uint64_t start_ns = clock_now_ns(), waited_ms = 0;
	for (; !kp->closing && waited_ms < DELAY_MS;
	     waited_ms = (clock_now_ns() - start_ns) / NS_PER_MS)
		cond_wait_ms(&kp->work, &kp->nm->lock, DELAY_MS - waited_ms);
}

static struct wish *next_locked(struct keeper *kp)
{
	struct wish *w = kp->first;
	if (!w)
		return NULL;
	kp->first = w->next;
	if (!kp->first)
		kp->last = &kp->first;
	return w;
}

static void keep_all(struct keeper *kp)
{
	struct names *nm = kp->nm;
	struct wish *w;
	do {
		(void)pthread_mutex_lock(&nm->lock);
		w = next_locked(kp);
		(void)pthread_mutex_unlock(&nm->lock);
		if (w)
			keep(kp, w->dir);
		free(w);
	} while (w);
	(void)index_names_bound(blocks_index(nm->bl), KEPT_ENTRIES_MAX);
}

static void *keeper_main(void *arg)
{
	struct keeper *kp = arg;
	struct names *nm = kp->nm;
	bool closing = false;
	(void)pthread_setname_np(pthread_self(), "keeper");
	while (!closing) {
		(void)pthread_mutex_lock(&nm->lock);
		while (!kp->closing && !kp->first)
			(void)pthread_cond_wait(&kp->work, &nm->lock);
		wait_delay_locked(kp);
		closing = kp->closing;
		bool any = kp->first != NULL;
		(void)pthread_mutex_unlock(&nm->lock);
		if (any)
			keep_all(kp);
	}
	return NULL;
}

void keeper_wake_locked(struct names *nm, struct directory *d)
{
	struct keeper *kp = nm->keeper;
	if (!kp || d->keeping)
		return;
	size_t size = strlen(d->path) + 1;
	struct wish *w = calloc(1, sizeof(*w) + size);
	if (!w)
		return; /* it costs the next mount a request */
	memcpy(w->dir, d->path, size);
	*kp->last = w;
	kp->last = &w->next;
	d->keeping = true;
	(void)pthread_cond_signal(&kp->work);
}

void keeper_drop(struct names *nm, const char *dir)
{
	uint64_t serial = 0;
	if (!nm->keeper)
		return;
	(void)pthread_mutex_lock(&nm->lock);
	struct directory *d = names_dir_find_locked(nm, dir);
	bool unkept = d && d->unkept;
	if (d)
		serial = d->kept_serial;
	(void)pthread_mutex_unlock(&nm->lock);
	if (unkept || index_names_drop(blocks_index(nm->bl), dir))
		return;
	SCOPED_LOCK(&nm->lock);
	d = names_dir_find_locked(nm, dir);
	if (d && d->kept_serial == serial)
		d->unkept = true;
}

/* --- believing --- */

/* When it was listed, monotonic; 0: it is too old to be believed, or of the future. */
static uint64_t listed_at(const struct names *nm, int64_t listed_ns)
{
	int64_t age = clock_wall_ns() - listed_ns;
	uint64_t now = clock_now_ns();
	bool good = age >= 0 && (uint64_t)age < nm->conf.ttl_ns && (uint64_t)age < now;
	return good ? now - (uint64_t)age : 0;
}

static struct listing *read_kept(struct names *nm, const char *dir, uint64_t *ret_began)
{
	struct index *ix = blocks_index(nm->bl);
	struct index_listing row = {.owner = nm->keeper->owner};
	uint64_t id;
	if (index_names_find(ix, dir, &row, &id))
		return NULL;
	*ret_began = listed_at(nm, row.listed_ns);
	struct listing *ls = *ret_began ? listing_new() : NULL;
	int r = ls ? 0 : -ENOENT;
	for (uint32_t i = 0; !r && i < row.pages; i++)
		r = index_names_page(ix, id, i, take_page, ls);
	if (!r && ls->n == row.entries)
		return ls;
	listing_unref(ls);
	return NULL;
}

static bool may_load(struct names *nm, const char *dir)
{
	SCOPED_LOCK(&nm->lock);
	struct directory *d = names_dir_get_locked(nm, dir);
	if (!d || d->looked || d->listing || d->lister)
		return false;
	d->looked = true;
	return true;
}

void keeper_load(struct names *nm, const char *dir)
{
	uint64_t began_ns;
	if (!nm->keeper || !may_load(nm, dir))
		return;
	struct listing *ls = read_kept(nm, dir, &began_ns);
	SCOPED_LOCK(&nm->lock);
	struct directory *d = ls ? names_dir_find_locked(nm, dir) : NULL;
	if (d && !d->listing && !d->lister && !d->unkept) {
		listing_trim(ls);
		names_install_locked(nm, d, ls, began_ns);
		d->keeping = false;
	}
	listing_unref(ls);
}

/* --- birth and end --- */

/* K2.  Of a machine that does not tell, nothing is kept. */
static char *make_owner(const char *store)
{
	char boot[64] = "", *owner = NULL;
	CLEANUP_CLOSE int fd =
		open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, boot, sizeof(boot) - 1);
	if (n <= 0 || asprintf(&owner, "%s %s", boot, store) < 0)
		return NULL;
	return owner;
}

static int start(struct names *nm, char *owner)
{
	struct keeper *kp = calloc(1, sizeof(*kp));
	if (!kp)
		return -ENOMEM;
	kp->nm = nm;
	kp->last = &kp->first;
	kp->owner = owner;
	cond_init_monotonic(&kp->work);
	nm->keeper = kp;
	int r = thread_start(&kp->thread, 0, keeper_main, kp);
	if (!r)
		return 0;
	nm->keeper = NULL;
	(void)pthread_cond_destroy(&kp->work);
	free(kp);
	return r;
}

int keeper_new(struct names *nm)
{
	char *owner = nm->conf.keep ? make_owner(nm->be->name) : NULL;
	/* K1: without a keeper nobody sees what our changes make old. */
	if (!owner)
		return index_names_bound(blocks_index(nm->bl), 0);
	int r = start(nm, owner);
	if (r)
		free(owner);
	return r;
}

void keeper_free(struct names *nm)
{
	struct keeper *kp = nm->keeper;
	if (!kp)
		return;
	(void)pthread_mutex_lock(&nm->lock);
	kp->closing = true;
	(void)pthread_cond_signal(&kp->work);
	(void)pthread_mutex_unlock(&nm->lock);
	(void)pthread_join(kp->thread, NULL);
	nm->keeper = NULL;
	(void)pthread_cond_destroy(&kp->work);
	free(kp->owner);
	free(kp);
}
