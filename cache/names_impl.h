/* names_impl.h - what names.c and names_ask.c share.  Nobody else includes this. */
#ifndef CACHE_NAMES_IMPL_H
#define CACHE_NAMES_IMPL_H
#include <pthread.h>
#include "backends/util/map.h"
#include "cache/names.h"

enum answer { IS_FILE, IS_DIR, IS_ABSENT };

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

struct directory {
	struct map_node node; /* in names.dirs, by path */
	struct map entries;
	uint64_t listed_ns; /* when a complete listing began; 0 = there is none */
	uint64_t used_ns;
	uint64_t doubted_ns; /* when something of it last proved wrong */
	bool listing;	     /* somebody is asking the bucket right now */
	char path[];
};

struct names {
	/* set once */
	struct names_conf conf;
	struct backend *be; /* borrowed */
	struct blocks *bl;  /* borrowed */

	/* guarded by lock */
	pthread_mutex_t lock;
	pthread_cond_t listed;
	struct map dirs;
	uint64_t n_entries;
};

/* Functions whose name ends in _locked: names.lock is held. */
struct entry *names_entry_find(const struct map *entries, const char *name);
struct entry *names_entry_new(const char *name, enum answer answer,
			      const struct object *obj, uint64_t known_ns);
void names_entry_object(const struct entry *e, struct object *ret);
void names_entries_clear(struct map *entries);
struct directory *names_dir_find_locked(struct names *nm, const char *path);
struct directory *names_dir_get_locked(struct names *nm, const char *path);
void names_shrink_locked(struct names *nm, const struct directory *keep);
void names_note(struct names *nm, const char *path, enum answer answer,
		const struct object *obj, uint64_t asked_ns);
bool names_fresh(uint64_t since_ns, uint64_t ttl_ns);
int names_lookup_known(struct names *nm, const char *path, const char *dir,
		       const char *name, enum name_kind *ret_kind,
		       struct object *ret_obj);
char *names_split(const char *path, const char **ret_name);
#endif
