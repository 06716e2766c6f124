/* names_list.c - a directory of the bucket, read while its pages arrive.
 *
 * One listing is asked for at a time, for all who want it.  Whoever only wants to know
 * whether the directory is there has its first page asked for; the rest waits until
 * somebody reads the directory, and is forgotten if nobody does soon.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "backends/util/cleanup.h"
#include "cache/names_impl.h"
#include "backends/util/banned.h"

enum { SLICE_MS = 100 }; /* a cancelled wait ends after this long at the latest */

/* How long a first page is good for going on from it. */
static const uint64_t paused_max_ns = 5 * NS_PER_S;

struct names_stream {
	/* set once */
	struct names *nm;
	struct directory *dir;	 /* pinned */
	struct listing *listing; /* reference */
	struct lister *lister;	 /* reference: where it grows; NULL = it is complete */
	uint64_t began_ns;
};

/* --- listers --- */

void lister_delist_locked(struct lister *lr)
{
	if (!lr->link)
		return;
	*lr->link = lr->next;
	if (lr->next)
		lr->next->link = lr->link;
	lr->link = NULL;
}

void lister_unref_locked(struct lister *lr)
{
	if (!lr || --lr->refs)
		return;
	lister_delist_locked(lr);
	lister_done_locked(lr);
	listing_unref(lr->listing);
	buf_done(&lr->first_hidden);
	free(lr->first);
	free(lr->path);
	free(lr->prefix);
	free(lr);
}

/* Paused ones have nobody who would end them, and those without a reader nobody who
 * waits for the end. */
void lister_orphan_locked(struct names *nm, struct directory *d)
{
	struct lister *lr = d->lister;
	if (!lr)
		return;
	d->lister = NULL;
	if (lr->paused) {
		d->pins--;
		lr->dir = NULL;
	} else if (lister_is_in_vain_locked(lr)) {
		atomic_store(&lr->cancelled, true);
	}
	names_count_locked(nm, d);
	lister_unref_locked(lr);
}

void lister_leave_locked(struct lister *lr, struct directory *d)
{
	struct names *nm = lr->nm;
	/* P9: one that is longer than all that may be kept is for its readers alone. */
	bool kept = !lr->error && lr->listing->n <= nm->conf.entries_max;
	d->lister = NULL;
	names_listed_locked(d, lr->pages, kept);
	if (kept) {
		names_install_locked(nm, d, lr->listing, lr->began_ns);
		if (!lr->listing->hides) /* which is not kept with it */
			keeper_wake_locked(nm, d);
	}
	lister_unref_locked(lr);
}

static struct lister *lister_new(struct names *nm, struct directory *d)
{
	struct lister *lr = calloc(1, sizeof(*lr));
	if (!lr)
		return NULL;
	lr->nm = nm;
	lr->refs = 1;
	lr->began_ns = clock_now_ns();
	buf_init(&lr->first_hidden, 256);
	lr->path = strdup(d->path);
	lr->listing = listing_new();
	if (asprintf(&lr->prefix, "%s%s", d->path, *d->path ? "/" : "") < 0)
		lr->prefix = NULL;
	if (lr->path && lr->listing && lr->prefix)
		return lr;
	lister_unref_locked(lr);
	return NULL;
}

/* The reference is d's, which is pinned until the lister is done. */
static int start_locked(struct names *nm, struct directory *d, bool wanted)
{
	struct lister *lr = lister_new(nm, d);
	if (!lr)
		return -ENOMEM;
	lr->wanted = wanted;
	lr->dir = d;
	int r = nm->stopping ? -ESHUTDOWN : lister_go_locked(lr);
	if (r) {
		lister_unref_locked(lr);
		return r;
	}
	d->lister = lr;
	d->pins++;
	lr->next = nm->listers;
	lr->link = &nm->listers;
	if (lr->next)
		lr->next->link = &lr->next;
	nm->listers = lr;
	return 0;
}

/* One that began before somebody's doubt, or is older than what is believed, is not for
 * who comes after it. */
static bool is_current(const struct names *nm, const struct directory *d)
{
	const struct lister *lr = d->lister;
	uint64_t max_ns = nm->conf.ttl_ns;
	if (!lr || d->doubted_ns >= lr->began_ns || atomic_load(&lr->cancelled))
		return false;
	if (lr->paused && max_ns > paused_max_ns)
		max_ns = paused_max_ns;
	return names_fresh(lr->began_ns, max_ns);
}

/* d->lister: asks at least for the first page, for all if wanted. */
static int ask_locked(struct names *nm, struct directory *d, bool wanted)
{
	if (!is_current(nm, d)) {
		lister_orphan_locked(nm, d);
		return start_locked(nm, d, wanted);
	}
	if (wanted && d->lister->paused)
		return lister_resume_locked(d->lister);
	d->lister->wanted |= wanted;
	return 0;
}

