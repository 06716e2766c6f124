/* union_white.c - see union_white.h. */
#include "backends/union_white.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "backends/util/cleanup.h"
#include "backends/util/log.h"
#include "backends/util/map.h"
#include "backends/util/banned.h"

enum { WHITES_MAX = 200000, PREFIX_LEN = sizeof(WHITE_PREFIX) - 1 };

struct white {
	struct map_node node;
	char name[];
};

struct white_dir {
	struct map_node node; /* in whites.dirs, by path */
	struct map names;
	uint64_t known_ns; /* when it was asked for; monotonic */
	uint64_t changes;  /* whites.changes then */
	char path[];	   /* "" or ends in '/' */
};

struct whites {
	/* set once */
	struct backend *own; /* borrowed */
	uint64_t ttl_ns;

	/* guarded by lock */
	pthread_mutex_t lock;
	struct map dirs;
	size_t n;	  /* directories and names */
	uint64_t changes; /* whiteouts put or cleared here */
};

static bool white_is(const struct map_node *node, const void *key)
{
	return !strcmp(container_of(node, struct white, node)->name, key);
}

static bool dir_is(const struct map_node *node, const void *key)
{
	return !strcmp(container_of(node, struct white_dir, node)->path, key);
}

static struct map_node *find_name(const struct white_dir *d, const char *name)
{
	return map_find(&d->names, map_hash_string(name), white_is, name);
}

int white_dir_note(struct white_dir *d, const char *name)
{
	size_t size = strlen(name) + 1;
	if (find_name(d, name))
		return 0;
	if (d->names.n >= WHITES_MAX) {
		log_error("union", "%s: more than %d names were removed there", d->path,
			  (int)WHITES_MAX);
		return -ENOMEM;
	}
	struct white *white = malloc(sizeof(*white) + size);
	if (!white)
		return -ENOMEM;
	memcpy(white->name, name, size);
	int r = map_insert(&d->names, &white->node, map_hash_string(name));
	if (r)
		free(white);
	return r;
}

void white_dir_free(struct white_dir *d)
{
	if (!d)
		return;
	struct map_node *node = map_next(&d->names, NULL);
	while (node) {
		struct map_node *next = map_next(&d->names, node);
		free(container_of(node, struct white, node));
		node = next;
	}
	map_done(&d->names);
	free(d);
}

static struct white_dir *find_locked(struct whites *w, const char *path)
{
	struct map_node *node = map_find(&w->dirs, map_hash_string(path), dir_is, path);
	return node ? container_of(node, struct white_dir, node) : NULL;
}

static void forget_locked(struct whites *w, struct white_dir *d)
{
	map_remove(&w->dirs, &d->node);
	w->n -= 1 + d->names.n;
	white_dir_free(d);
}

static void forget_all_locked(struct whites *w)
{
	struct map_node *node;
	while ((node = map_next(&w->dirs, NULL)))
		forget_locked(w, container_of(node, struct white_dir, node));
}

struct white_dir *whites_begin(struct whites *w, const char *dir)
{
	size_t size = strlen(dir) + 1;
	struct white_dir *d = calloc(1, sizeof(*d) + size);
	if (!d)
		return NULL;
	memcpy(d->path, dir, size);
	d->known_ns = clock_now_ns();
	SCOPED_LOCK(&w->lock);
	d->changes = w->changes;
	return d;
}

void whites_learn(struct whites *w, struct white_dir *d)
{
	size_t more = 1 + d->names.n;
	SCOPED_LOCK(&w->lock);
	struct white_dir *old = find_locked(w, d->path);
	/* It may lack what was put while it was on its way. */
	if (d->changes != w->changes) {
		white_dir_free(d);
		return;
	}
	if (old)
		forget_locked(w, old);
	if (w->n + more > WHITES_MAX)
		forget_all_locked(w);
	if (map_insert(&w->dirs, &d->node, map_hash_string(d->path)))
		white_dir_free(d);
	else
		w->n += more;
}

/* 1 or 0; -EAGAIN: it must be asked for. */
static int look_here(struct whites *w, const char *dir, const char *name)
{
	SCOPED_LOCK(&w->lock);
	const struct white_dir *d = find_locked(w, dir);
	if (!d || clock_now_ns() >= clock_add(d->known_ns, w->ttl_ns))
		return -EAGAIN;
	return find_name(d, name) != NULL;
}

struct whites_listing {
	struct white_dir *d;
	size_t skip; /* bytes of the key before the hidden name */
};

static int listed(void *arg, const char *key, size_t key_len, const struct object *obj)
{
	struct whites_listing *ls = arg;
	if (!obj || key_len <= ls->skip || strlen(key) != key_len)
		return 0;
	return white_dir_note(ls->d, key + ls->skip);
}

/* "a/.wh.": where the whiteouts of "a/" are. */
static int white_key(const char *dir, const char *name, char ret[KEY_SIZE])
{
	size_t dir_len = strlen(dir), name_len = strlen(name);
	if (dir_len + PREFIX_LEN + name_len >= KEY_SIZE)
		return -ENAMETOOLONG;
	memcpy(ret, dir, dir_len);
	memcpy(ret + dir_len, WHITE_PREFIX, PREFIX_LEN);
	memcpy(ret + dir_len + PREFIX_LEN, name, name_len + 1);
	return 0;
}

