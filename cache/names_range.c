/* names_range.c - the pages of a listing.  See names_list.c.
 *
 * A listing starts as one range, all names.  When it turns out long and the store can
 * start behind a given key, what is left is cut into ranges that are asked for at once
 * (split.h), each on a thread of the pool.  What comes is put together in order: the
 * first range's pages go into the listing as they arrive, those of later ranges wait.
 *
 *   L1  Ranges cover all names: one ends where the next begins.
 *   L2  A file is shown (lister.ready) only once no page can bring a directory of its
 *       name any more: "a/" comes behind "a-b", and the directory wins.
 *   L3  Whatever shows that the store has no order, or did not start where it was asked
 *       to, ends the splitting: everything is listed once more, serially, and what is
 *       there already is not added again.
 *   L4  A page that cannot be had is the listing's error; what came before it is shown
 *       as far as it is in order, and then the error, never an end (P10).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "backends/util/cleanup.h"
#include "backends/util/log.h"
#include "cache/names_impl.h"
#include "cache/split.h"
#include "backends/util/banned.h"

enum {
	RANGES_AT_ONCE = 8,
	/* A short listing is not worth what wrong guesses cost. */
	SPLIT_AFTER_PAGES = 4,
	FIRST_CUTS = 3, /* of SPLIT_CUTS_MAX: the others when these have told more */
	EMPTY_PAGES_MAX = 1000, /* in a row; a store may send some */
	REFUSALS_MAX = 2,
};

struct range {
	struct range *next; /* in lister.ranges */
	struct lister *lr;
	/* its job's own */
	char *after; /* owned: names behind this one; NULL = all */
	char *token; /* owned */
	uint32_t empty_pages; /* in a row: those that brought nothing new */
	char *furthest;	      /* owned: the last of all names; NULL = there was none */
	char *old_token; /* owned: of some page before; see goes_round */
	uint64_t since_old, old_after;
	/* guarded by names.lock */
	char *end;		 /* owned: up to this name; NULL = all */
	char *page_first, *last; /* owned: on the last page; NULL = there was none */
	struct listing *waiting; /* what waits for the ranges before; NULL = nothing */
	bool done;
};

/* One page, before it is taken in.  Keys are below the directory; those of directories
 * keep their slash, so that they sort as the store has them. */
struct page {
	struct lister *lr;
	struct listing *listing;
	char first[KEY_SIZE], last[KEY_SIZE]; /* "" = the page is empty */
	bool any;
	uint64_t hidden;
	char first_hidden[200];
};

/* --- taking a page in --- */

bool names_is_possible(const char *name, size_t len)
{
	bool dots = len && len <= 2 && name[0] == '.' && name[len - 1] == '.';
	return len && len <= NAME_MAX_BYTES && !dots && !memchr(name, '/', len) &&
	       !memchr(name, '\0', len);
}

bool names_of_key(const char *prefix, const char *key, size_t key_len, bool dir,
		  char ret[NAME_MAX_BYTES + 1])
{
	size_t skip = strlen(prefix), cut = dir ? 1 : 0;
	if (key_len <= skip + cut || !names_is_possible(key + skip, key_len - skip - cut))
		return false;
	memcpy(ret, key + skip, key_len - skip - cut);
	ret[key_len - skip - cut] = '\0';
	return true;
}

static void hide(struct page *p, const char *key, size_t len)
{
	if (!p->hidden++)
		(void)snprintf(p->first_hidden, sizeof(p->first_hidden), "%.*s",
			       (int)(len < 199 ? len : 199), key);
}

static void note_place(struct page *p, const char *key, size_t len)
{
	if (!*p->first) {
		memcpy(p->first, key, len);
		p->first[len] = '\0';
	}
	memcpy(p->last, key, len);
	p->last[len] = '\0';
}

