/* staged_load.c - what the journal has of staged files when a mount begins: loaded, and
 * taken up again.  See staged.h. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "cache/staged_impl.h"
#include "backends/util/cleanup.h"
#include "backends/util/log.h"
#include "backends/util/banned.h"

/* Written by a daemon that died before any promise was made about it. */
static bool was_never_promised(const struct journal_row *row)
{
	return row->state == ROW_OPEN && !row->local && !row->synced;
}

/* Forget the row and its file, not before staging_start: a mount that may not write
 * leaves both as they are. */
static int drop_row(struct staging *sg, const struct journal_row *row)
{
	uint64_t *more = reallocarray(sg->dropped, sg->n_dropped + 1, sizeof(*more));
	if (!more)
		return -ENOMEM;
	sg->dropped = more;
	sg->dropped[sg->n_dropped++] = row->id;
	if (was_never_promised(row))
		log_warn("journal",
			 "%s was being written when the last mount ended and was neither "
			 "closed nor synced: the old contents stand",
			 row->key);
	else
		log_error("journal", "%s: its staged file %llu is missing", row->key,
			  (unsigned long long)row->id);
	return 0;
}

static int forget_dropped(struct staging *sg)
{
	int r = 0;
	for (size_t i = 0; !r && i < sg->n_dropped; i++) {
		struct journal_change c = {.kind = JOURNAL_DEL_ROW, .id = sg->dropped[i]};
		r = journal_commit(sg->jn, &c, 1, false);
	}
	free(STEAL(sg->dropped));
	sg->n_dropped = 0;
	return r;
}

