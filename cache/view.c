/* view.c - see view.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cache/spare.h"
#include "cache/view_impl.h"
#include "backends/util/cleanup.h"
#include "backends/util/log.h"
#include "backends/util/banned.h"

enum {
	NAMES_MAX = 400000,
	ROOM_STEP = 128 << 10, /* bytes; a commit takes some pages */
	ROOM_TURNS = 4,
};

/* Of listings believed for less nothing is kept for the next mount. */
static const uint64_t KEEP_TTL_NS = 5 * NS_PER_S;

static bool local_dir_is(const struct map_node *node, const void *key)
{
	return !strcmp(container_of(node, struct local_dir, node)->path, key);
}

static struct local_dir *local_dir_find_locked(struct view *vw, const char *path)
{
	struct map_node *node =
		map_find(&vw->local_dirs, map_hash_string(path), local_dir_is, path);
	return node ? container_of(node, struct local_dir, node) : NULL;
}

static bool has_local_dir(struct view *vw, const char *path)
{
	SCOPED_LOCK(&vw->lock);
	return local_dir_find_locked(vw, path) != NULL;
}

static int local_dir_add(struct view *vw, const char *path)
{
	size_t size = strlen(path) + 1;
	struct local_dir *ld = calloc(1, sizeof(*ld) + size);
	if (!ld)
		return -ENOMEM;
	memcpy(ld->path, path, size);
	SCOPED_LOCK(&vw->lock);
	int r = local_dir_find_locked(vw, path)
			? -EEXIST
			: map_insert(&vw->local_dirs, &ld->node, map_hash_string(path));
	if (r)
		free(ld);
	return r == -EEXIST ? 0 : r;
}

static void local_dir_remove(struct view *vw, const char *path)
{
	SCOPED_LOCK(&vw->lock);
	struct local_dir *ld = local_dir_find_locked(vw, path);
	if (!ld)
		return;
	map_remove(&vw->local_dirs, &ld->node);
	free(ld);
}

int dir_names_add(struct dir_names *list, const char *path)
{
	if (list->n == list->alloc) {
		size_t alloc = list->alloc ? 2 * list->alloc : 16;
		char **more = reallocarray(list->names, alloc, sizeof(*more));
		if (!more)
			return -ENOMEM;
		list->names = more;
		list->alloc = alloc;
	}
	char *copy = strdup(path);
	if (copy)
		list->names[list->n++] = copy;
	return copy ? 0 : -ENOMEM;
}

void dir_names_done(struct dir_names *list)
{
	for (size_t i = 0; i < list->n; i++)
		free(list->names[i]);
	free(list->names);
	*list = (struct dir_names){0};
}

int view_local_dirs(struct view *vw, const char *dir, struct dir_names *ret)
{
	size_t len = strlen(dir);
	struct map_node *node = NULL;
	SCOPED_LOCK(&vw->lock);
	while ((node = map_next(&vw->local_dirs, node))) {
		const char *path = container_of(node, struct local_dir, node)->path;
		bool in = !strncmp(path, dir, len) && (!path[len] || path[len] == '/');
		int r = in ? dir_names_add(ret, path) : 0;
		if (r)
			return r;
	}
	return 0;
}

void view_local_dirs_moved(struct view *vw, const struct dir_names *from,
			   const struct dir_names *to)
{
	for (size_t i = 0; i < to->n; i++)
		if (local_dir_add(vw, to->names[i]))
			log_warn("rename", "%s is seen from the next mount on: no memory",
				 to->names[i]);
	for (size_t i = 0; i < from->n; i++)
		local_dir_remove(vw, from->names[i]);
}

static char *marker_of(const char *path)
{
	char *marker = NULL;
	return asprintf(&marker, "%s/", path) < 0 ? NULL : marker;
}

/* --- looking --- */

void view_entry_done(struct view_entry *e)
{
	staged_unref(e->staged);
	e->staged = NULL;
}

bool view_is_removed(struct view *vw, const char *path, bool *ret_marker)
{
	/* No memory must not make a removed directory appear. */
	char marker[KEY_SIZE + 1];
	int n = snprintf(marker, sizeof(marker), "%s/", path);
	*ret_marker = n < (int)sizeof(marker) && removal_pending(vw->rm, marker);
	return removal_pending(vw->rm, path);
}

static struct staged *find_staged(struct view *vw, const char *path)
{
	struct staged *st = staged_find(vw->sg, path);
	if (st && staged_is_over(st)) {
		staged_unref(st);
		return NULL;
	}
	return st;
}