static int page_entry(void *arg, const char *key, size_t key_len,
		      const struct object *obj)
{
	struct page *p = arg;
	size_t skip = strlen(p->lr->prefix);
	p->any = true;
	if (key_len == skip)
		return 0; /* the directory's own marker */
	char name[NAME_MAX_BYTES + 1];
	if (key_len > skip)
		note_place(p, key + skip, key_len - skip);
	if (!names_of_key(p->lr->prefix, key, key_len, !obj, name)) {
		hide(p, key, key_len);
		return 0;
	}

	struct object known;
	if (obj && !(p->lr->nm->be->caps & BACKEND_LIST_META)) {
		known = *obj;
		(void)blocks_get_mtime(p->lr->nm->bl, key, obj->etag, &known.mtime_ns);
		obj = &known;
	}
	int r = listing_add(p->listing, name, obj);
	return r < 0 ? r : 0;
}

static int ask_page(struct range *rg, struct page *p)
{
	struct lister *lr = rg->lr;
	CLEANUP_FREE char *after = NULL;
	struct call call = {.deadline_ns = CLOCK_NEVER, .cancelled = &lr->cancelled};
	if (lr->nm->conf.timeout_ns)
		call.deadline_ns = clock_add(clock_now_ns(), lr->nm->conf.timeout_ns);
	*p = (struct page){.lr = lr, .listing = listing_new()};
	if (!p->listing ||
	    (rg->after && asprintf(&after, "%s%s", lr->prefix, rg->after) < 0))
		return -ENOMEM;
	struct list_query q = {.prefix = lr->prefix, .delim = '/', .after = after};
	return backend_list(lr->nm->be, &q, &rg->token, page_entry, p, &call);
}

/* The number of the first entry that sorts behind end. */
static uint32_t cut_at(const struct listing *ls, const char *end)
{
	uint32_t n = ls->n;
	while (end && n && strcmp(listing_name(ls, n - 1), end) > 0)
		n--;
	return n;
}

/* What was taken of the range reaches so far; NULL = nothing yet. */
static const char *reach(const struct range *rg)
{
	bool past = rg->end && rg->last && strcmp(rg->last, rg->end) > 0;
	return past ? rg->end : rg->last;
}

/* L2.  A file that is the start of the last name may have its directory still to come
 * if the next character sorts before the slash. */
static void settle_locked(const struct range *rg)
{
	struct lister *lr = rg->lr;
	char name[NAME_MAX_BYTES + 1];
	const char *last = reach(rg);
	if (!last)
		return;
	lr->ready = lr->listing->n;
	for (size_t len = 1; last[len - 1] && len <= NAME_MAX_BYTES; len++) {
		if ((unsigned char)last[len] >= '/')
			continue;
		memcpy(name, last, len);
		name[len] = '\0';
		uint32_t no = listing_find(lr->listing, name);
		if (no < lr->ready && !lr->listing->entries[no].dir)
			lr->ready = no;
	}
}

static int add_locked(struct lister *lr, struct range *rg, const struct page *p,
		      uint32_t n)
{
	bool head = rg == lr->ranges;
	if (!head && !rg->waiting && !(rg->waiting = listing_new()))
		return -ENOMEM;
	struct listing *to = head ? lr->listing : rg->waiting;
	int r = listing_append(to, p->listing, 0, n);
	if (!r && head)
		settle_locked(rg);
	return r;
}

static int keep_string(char **to, const char *s)
{
	char *copy = strdup(s);
	if (!copy)
		return -ENOMEM;
	free(*to);
	*to = copy;
	return 0;
}

/* L3.  Only what was split relies on the order. */
static bool is_out_of_order(const struct lister *lr, const struct range *rg,
			    const struct page *p)
{
	if (!*p->first || lr->serial)
		return false;
	return (rg->after && strcmp(p->first, rg->after) <= 0) ||
	       (rg->last && strcmp(p->first, rg->last) < 0);
}

static void note_hidden(struct lister *lr, const struct page *p)
{
	if (p->hidden && !lr->hidden)
		buf_adds(&lr->first_hidden, p->first_hidden);
	lr->hidden += p->hidden;
}

/* A page that was had before would come for ever.  The one token that is kept is
 * exchanged after 1, 2, 4 ... pages, so that a circle of any length meets it (Brent).
 * 0, 1 or -ENOMEM. */
