/* names_impl.h - what the files of names share.  Nobody else includes this.
 *
 *   names.c        what is remembered, and what is answered from it
 *   names_ask.c    whether a name is there
 *   names_list.c   a directory, read while its pages arrive
 *   names_range.c  the pages: asked for on threads, one range after another or
 *                  several at once
 *   names_keep.c   complete listings, kept for the next mount
 */
#ifndef CACHE_NAMES_IMPL_H
#define CACHE_NAMES_IMPL_H
#include <pthread.h>
#include <stdatomic.h>
#include "backends/util/cond.h"
#include "backends/util/map.h"
#include "backends/util/pool.h"
#include "cache/listing.h"
#include "cache/names.h"

/* The last two: one of that kind was removed, of the other nothing is known. */
enum answer { IS_FILE, IS_DIR, IS_ABSENT, IS_NO_FILE, IS_NO_DIR };

/* One name that was asked for by itself, or that this mount put or removed. */
struct entry {
	struct map_node node; /* in its directory's entries, by name */
	uint64_t size;	      /* bytes */
	int64_t mtime_ns;     /* since the epoch */
	uint64_t known_ns;    /* when the bucket was asked, or we did it; monotonic */
	uint64_t local_ns;    /* when we did it ourselves; 0 = heard from the bucket */
	enum answer answer;
	bool exact;	  /* the mtime is the user's, a listing's may not be */
	const char *etag; /* into text, behind the name */
	char text[];	  /* name, NUL, etag, NUL */
};

/* Where entries and the listing tell of the same name, the entry is newer. */
struct directory {
	struct map_node node; /* in names.dirs, by path */
	struct map entries;
	struct listing *listing; /* complete, or NULL */
	uint64_t listed_ns;	 /* when it began; 0 = it is not believed */
	struct lister *lister;	 /* whose pages are coming, or NULL; a reference */
	uint64_t used_ns;
	uint64_t doubted_ns; /* when something of it last proved wrong */
	uint64_t counted;    /* of names.n_entries */
	uint32_t asked;	     /* questions for one name of it since; see names_often.c */
	uint32_t pages;	     /* so many of those are a reason to list it */
	uint32_t pins;	     /* while not 0, nobody frees it */
	uint32_t changing;   /* changes of ours that are on their way: it is not kept */
	bool unkept;  /* nothing of it is kept on disk, as far as we made that so */
	bool looked;  /* for what is kept on disk */
	bool keeping; /* queued to be kept */
	uint64_t kept_serial; /* how often that was begun */
	char path[];
};

/* A listing whose pages come in.  Guarded by names.lock but for what a range's own job
 * uses, see names_range.c. */
struct lister {
	/* set once */
	struct names *nm;
	char *path, *prefix; /* owned; prefix: with a slash behind, or "" */
	uint64_t began_ns;

	atomic_bool cancelled;
	struct lister *next, **link; /* in names.listers */
	struct directory *dir;	     /* pinned until done */
	struct listing *listing;     /* reference; grows */
	uint32_t refs;
	uint32_t users; /* who reads it or waits for it */
	uint32_t ready; /* numbers below it are settled: see names_range.c */
	bool any;	/* something is there, if only the marker */
	bool wanted;	/* all of it; else the first page will do */
	bool paused;	/* after the first page */
	bool done;
	int error; /* once done */

	struct range *ranges; /* owned; in order, those that are not done */
	char *first;	      /* owned: the first name of all */
	uint32_t pages, running, cuts_left;
	bool serial; /* not to be split (any more) */
	bool again;  /* what was split was wrong: from the start, serially */
	bool refused; /* a range of our making was not answered */
	int failed;
	uint64_t hidden; /* keys that cannot be file names */
	struct buf first_hidden;
};

struct names {
	/* set once */
	struct names_conf conf;
	struct backend *be; /* borrowed */
	struct blocks *bl;  /* borrowed */
	struct pool *askers;
	struct keeper *keeper; /* NULL: nothing is kept */

	/* guarded by lock */
	pthread_mutex_t lock;
	pthread_cond_t arrived; /* pages, or the end of a lister */
	struct map dirs;
	struct lister *listers;
	uint64_t n_entries;
	bool unsplit; /* the store does not start where it is asked to */
	uint32_t refusals; /* listings that were begun again for one, in a row */
	bool stopping;
};