/* A local name that is not here: may the bucket have it all the same, from others or as a
 * directory?  One of a shape that other names have, too, is asked for; other ones if they
 * were listed, as downloads write name.part without a request (P6). */
static bool is_only_here(struct view *vw, const char *path)
{
	enum local_only kind = staging_local_kind(vw->sg, path);
	if (kind != LOCAL_BY_WORD)
		return kind == LOCAL_BELOW;
	return !names_was(vw->nm, path, NAME_FILE) && !names_was(vw->nm, path, NAME_DIR);
}

int view_lookup(struct view *vw, const char *path, struct view_entry *ret,
		struct call *call)
{
	*ret = (struct view_entry){.kind = NAME_DIR};
	if (!*path || has_local_dir(vw, path))
		return 0;
	struct staged *st = find_staged(vw, path);
	if (st) {
		ret->kind = NAME_FILE;
		ret->staged = st;
		return 0;
	}
	bool marker_gone;
	bool file_gone = view_is_removed(vw, path, &marker_gone);
	if (staging_has_below(vw->sg, path))
		return 0;
	/* What is only here and what was removed, perhaps to be written anew, is not
	 * asked for; but somebody may have made a directory in the place of the file:
	 * believed once it was listed.  In the place of a directory there may be any
	 * file, as elsewhere. */
	enum name_kind other = file_gone ? NAME_DIR : NAME_FILE;
	bool gone = file_gone || marker_gone;
	if (is_only_here(vw, path) ||
	    (file_gone && (marker_gone || !names_was(vw->nm, path, NAME_DIR))))
		return -ENOENT;
	int r = names_lookup(vw->nm, path, &ret->kind, &ret->object, call);
	return !r && gone && ret->kind != other ? -ENOENT : r;
}

bool view_is_local(const struct view *vw, const char *path)
{
	return staging_is_local(vw->sg, path);
}

bool view_holds_local(const struct view *vw, const char *dir)
{
	CLEANUP_FREE char *child = NULL;
	if (asprintf(&child, "%s/a", dir) < 0) {
		child = NULL;
		return false;
	}
	return view_is_local(vw, child);
}

struct staging *view_staging(struct view *vw)
{
	return vw->sg;
}

void view_forget(struct view *vw, const char *path)
{
	names_forget(vw->nm, path);
}

int view_check(struct view *vw, const char *path, const struct object *obj,
	       struct call *call)
{
	int r = backend_check(vw->be, path, obj, call);
	if (r != -ESTALE && r != -ENOENT)
		return r;
	names_forget(vw->nm, path);
	return -ESTALE;
}

int view_origin(struct view *vw, const char *path, const struct object *obj,
		struct buf *ret)
{
	return backend_origin(vw->be, path, obj, ret);
}

bool view_lasts(struct view *vw, const struct object *obj)
{
	return backend_lasts(vw->be, obj);
}

/* --- changing --- */

int view_create(struct view *vw, const char *path, const struct object *base,
		struct staged **ret)
{
	return staged_create(vw->sg, path, base, ret);
}

bool view_is_going(struct view *vw, const char *path)
{
	return !removal_none(vw->rm) && removal_pending(vw->rm, path);
}

int view_make_way(struct view *vw, const char *path, enum name_kind kind,
		  struct call *call)
{
	if (removal_none(vw->rm) || view_is_local(vw, path))
		return 0;
	CLEANUP_FREE char *marker = marker_of(path);
	if (!marker)
		return -ENOMEM;
	const char *other = kind == NAME_DIR ? path : marker;
	if (!removal_pending(vw->rm, other))
		return 0;
	return call ? removal_finish(vw->rm, other, call) : -EAGAIN;
}

void view_settle_removal(struct view *vw, const char *key)
{
	struct journal_change c = {.kind = JOURNAL_DEL_GONE, .key = key};
	/* It was acknowledged, or will be: after a loss of power it would be removed. */
	journal_forget(vw->jn, &c, 1, true);
	removal_settled(vw->rm, key);
}

static int put_marker(struct view *vw, const char *path, struct call *call)
{
	CLEANUP_FREE char *marker = marker_of(path);
	char etag[ETAG_SIZE], tags[TAGS_SIZE];
	int r = marker ? backend_settle(vw->be, call) : -ENOMEM;
	if (r)
		return r;
	bool held = removal_take(vw->rm, marker, etag, tags);
	/* No bytes: the descriptor is never read.  A marker that is there stays, it
	 * may have some. */
	struct source none = {.fd = -1};
	struct put_opts opts = {.cond.if_absent = vw->be->caps & BACKEND_PUT_IF};
	struct object obj;
	names_changing(vw->nm, path);
	r = backend_put(vw->be, marker, &none, &opts, &obj, call);
	if (r == -EEXIST)
		r = 0;
	if (!r)
		names_put_dir(vw->nm, path);
	else
		names_forget(vw->nm, path);
	names_changed(vw->nm, path);
	if (held && r)
		removal_release(vw->rm, marker);
	if (held && !r)
		view_settle_removal(vw, marker);
	return r;
}