int lister_begin_locked(struct names *nm, struct directory *d)
{
	return ask_locked(nm, d, true);
}

static int wait_locked(struct names *nm, struct call *call)
{
	int r = call_check(call);
	if (!r)
		cond_wait_ms(&nm->arrived, &nm->lock, SLICE_MS);
	return r;
}

/* Until there is more than the first no entries, or the end, or (a first page only)
 * something at all.  If the last who waits gives up, so does the lister. */
static int await_locked(struct lister *lr, uint32_t no, struct call *call)
{
	int r = 0;
	lr->users++;
	while (!r && !lr->done && lr->ready <= no && !lr->paused)
		r = wait_locked(lr->nm, call);
	lr->users--;
	if (r && !lr->users && !lr->done)
		atomic_store(&lr->cancelled, true);
	return r;
}

/* --- questions --- */

static bool is_listed(const struct names *nm, const struct directory *d)
{
	return d && d->listing && names_fresh(d->listed_ns, nm->conf.ttl_ns);
}

/* Of a complete listing: is there something that is not known to have gone since? */
static bool shows_any_locked(const struct directory *d)
{
	const struct listing *ls = d->listing;
	for (uint32_t i = 0; i < ls->n; i++) {
		const struct entry *e =
			d->entries.n ? names_entry_find(&d->entries, listing_name(ls, i))
				     : NULL;
		if (!e || !names_entry_denies(e, ls->entries[i].dir))
			return true;
	}
	return false;
}

static int check_length(const char *dir)
{
	return strlen(dir) + 1 >= KEY_SIZE ? -ENAMETOOLONG : 0;
}

/* P8: who asked before since_ns, when we came, had a deadline before ours. */
static bool is_anothers(int r, uint64_t began_ns, uint64_t since_ns, struct call *call)
{
	return (r == -ETIMEDOUT || r == -EIO) && began_ns < since_ns && !call_check(call);
}

/* As names_dir_exists, but once. */
static int ask_dir_locked(struct names *nm, const char *path, uint64_t *ret_listed_ns,
			  struct call *call)
{
	struct directory *d = names_dir_get_locked(nm, path);
	*ret_listed_ns = CLOCK_NEVER; /* nobody was asked */
	if (!d)
		return -ENOMEM;
	if (is_listed(nm, d) && shows_any_locked(d)) {
		*ret_listed_ns = d->listed_ns;
		return 1;
	}
	int r = ask_locked(nm, d, false);
	if (r)
		return r;
	struct lister *lr = d->lister;
	lr->refs++;
	*ret_listed_ns = lr->began_ns;
	r = await_locked(lr, 0, call);
	if (!r)
		r = lr->any ? 1 : lr->error;
	lister_unref_locked(lr);
	return r;
}

int names_dir_exists(struct names *nm, const char *path, uint64_t *ret_listed_ns,
		     struct call *call)
{
	uint64_t since_ns = clock_now_ns();
	int r = check_length(path);
	if (r)
		return r;
	keeper_load(nm, path);
	SCOPED_LOCK(&nm->lock);
	do
		r = ask_dir_locked(nm, path, ret_listed_ns, call);
	while (is_anothers(r, *ret_listed_ns, since_ns, call));
	return r;
}

/* --- streams --- */