/* -ENOENT: there is no file. */
static int load_file(struct staged *st, const struct journal_row *row)
{
	struct stat sb;
	st->fd = open(st->path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (st->fd < 0 || fstat(st->fd, &sb)) {
		int r = -errno;
		if (r != -ENOENT)
			log_error("journal", "%s: open %s: %s", row->key, st->path,
				  strerror(-r));
		return r;
	}
	atomic_store(&st->charged_bytes, (uint64_t)sb.st_size);
	atomic_fetch_add(&st->sg->used_bytes, (uint64_t)sb.st_size);
	if (row->state != ROW_SEALED || (uint64_t)sb.st_size == row->size)
		return 0;
	/* Not what was closed: never to be uploaded, but the rest of the files are
	 * no worse for it. */
	log_error("journal",
		  "%s: the staged file %s has %lld bytes, not %llu: it is kept and not "
		  "uploaded",
		  row->key, st->path, (long long)sb.st_size,
		  (unsigned long long)row->size);
	atomic_store(&st->state, STAGED_CONFLICT);
	return 0;
}

/* Which bytes are missing nobody knows any more. */
static void load_torn(struct staged *st, const struct journal_row *row)
{
	if (!row->torn || row->local || row->state != ROW_OPEN)
		return;
	torn_add(&st->missing, 0, UINT64_MAX);
	st->torn_error = -EIO;
	atomic_store(&st->torn, true);
	log_error("journal",
		  "%s: a write into it failed before the last mount ended: what there is "
		  "of it is kept here and not uploaded until it is written anew; copy "
		  "what you need of it, or remove it",
		  row->key);
}

static void load_fields(struct staged *st, const struct journal_row *row)
{
	static const enum staged_state states[] = {
		[ROW_OPEN] = STAGED_OPEN,
		[ROW_SEALED] = STAGED_SEALED,
		[ROW_CONFLICT] = STAGED_CONFLICT,
	};
	st->local = row->local;
	st->last_bytes = row->size;
	st->synced = row->synced;
	st->recovered = true;
	/* The daemon may have died after the last byte and before the row went. */
	st->uncertain = row->state == ROW_SEALED;
	st->uncertain_key = map_hash_string(st->key);
	staged_copy_string(st->base, sizeof(st->base), row->base);
	staged_copy_string(st->tag, sizeof(st->tag), row->tag);
	staged_copy_string(st->base_tags, sizeof(st->base_tags), row->base_tag);
	atomic_store(&st->mtime_set, row->mtime_set);
	load_torn(st, row);
	if (staged_get_state(st) == STAGED_OPEN)
		atomic_store(&st->state, states[row->state]);
	/* Synced but not closed: what fsync promised is uploaded as it is. */
	atomic_store(&st->dirty, row->state == ROW_OPEN);
}

int staging_load(struct staging *sg, const struct journal_row *row)
{
	if (row->state > ROW_CONFLICT || strlen(row->base) >= ETAG_SIZE ||
	    strlen(row->tag) >= TAG_SIZE || strlen(row->base_tag) >= TAGS_SIZE)
		return -EUCLEAN;
	if (*row->upload_id && *row->upload_id != PARTS_UNKNOWN)
		orphans_add(sg->orphans, 0, row->key, row->upload_id);
	if (was_never_promised(row))
		return drop_row(sg, row);
	struct staged *st = NULL;
	int r = staged_alloc(sg, row->id, row->key, &st);
	if (r)
		return r;
	r = load_file(st, row);
	if (r == -ENOENT && row->state != ROW_SEALED) {
		staged_unref(st);
		return drop_row(sg, row);
	}
	/* What was sealed may be in the bucket already. */
	if (!r || r == -ENOENT) {
		load_fields(st, row);
		SCOPED_LOCK(&sg->lock);
		/* Rows come in the order of their ids: an earlier generation of the
		 * name goes first (staged (3)). */
		struct staged *older = staged_find_locked(sg, st->key);
		if (older) {
			st->older = staged_ref(older);
			staged_unmap_locked(older);
		}
		r = staged_map_locked(st);
	}
	staged_unref(st);
	return r;
}

/* What fsync promised before the last daemon died goes up as it is.  What cannot be
 * sealed is tried again, and stays for the next mount. */
static void seal_recovered(struct staged *st)
{
	struct staging *sg = st->sg;
	char etag[ETAG_SIZE], tags[TAGS_SIZE];
	/* It was written in place of a name that was removed: one PUT, no DELETE. */
	bool held = removal_take(sg->rm, st->key, etag, tags);
	(void)pthread_mutex_lock(&sg->lock);
	st->holds_removal = held;
	(void)pthread_mutex_unlock(&sg->lock);
	(void)staged_publish(st, false, NULL);
}

static struct staged *next_recovered(struct staging *sg)
{
	SCOPED_LOCK(&sg->lock);
	struct map_node *node = NULL;
	while ((node = map_next(&sg->by_key, node))) {
		struct staged *st = container_of(node, struct staged, node);
		bool due = st->recovered && staged_get_state(st) == STAGED_OPEN &&
			   !st->local && !atomic_load(&st->torn);
		st->recovered = false;
		if (due)
			return staged_ref(st);
	}
	return NULL;
}

/* A row that should have gone when its upload was done, whose file is the cache's and
 * whose name was removed since: sealing takes a removal back, so this one is newer. */
static struct staged *next_outlived(struct staging *sg)
{
	SCOPED_LOCK(&sg->lock);
	struct map_node *node = NULL;
	while ((node = map_next(&sg->by_key, node))) {
		struct staged *st = container_of(node, struct staged, node);
		if (staged_get_state(st) != STAGED_SEALED || st->fd >= 0 || st->older ||
		    !removal_pending(sg->rm, st->key))
			continue;
		(void)staged_ref(st);
		staged_set_state_locked(st, STAGED_DROPPED);
		staged_unmap_locked(st);
		return st;
	}
	return NULL;
}

/* Were it looked for in the bucket, its name would be taken for present again. */
static int forget_outlived(struct staging *sg)
{
	struct staged *st;
	int r = 0;
	while (!r && (st = next_outlived(sg))) {
		struct journal_change c = {.kind = JOURNAL_DEL_ROW, .id = st->id};
		r = journal_commit(sg->jn, &c, 1, false);
		staged_unref(st);
	}
	return r;
}

/* A journal that knows nothing next to files that it should know: it was lost.  What
 * it had promised is put aside under a name that nothing here touches again.  An empty
 * file is one that was made before the first row of all, when the daemon died. */
static void remove_stray(struct staging *sg, int dir_fd, const char *name)
{
	char aside[300];
	struct stat sb;
	bool empty = !fstatat(dir_fd, name, &sb, AT_SYMLINK_NOFOLLOW) && !sb.st_size;
	if (empty || !journal_is_new(sg->jn)) {
		(void)unlinkat(dir_fd, name, 0);
		return;
	}
	(void)snprintf(aside, sizeof(aside), "%s.kept", name);
	(void)renameat(dir_fd, name, dir_fd, aside);
	log_error(
		"journal",
		"%s/%s is of a journal that is gone: it may hold a file that the bucket "
		"does not have, and is kept as %s",
		sg->dir, name, aside);
}

/* Files that no row names: made a moment before a crash, or DONE and not adopted. */
static int remove_strays(struct staging *sg)
{
	DIR *d = opendir(sg->dir);
	if (!d) {
		int r = -errno;
		log_error("journal", "open %s: %s", sg->dir, strerror(-r));
		return r;
	}
	struct dirent *de;
	while ((de = readdir(d))) {
		char *end;
		unsigned long long id = strtoull(de->d_name, &end, 10);
		if (*end || end == de->d_name)
			continue;
		bool known = false;
		struct map_node *node = NULL;
		while (!known && (node = map_next(&sg->by_key, node))) {
			struct staged *st = container_of(node, struct staged, node);
			for (; st && !known; st = st->older)
				known = st->id == id;
		}
		if (!known)
			remove_stray(sg, dirfd(d), de->d_name);
	}
	(void)closedir(d);
	return 0;
}

int staging_recover(struct staging *sg)
{
	int r = forget_dropped(sg);
	if (!r)
		r = forget_outlived(sg);
	if (!r)
		r = remove_strays(sg);
	struct staged *st;
	while (!r && (st = next_recovered(sg))) {
		seal_recovered(st);
		staged_unref(st);
	}
	return r;
}