int view_mkdir(struct view *vw, const char *path, struct call *call)
{
	if (!view_is_local(vw, path))
		return put_marker(vw, path, call);
	struct journal_change c = {.kind = JOURNAL_PUT_DIR, .key = path};
	int r = journal_commit(vw->jn, &c, 1, false);
	return r ? r : local_dir_add(vw, path);
}

int view_check_empty(struct view *vw, const char *path, struct call *call)
{
	struct view_stream *vs;
	struct name first;
	uint64_t place = 0;
	bool clean;
	int r = view_open(vw, path, &vs, call);
	if (r)
		return r;
	r = view_next(vs, &place, &first, &clean, call);
	/* What cannot be shown cannot be removed, and is the directory all the same. */
	if (!r && view_hides_some(vs))
		r = 1;
	view_close(vs);
	return r > 0 ? -ENOTEMPTY : r;
}

static int forget_local_dir(struct view *vw, const char *path)
{
	struct journal_change c = {.kind = JOURNAL_DEL_DIR, .key = path};
	int r = journal_commit(vw->jn, &c, 1, false);
	if (!r)
		local_dir_remove(vw, path);
	return r;
}

int view_rmdir(struct view *vw, const char *path, struct call *call)
{
	bool local = has_local_dir(vw, path);
	int r = view_check_empty(vw, path, call);
	CLEANUP_FREE char *marker = r ? NULL : marker_of(path);
	if (r || !marker)
		return r ? r : -ENOMEM;
	/* The files in one with a local name go to the bucket, and it is there as long as
	 * they are. */
	if (!local || !view_holds_local(vw, path))
		r = removal_add(vw->rm, marker, "", NULL);
	return !r && local ? forget_local_dir(vw, path) : r;
}

int view_unlink(struct view *vw, const struct view_entry *e, const char *path,
		struct version *open_version)
{
	if (e->staged && !staged_retired(e->staged))
		return staged_drop(e->staged);
	struct object obj = e->object;
	if (e->staged && !staged_object(e->staged, &obj))
		return 0; /* it had gone already */
	int r = removal_add(vw->rm, path, obj.etag,
			    view_lasts(vw, &obj) ? NULL : open_version);
	if (!r)
		staging_lose_name(vw->sg, path);
	return r;
}

int view_sync(struct view *vw)
{
	return vw->read_only ? 0 : journal_sync(vw->jn);
}

/* --- birth and end --- */

static int load_row(void *arg, const struct journal_row *row)
{
	struct view *vw = arg;
	return staging_load(vw->sg, row);
}

static int load_gone(void *arg, const char *key, const char *etag, const char *tag)
{
	struct view *vw = arg;
	return removal_load(vw->rm, key, etag, tag);
}

static int load_dir(void *arg, const char *key)
{
	return local_dir_add(arg, key);
}

static int load_upload(void *arg, const struct journal_upload *up)
{
	struct view *vw = arg;
	return staging_load_upload(vw->sg, up);
}

static int load_part(void *arg, uint64_t upload, const struct part *part, uint32_t crc)
{
	struct view *vw = arg;
	return staging_load_part(vw->sg, upload, part, crc);
}

/* What can be fetched again first, then a little of the spare room at a time, or the
 * next writer had all of it. */
static bool make_room(void *arg, uint32_t turn)
{
	struct view *vw = arg;
	if (!turn && blocks_shrink(vw->bl, ROOM_STEP))
		return true;
	return turn < ROOM_TURNS &&
	       spare_give(vw->cache_dir, ROOM_STEP, SPARE_START_BYTES);
}

static bool have_room_again(void *arg)
{
	struct view *vw = arg;
	return spare_fill(vw->cache_dir);
}