/* What is known better than by the listing and may not be in it. */
static int add_known_locked(const struct names_stream *s, struct listing *known)
{
	struct map_node *node = NULL;
	while ((node = map_next(&s->dir->entries, node))) {
		const struct entry *e = container_of(node, struct entry, node);
		struct object obj;
		if (e->answer >= IS_ABSENT || e->known_ns < s->began_ns)
			continue;
		names_entry_object(e, &obj);
		int r = listing_add(known, e->text, e->answer == IS_DIR ? NULL : &obj);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Where the entries come from: what is complete, or a lister that has some or may be
 * waited for.  s is as names_close wants it, also after an error. */
static int open_locked(struct names_stream *s, struct call *call)
{
	struct names *nm = s->nm;
	struct directory *d = s->dir;
	if (is_listed(nm, d)) {
		s->listing = listing_ref(d->listing);
		s->began_ns = d->listed_ns;
		return 0;
	}
	bool flows = is_current(nm, d) && !d->lister->paused && d->lister->ready;
	if (!flows && !call)
		return -EAGAIN;
	int r = ask_locked(nm, d, true);
	if (r)
		return r;
	s->lister = d->lister;
	s->lister->refs++;
	s->listing = listing_ref(s->lister->listing);
	s->began_ns = s->lister->began_ns;
	r = flows ? 0 : await_locked(s->lister, 0, call);
	s->lister->users++;
	return !r && s->lister->done ? s->lister->error : r;
}

static void let_go_locked(struct names_stream *s)
{
	struct lister *lr = STEAL(s->lister);
	if (lr && !--lr->users && lister_is_in_vain_locked(lr))
		atomic_store(&lr->cancelled, true);
	listing_unref(STEAL(s->listing));
	lister_unref_locked(lr);
}

int names_open(struct names *nm, const char *dir, struct listing *known,
	       struct names_stream **ret, struct call *call)
{
	uint64_t since_ns = clock_now_ns();
	int r = check_length(dir);
	if (!r && call)
		keeper_load(nm, dir);
	struct names_stream *s = r ? NULL : calloc(1, sizeof(*s));
	if (!s)
		return r ? r : -ENOMEM;
	(void)pthread_mutex_lock(&nm->lock);
	s->nm = nm;
	s->dir = names_dir_get_locked(nm, dir);
	r = s->dir ? 0 : -ENOMEM;
	if (!r) {
		s->dir->pins++;
		do {
			let_go_locked(s);
			r = open_locked(s, call);
		} while (is_anothers(r, s->began_ns, since_ns, call));
	}
	if (!r)
		r = add_known_locked(s, known);
	(void)pthread_mutex_unlock(&nm->lock);
	if (r) {
		names_close(s);
		return r;
	}
	*ret = s;
	return 0;
}

/* What is known better than by the listing; NULL: nothing. */
static const struct entry *newer_locked(const struct names_stream *s, const char *name)
{
	const struct map *entries = &s->dir->entries;
	const struct entry *e = entries->n ? names_entry_find(entries, name) : NULL;
	bool newer = e && (e->known_ns >= s->began_ns || e->local_ns >= s->began_ns);
	return newer ? e : NULL;
}

/* A listing that began after ours took with it all that was older than itself: what it
 * does not show has gone, and nothing else tells of that any more.  NULL: there is none.
 */
static const struct listing *later_locked(const struct names_stream *s)
{
	const struct directory *d = s->dir;
	bool later = d->listing != s->listing && d->listed_ns > s->began_ns;
	return later ? d->listing : NULL;
}

bool names_lost(struct names_stream *s, const struct name *name)
{
	SCOPED_LOCK(&s->nm->lock);
	const struct entry *e = newer_locked(s, name->name);
	const struct listing *later = e ? NULL : later_locked(s);
	if (later)
		return listing_find(later, name->name) == LISTING_NONE;
	return e && names_entry_denies(e, name->kind == NAME_DIR);
}

/* As that listing has it. */
static bool listed_locked(const struct listing *ls, const char *name, struct name *ret)
{
	uint32_t no = listing_find(ls, name);
	if (no == LISTING_NONE)
		return false;
	(void)snprintf(ret->name, sizeof(ret->name), "%s", name);
	ret->kind = ls->entries[no].dir ? NAME_DIR : NAME_FILE;
	if (ret->kind == NAME_FILE)
		listing_object(ls, no, &ret->object);
	return true;
}

/* As this mount or a later answer has it.  false: it is gone. */
static bool entry_locked(const struct names_stream *s, uint32_t no, struct name *ret)
{
	const char *name = listing_name(s->listing, no);
	const struct entry *e = newer_locked(s, name);
	const struct listing *later = later_locked(s);
	bool dir = s->listing->entries[no].dir;
	if (e && names_entry_denies(e, dir))
		return false;
	if (!e || e->answer >= IS_ABSENT)
		return listed_locked(later ? later : s->listing, name, ret);
	(void)snprintf(ret->name, sizeof(ret->name), "%s", name);
	ret->kind = e->answer == IS_DIR ? NAME_DIR : NAME_FILE;
	if (ret->kind == NAME_FILE)
		names_entry_object(e, &ret->object);
	return true;
}

/* What may be read without waiting ends here. */
static uint32_t ready_locked(const struct names_stream *s)
{
	return s->lister ? s->lister->ready : s->listing->n;
}

int names_next(struct names_stream *s, uint32_t *no, struct name *ret, struct call *call)
{
	SCOPED_LOCK(&s->nm->lock);
	for (;;) {
		for (; *no < ready_locked(s); ++*no)
			if (entry_locked(s, *no, ret))
				return 1;
		if (!s->lister || s->lister->done)
			return s->lister ? s->lister->error : 0;
		if (!call)
			return -EAGAIN;
		int r = await_locked(s->lister, *no, call);
		if (r)
			return r;
	}
}

bool names_hide_some(struct names_stream *s)
{
	SCOPED_LOCK(&s->nm->lock);
	return s->listing->hides;
}

void names_close(struct names_stream *s)
{
	struct names *nm = s->nm;
	SCOPED_LOCK(&nm->lock);
	if (s->dir)
		s->dir->pins--;
	let_go_locked(s);
	free(s);
}