static int goes_round(struct range *rg)
{
	if (!rg->token)
		return 0;
	if (rg->old_token && !strcmp(rg->token, rg->old_token))
		return 1;
	if (rg->since_old++ < rg->old_after)
		return 0;
	rg->since_old = 0;
	rg->old_after = rg->old_after ? 2 * rg->old_after : 1;
	return keep_string(&rg->old_token, rg->token);
}

/* Does the server go on and on?  0 or -EIO, -ENOMEM. */
static int check_end(struct range *rg)
{
	struct lister *lr = rg->lr;
	int round = goes_round(rg);
	if (round < 0)
		return round;
	if (!round && rg->empty_pages <= EMPTY_PAGES_MAX)
		return 0;
	log_error("names", "list %s/%s: the server sends %s without end",
		  lr->nm->be->name, lr->prefix,
		  round ? "the same pages" : "pages with nothing new");
	return -EIO;
}

static uint64_t arrived_locked(const struct lister *lr)
{
	uint64_t n = lr->listing->n;
	for (const struct range *rg = lr->ranges; rg; rg = rg->next)
		n += rg->waiting ? rg->waiting->n : 0;
	return n;
}

/* A page with names is new if it shows one more or goes further than all before: one
 * whose names are hidden may, and so may one that is listed once more. */
static int note_progress(struct range *rg, const struct page *p, bool grown)
{
	bool further = *p->last && (!rg->furthest || strcmp(p->last, rg->furthest) > 0);
	rg->empty_pages = grown || further ? 0 : rg->empty_pages + 1;
	return further ? keep_string(&rg->furthest, p->last) : 0;
}

/* The page is good: into the listing, as far as it is the range's. */
static int take_page_locked(struct range *rg, const struct page *p)
{
	struct lister *lr = rg->lr;
	int r = 0;
	lr->pages++;
	lr->any |= p->any;
	note_hidden(lr, p);
	if (rg->after)
		lr->nm->refusals = 0;
	if (*p->first) {
		r = keep_string(&rg->page_first, p->first);
		if (!r)
			r = keep_string(&rg->last, p->last);
		if (!r && !lr->first)
			r = keep_string(&lr->first, p->first);
	}
	uint64_t before = arrived_locked(lr);
	if (!r)
		r = add_locked(lr, rg, p, cut_at(p->listing, rg->end));
	if (!r)
		r = note_progress(rg, p, arrived_locked(lr) > before);
	bool past = rg->end && rg->last && strcmp(rg->last, rg->end) > 0;
	rg->done = past || !rg->token;
	return r ? r : check_end(rg);
}

/* --- ranges --- */

static void range_free(struct range *rg)
{
	free(rg->after);
	free(rg->token);
	free(rg->old_token);
	free(rg->end);
	free(rg->page_first);
	free(rg->last);
	free(rg->furthest);
	listing_unref(rg->waiting);
	free(rg);
}

static void ranges_free_locked(struct lister *lr)
{
	while (lr->ranges) {
		struct range *rg = lr->ranges;
		lr->ranges = rg->next;
		range_free(rg);
	}
}

static void run_range(void *arg);

/* Behind prev (NULL: the only one), from after on (owned from here) to where prev ended.
 * Its job starts. */
static int range_start_locked(struct lister *lr, struct range *prev, char *after)
{
	struct range *rg = calloc(1, sizeof(*rg));
	char *prev_end = after ? strdup(after) : NULL;
	int r = !rg || (after && !prev_end) ? -ENOMEM : 0;
	if (!r) {
		rg->lr = lr;
		rg->after = after;
		r = pool_submit(lr->nm->askers, PRIO_DEMAND, run_range, rg);
	}
	if (r) {
		free(rg);
		free(after);
		free(prev_end);
		return r;
	}
	lr->running++;
	if (prev) {
		rg->end = prev->end;
		prev->end = prev_end;
		rg->next = prev->next;
		prev->next = rg;
	} else {
		free(prev_end);
		lr->ranges = rg;
	}
	return 0;
}