static int make_parts(struct view *vw, const struct view_conf *conf)
{
	struct names_conf nc = {.ttl_ns = conf->ttl_ns,
				.timeout_ns = conf->timeout_ns,
				.entries_max = NAMES_MAX,
				.keep = conf->ttl_ns >= KEEP_TTL_NS,
				.negative_ttl_ns = conf->ttl_ns < 5 * NS_PER_S
							   ? conf->ttl_ns
							   : 5 * NS_PER_S};
	struct removal_conf rc = {.delay_ns = NS_PER_S,
				  .retry_ns = 30 * NS_PER_S,
				  .timeout_ns = conf->timeout_ns,
				  .threads = 8};
	struct staging_conf sc = {.dir = conf->dir,
				  .local_only = conf->local_only,
				  .max_bytes = conf->staging_bytes,
				  .retry_ns = 30 * NS_PER_S,
				  .timeout_ns = conf->timeout_ns,
				  .threads = conf->uploaders};
	CLEANUP_FREE char *path = NULL;
	if (asprintf(&path, "%s/journal.db", conf->dir) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	struct journal_room room = {
		.arg = vw, .make = make_room, .again = have_room_again};
	int r = journal_open(path, &vw->jn);
	if (!r)
		journal_set_room(vw->jn, &room);
	if (!r)
		r = names_new(&nc, vw->be, vw->bl, &vw->nm);
	if (!r)
		r = removal_new(&rc, vw->be, vw->bl, vw->jn, vw->nm, &vw->rm);
	return r ? r : staging_new(&sc, vw->be, vw->bl, vw->jn, vw->nm, vw->rm, &vw->sg);
}

int view_new(const struct view_conf *conf, struct backend *be, struct blocks *bl,
	     struct view **ret)
{
	struct view *vw = calloc(1, sizeof(*vw));
	if (!vw)
		return -ENOMEM;
	vw->be = be;
	vw->bl = bl;
	vw->wait_uploads = conf->wait_uploads;
	vw->read_only = conf->read_only;
	vw->uploaders = conf->uploaders;
	vw->rename_max = conf->rename_max;
	vw->timeout_ns = conf->timeout_ns;
	(void)pthread_mutex_init(&vw->lock, NULL);
	struct journal_visitor visitor = {.arg = vw,
					  .row = load_row,
					  .gone = load_gone,
					  .dir = load_dir,
					  .upload = load_upload,
					  .part = load_part};
	vw->cache_dir = strdup(conf->dir);
	int r = vw->cache_dir ? make_parts(vw, conf) : -ENOMEM;
	if (!r)
		r = journal_load(vw->jn, &visitor);
	/* A read-only mount leaves what is pending to the next that may write.  What
	 * was written in place of a removed name takes its removal back first. */
	if (!r && !conf->read_only)
		r = staging_start(vw->sg);
	if (!r && !conf->read_only)
		r = removal_start(vw->rm);
	if (r) {
		view_free(vw);
		return r;
	}
	if (!conf->read_only)
		(void)spare_fill(conf->dir);
	*ret = vw;
	return 0;
}

uint64_t view_drain(struct view *vw, uint64_t deadline_ns)
{
	if (vw->read_only)
		return 0;
	/* Uploads go on by themselves while removals are sent, and not the other way
	 * round. */
	staging_hurry(vw->sg);
	(void)removal_drain(vw->rm, deadline_ns);
	uint64_t left = staging_drain(vw->sg, deadline_ns);
	return left + removal_drain(vw->rm, deadline_ns);
}

struct left {
	void (*fn)(void *arg, const char *key);
	void *arg;
};

static int tell_left(void *arg, const char *key, struct staged *st)
{
	const struct left *left = arg;
	if (staged_is_left_locked(st))
		left->fn(left->arg, key);
	return 0;
}

void view_each_left(struct view *vw, void (*fn)(void *arg, const char *key), void *arg)
{
	struct left left = {.fn = fn, .arg = arg};
	if (!vw->read_only)
		(void)staging_each(vw->sg, tell_left, &left);
}

void view_count(struct view *vw, struct staging_counts *ret, uint64_t *ret_removals)
{
	*ret = (struct staging_counts){0};
	*ret_removals = 0;
	if (vw->read_only)
		return;
	staging_count(vw->sg, ret);
	*ret_removals = removal_count(vw->rm);
}

void view_free(struct view *vw)
{
	if (!vw)
		return;
	staging_free(vw->sg);
	removal_free(vw->rm);
	names_free(vw->nm);
	journal_close(vw->jn);
	struct map_node *node = map_next(&vw->local_dirs, NULL);
	while (node) {
		struct map_node *next = map_next(&vw->local_dirs, node);
		free(container_of(node, struct local_dir, node));
		node = next;
	}
	map_done(&vw->local_dirs);
	free(vw->cache_dir);
	(void)pthread_mutex_destroy(&vw->lock);
	free(vw);
}