static int list_whites(struct whites *w, struct white_dir *d, struct call *call)
{
	char prefix[KEY_SIZE];
	/* In a directory with so long a name nothing could be removed. */
	if (white_key(d->path, "", prefix))
		return 0;
	struct whites_listing ls = {.d = d, .skip = strlen(prefix)};
	struct list_query q = {.prefix = prefix, .delim = '/'};
	return backend_list_all(w->own, &q, listed, &ls, call);
}

static int look(struct whites *w, const char *dir, const char *name, struct call *call)
{
	int r = look_here(w, dir, name);
	if (r != -EAGAIN)
		return r;
	struct white_dir *d = whites_begin(w, dir);
	if (!d)
		return -ENOMEM;
	r = list_whites(w, d, call);
	if (r) {
		white_dir_free(d);
		return r;
	}
	r = find_name(d, name) != NULL;
	whites_learn(w, d);
	return r;
}

/* "a/b/c" or "a/b/c/" -> "a/b/" and "c". */
static int split(const char *key, char ret_dir[KEY_SIZE], char ret_name[KEY_SIZE])
{
	size_t len = strnlen(key, KEY_SIZE), at;
	if (len == KEY_SIZE)
		return -ENAMETOOLONG;
	if (len && key[len - 1] == '/')
		len--;
	for (at = len; at && key[at - 1] != '/'; at--)
		;
	memcpy(ret_dir, key, at);
	ret_dir[at] = '\0';
	memcpy(ret_name, key + at, len - at);
	ret_name[len - at] = '\0';
	return 0;
}

bool whites_reserved(const char *key)
{
	return !strncmp(key, WHITE_PREFIX, PREFIX_LEN) || strstr(key, "/" WHITE_PREFIX);
}

int whites_hide(struct whites *w, const char *key, struct call *call)
{
	char dir[KEY_SIZE], name[KEY_SIZE];
	size_t len = strnlen(key, KEY_SIZE), at = 0;
	if (len == KEY_SIZE)
		return -ENAMETOOLONG;
	while (at < len) {
		size_t n = strcspn(key + at, "/");
		memcpy(dir, key, at);
		dir[at] = '\0';
		memcpy(name, key + at, n);
		name[n] = '\0';
		int r = n ? look(w, dir, name, call) : 0;
		if (r)
			return r;
		at += n + 1;
	}
	return 0;
}

static void note_put(struct whites *w, const char *dir, const char *name)
{
	SCOPED_LOCK(&w->lock);
	struct white_dir *d = find_locked(w, dir);
	w->changes++;
	if (!d)
		return;
	w->n -= d->names.n;
	int r = white_dir_note(d, name);
	w->n += d->names.n;
	if (r || w->n > WHITES_MAX)
		forget_locked(w, d);
}

int whites_put(struct whites *w, const char *key, struct call *call)
{
	char dir[KEY_SIZE], name[KEY_SIZE], white[KEY_SIZE];
	int r = split(key, dir, name);
	if (!r)
		r = white_key(dir, name, white);
	if (r)
		return r;
	/* No bytes: the descriptor is never read. */
	struct source none = {.fd = -1};
	struct put_opts opts = {.mtime_ns = 0};
	struct object obj;
	r = backend_put(w->own, white, &none, &opts, &obj, call);
	if (!r)
		note_put(w, dir, name);
	return r;
}

static int remove_each(struct whites *w, const struct white_dir *d, struct call *call)
{
	char key[KEY_SIZE];
	const struct cond any = {0};
	for (struct map_node *node = NULL; (node = map_next(&d->names, node));) {
		int r = white_key(d->path, container_of(node, struct white, node)->name,
				  key);
		if (!r)
			r = backend_del(w->own, key, &any, call);
		if (r && r != -ENOENT)
			return r;
	}
	return 0;
}

int whites_clear(struct whites *w, const char *dir, struct call *call)
{
	struct white_dir *d = whites_begin(w, dir);
	if (!d)
		return -ENOMEM;
	int r = list_whites(w, d, call);
	if (!r)
		r = remove_each(w, d, call);
	white_dir_free(d);
	SCOPED_LOCK(&w->lock);
	struct white_dir *known = find_locked(w, dir);
	w->changes++;
	if (known)
		forget_locked(w, known);
	return r;
}

int whites_new(struct backend *own, uint64_t ttl_ns, struct whites **ret)
{
	struct whites *w = calloc(1, sizeof(*w));
	if (!w)
		return -ENOMEM;
	w->own = own;
	/* Each name of a listing asks: once for all of them at least. */
	w->ttl_ns = ttl_ns < NS_PER_S ? NS_PER_S : ttl_ns;
	(void)pthread_mutex_init(&w->lock, NULL);
	*ret = w;
	return 0;
}

void whites_free(struct whites *w)
{
	if (!w)
		return;
	forget_all_locked(w);
	map_done(&w->dirs);
	(void)pthread_mutex_destroy(&w->lock);
	free(w);
}