/* L1: what was rg's behind the first cut is the new ranges' now.  Last first, so that
 * what could not be started stays with the one before. */
static bool cut_locked(struct lister *lr, struct range *rg, char cuts[][SPLIT_CUT_SIZE],
		       uint32_t n)
{
	while (n--) {
		char *after = strdup(cuts[n]);
		if (!after || range_start_locked(lr, rg, after))
			return false;
		lr->cuts_left--;
	}
	return true;
}

static struct split_range seen_of(const struct range *rg)
{
	return (struct split_range){.first = rg->lr->first,
				    .page_first = rg->page_first,
				    .page_last = rg->last,
				    .end = rg->end};
}

/* The range whose cuts divide most of what is left; NULL: none is worth it, or there is
 * one of which nothing is known yet: cuts are few, and it may be the longest. */
static struct range *longest_locked(struct lister *lr)
{
	char cuts[SPLIT_CUTS_MAX][SPLIT_CUT_SIZE];
	uint32_t place, best = UINT32_MAX;
	struct range *ret = NULL;
	for (struct range *rg = lr->ranges; rg; rg = rg->next) {
		struct split_range seen = seen_of(rg);
		if (!rg->done && !rg->last)
			return NULL;
		if (!rg->done && rg->last && split_range(&seen, 1, cuts, &place) &&
		    place < best) {
			best = place;
			ret = rg;
		}
	}
	return ret;
}

/* Make ranges while there are requests to make. */
static void split_locked(struct lister *lr)
{
	char cuts[SPLIT_CUTS_MAX][SPLIT_CUT_SIZE];
	if (lr->serial || lr->pages < SPLIT_AFTER_PAGES || !lr->first)
		return;
	while (lr->running < RANGES_AT_ONCE && lr->cuts_left) {
		bool first = lr->cuts_left == SPLIT_CUTS_MAX;
		uint32_t want = RANGES_AT_ONCE - lr->running, n = 0, place;
		want = want < lr->cuts_left ? want : lr->cuts_left;
		struct range *rg = first ? lr->ranges : longest_locked(lr);
		if (!rg || !rg->last || rg->done)
			return;
		struct split_range seen = seen_of(rg);
		if (first)
			n = split_first(&seen, FIRST_CUTS, cuts);
		if (!n)
			n = split_range(&seen, want, cuts, &place);
		if (!n || !cut_locked(lr, rg, cuts, n))
			return;
	}
}

/* The ranges that are done, from the front: the next one's pages are in order now. */
static int advance_locked(struct lister *lr)
{
	while (lr->ranges && lr->ranges->done) {
		struct range *rg = lr->ranges, *next = rg->next;
		lr->ranges = next;
		range_free(rg);
		if (!next || !next->waiting)
			continue;
		int r = listing_append(lr->listing, next->waiting, 0, next->waiting->n);
		if (r)
			return r;
		listing_unref(STEAL(next->waiting));
		settle_locked(next);
	}
	return 0;
}

/* --- the end --- */

bool lister_is_in_vain_locked(const struct lister *lr)
{
	bool kept = lr->dir && lr->dir->lister == lr &&
		    names_fresh(lr->began_ns, lr->nm->conf.ttl_ns) &&
		    arrived_locked(lr) <= lr->nm->conf.entries_max;
	return !lr->done && !lr->users && !kept;
}

static void report_hidden(const struct lister *lr)
{
	if (lr->hidden)
		log_warn("names",
			 "list %s/%s: %llu keys cannot be file names and are not shown "
			 "(the first: \"%s\")",
			 lr->nm->be->name, lr->prefix, (unsigned long long)lr->hidden,
			 lr->first_hidden.data);
}

/* Retried, a refusal looks like an outage.  The listing as a whole came, so there was
 * none any more; but one may have ended just then, and that does not happen again. */
static void note_refusal_locked(struct lister *lr)
{
	if (lr->refused && !lr->error && ++lr->nm->refusals >= REFUSALS_MAX)
		lr->nm->unsplit = true;
}