/* Functions whose name ends in _locked: names.lock is held. */
struct entry *names_entry_find(const struct map *entries, const char *name);
struct directory *names_dir_find_locked(struct names *nm, const char *path);
struct directory *names_dir_get_locked(struct names *nm, const char *path);
/* Its entries or its listing changed. */
void names_count_locked(struct names *nm, struct directory *d);
void names_shrink_locked(struct names *nm, const struct directory *keep);
/* ls, as it was when the bucket was asked at began_ns, is what is believed of d. */
void names_install_locked(struct names *nm, struct directory *d, struct listing *ls,
			  uint64_t began_ns);
/* asked_ns: when the question was asked; 0 = we did it ourselves, just now. */
void names_note(struct names *nm, const char *path, enum answer answer,
		const struct object *obj, uint64_t asked_ns);
/* A directory; what tells of it was asked for at listed_ns, perhaps before. */
void names_note_dir(struct names *nm, const char *path, uint64_t asked_ns,
		    uint64_t listed_ns);
bool names_fresh(uint64_t since_ns, uint64_t ttl_ns);
/* It tells that there is none of that kind. */
bool names_entry_denies(const struct entry *e, bool dir);
void names_entry_object(const struct entry *e, struct object *ret);
int names_lookup_known(struct names *nm, const char *path, const char *dir,
		       const char *name, enum name_kind *ret_kind,
		       struct object *ret_obj);
char *names_split(const char *path, const char **ret_name);

/* --- what a listing shows --- */

/* Can a file or a directory have this name of len bytes?  No key has two names, and no
 * two keys of a kind have one in a directory. */
bool names_is_possible(const char *name, size_t len);
/* The name in the directory of that prefix; dir: the key ends in the slash of one.
 * false: the key cannot be shown. */
bool names_of_key(const char *prefix, const char *key, size_t key_len, bool dir,
		  char ret[NAME_MAX_BYTES + 1]);

/* --- listers --- */

/* names_range.c: the first page is asked for. */
int lister_go_locked(struct lister *lr);
/* A paused one goes on, to its end. */
int lister_resume_locked(struct lister *lr);
/* P9: nobody reads it, and it is not kept for who comes later: it is too long or too
 * old, or its directory has another by now. */
bool lister_is_in_vain_locked(const struct lister *lr);
/* Its ranges, of which none runs, go. */
void lister_done_locked(struct lister *lr);
/* names_list.c */
void lister_unref_locked(struct lister *lr);
void lister_delist_locked(struct lister *lr);
/* Its pages are only for those who read it already. */
void lister_orphan_locked(struct names *nm, struct directory *d);
/* It is over: what came is the directory's from now on, if it can be kept. */
void lister_leave_locked(struct lister *lr, struct directory *d);
/* All of it is asked for, if it is not on its way; who comes later finds it. */
int lister_begin_locked(struct names *nm, struct directory *d);
/* Whether there is such a directory.  1: yes, and since when that is known. */
int names_dir_exists(struct names *nm, const char *path, uint64_t *ret_listed_ns,
		     struct call *call);

/* --- names_often.c --- */

/* The bucket was asked for one name of that directory. */
void names_asked(struct names *nm, const char *dir);
/* A listing is over; kept: there is one to ask now. */
void names_listed_locked(struct directory *d, uint32_t pages, bool kept);

/* --- kept for the next mount: nothing without a keeper --- */

/* If nothing is to be kept, or nobody can say for whom: drops what another mount kept. */
int keeper_new(struct names *nm);
/* Keeps what waits for it. */
void keeper_free(struct names *nm);
/* A complete listing was installed. */
void keeper_wake_locked(struct names *nm, struct directory *d);
/* This mount changes something in the directory: what is kept of it goes, before
 * anybody hears of the change.  Not under names.lock. */
void keeper_drop(struct names *nm, const char *dir);
/* Believe what was kept of the directory, if it is fresh; once for each. */
void keeper_load(struct names *nm, const char *dir);
#endif