/* What ran for it is over: only its readers have it from now on. */
static void finish_locked(struct lister *lr)
{
	struct directory *d = lr->dir;
	lr->done = true;
	lr->dir = NULL;
	lister_delist_locked(lr);
	lr->error = lr->failed;
	note_refusal_locked(lr);
	if (!lr->error) {
		listing_trim(lr->listing);
		lr->ready = lr->listing->n;
		lr->listing->hides = lr->hidden > 0;
		report_hidden(lr);
	}
	ranges_free_locked(lr);
	if (d->lister == lr)
		lister_leave_locked(lr, d);
	d->pins--;
	lister_unref_locked(lr); /* what ran */
}

/* L3 */
static void begin_again_locked(struct lister *lr)
{
	lr->again = false;
	lr->serial = true;
	lr->failed = 0;
	lr->hidden = 0;
	buf_reset(&lr->first_hidden);
	ranges_free_locked(lr);
	log_info("names", "list %s/%s: the listing cannot be split: once more as a whole",
		 lr->nm->be->name, lr->prefix);
	lr->failed = range_start_locked(lr, NULL, NULL);
}

/* What came of a page.  false: this range asks no more. */
static bool take_locked(struct range *rg, const struct page *p, int r)
{
	struct lister *lr = rg->lr;
	if (lr->failed || lr->again)
		return false;
	/* A range of our own making may be refused for what was asked in it. */
	bool doubtful = rg->after && !rg->last && r < 0 && r != -EINTR &&
			r != -ETIMEDOUT && r != -EACCES && r != -EKEYEXPIRED &&
			r != -ENODEV;
	bool disorder = !r && is_out_of_order(lr, rg, p);
	if (doubtful || disorder) {
		lr->again = true;
		lr->refused = doubtful;
		lr->nm->unsplit |= disorder || r == -EOPNOTSUPP;
		return false;
	}
	if (!r)
		r = take_page_locked(rg, p);
	bool more = !r && !rg->done;
	if (!r)
		r = advance_locked(lr);
	if (!r && more && !lr->wanted && lr->any) {
		lr->paused = lr->dir->lister == lr; /* else nobody will go on */
		names_count_locked(lr->nm, lr->dir);
		return false;
	}
	if (!r && lister_is_in_vain_locked(lr))
		r = -ECANCELED;
	if (r) {
		lr->failed = r;
		atomic_store(&lr->cancelled, true);
		return false;
	}
	split_locked(lr);
	return more;
}

static void run_range(void *arg)
{
	struct range *rg = arg;
	struct lister *lr = rg->lr;
	struct names *nm = lr->nm;
	for (bool more = true; more;) {
		struct page p;
		int r = ask_page(rg, &p);
		(void)pthread_mutex_lock(&nm->lock);
		more = take_locked(rg, &p, r);
		if (!more) {
			lr->running--;
			if (!lr->running && lr->again)
				begin_again_locked(lr);
			if (!lr->running && lr->paused)
				lister_unref_locked(lr); /* its directory's is left */
			else if (!lr->running)
				finish_locked(lr);
		}
		(void)pthread_cond_broadcast(&nm->arrived);
		(void)pthread_mutex_unlock(&nm->lock);
		listing_unref(p.listing);
	}
}

/* --- beginning --- */

int lister_go_locked(struct lister *lr)
{
	lr->cuts_left = SPLIT_CUTS_MAX;
	lr->serial = lr->nm->unsplit || !(lr->nm->be->caps & BACKEND_LIST_AFTER);
	int r = range_start_locked(lr, NULL, NULL);
	if (!r)
		lr->refs++; /* what runs */
	return r;
}

int lister_resume_locked(struct lister *lr)
{
	int r = pool_submit(lr->nm->askers, PRIO_DEMAND, run_range, lr->ranges);
	if (r)
		return r;
	lr->wanted = true;
	lr->paused = false;
	lr->running++;
	lr->refs++;
	names_count_locked(lr->nm, lr->dir);
	return 0;
}

void lister_done_locked(struct lister *lr)
{
	ranges_free_locked(lr);
}
