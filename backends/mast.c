/* mast.c - see mast.h.  Opening the archive, and what is asked of one file. */
#include "backends/mast.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "backends/mast_impl.h"
#include "backends/request.h"
#include "backends/s3.h"
#include "backends/util/cleanup.h"
#include "backends/util/log.h"
#include "backends/util/map.h"
#include "backends/util/banned.h"

#define ENDPOINT "https://s3.us-east-1.amazonaws.com"
#define REGION	 "us-east-1"
#define BUCKET	 "stpubdata"

#define SEEN_BYTES_MAX (UINT64_C(48) << 20)
/* While the archive cannot be reached, opens are not held up by asking it each time. */
#define SILENCE_NS (10 * NS_PER_S)

/* --- what is remembered --- */

bool mast_answer_holds(const struct mast_answer *a, bool negative)
{
	uint64_t ttl_ns = negative ? MAST_NEGATIVE_NS : MAST_TTL_NS;
	return clock_now_ns() < clock_add(mast_answer_asked_ns(a), ttl_ns);
}

void mast_note_program(struct mast *m, const char *key)
{
	int program = mast_path_program(key);
	if (program >= 0)
		atomic_fetch_or(&m->programs[program / 64], UINT64_C(1) << program % 64);
}

void mast_hint(struct mast *m, const char *path, int error)
{
	uint64_t hash = map_hash_string(path) ^ (uint64_t)-error;
	{
		SCOPED_LOCK(&m->lock);
		for (size_t i = 0; i < MAST_HINTED; i++)
			if (m->hinted[i] == hash)
				return;
		m->hinted[m->next_hinted++ % MAST_HINTED] = hash;
	}
	if (error == -EACCES)
		log_warn("mast",
			 "%s: exclusive-access data or not public: the archive's bucket "
			 "refuses it; with a MAST account that may see it, download it "
			 "from MAST",
			 path);
	else
		log_info("mast",
			 "%s: exclusive-access data or not public: the archive's bucket "
			 "does not have it; look whether the name is right, and whether "
			 "MAST offers it to your account",
			 path);
}

/* The three places where a key may be remembered. */
struct places {
	char obs[KEY_SIZE], dir[KEY_SIZE]; /* prefixes; obs "" = none */
	const char *file;
};

static void places_of(const char *path, const char *key, struct places *ret)
{
	size_t n = (size_t)(strrchr(key, '/') + 1 - key);
	memcpy(ret->dir, key, n);
	ret->dir[n] = '\0';
	ret->file = key + n;
	if (mast_path_obs_prefix(path, key, ret->obs))
		*ret->obs = '\0';
}

static void forget(struct mast *m, const char *path, const char *key)
{
	struct places p;
	places_of(path, key, &p);
	mast_seen_forget(m->seen, MAST_HEAD, key);
	mast_seen_forget(m->seen, MAST_LISTING, p.obs);
	mast_seen_forget(m->seen, MAST_LISTING, p.dir);
}

static void remember(struct mast *m, const char *key, const struct object *obj,
		     uint64_t asked_ns)
{
	struct mast_answer *a = mast_answer_new(MAST_HEAD, key, asked_ns);
	if (obj)
		mast_note_program(m, key);
	if (a && obj && mast_answer_add(a, "", obj))
		mast_answer_drop(&a);
	if (a)
		mast_seen_keep(m->seen, a);
}

/* The youngest of what is remembered of a key: 0 or -ENOENT, and when it was asked;
 * -EAGAIN: nothing, or it is too old. */
static int recall(struct mast *m, const char *path, const char *key, struct object *ret,
		  uint64_t *ret_ns)
{
	struct places p;
	places_of(path, key, &p);
	const struct {
		enum mast_kind kind;
		const char *key, *name;
	} asked[] = {{MAST_HEAD, key, ""},
		     {MAST_LISTING, p.obs, p.file},
		     {MAST_LISTING, p.dir, p.file}};
	int r = -EAGAIN;
	*ret_ns = 0;
	for (size_t i = 0; i < sizeof asked / sizeof *asked; i++) {
		CLEANUP_ANSWER struct mast_answer *a =
			mast_seen_get(m->seen, asked[i].kind, asked[i].key);
		if (!a || mast_answer_asked_ns(a) < *ret_ns)
			continue;
		int found = mast_answer_find(a, asked[i].name, ret);
		*ret_ns = mast_answer_asked_ns(a);
		r = mast_answer_holds(a, found < 0) ? found : -EAGAIN;
	}
	return r;
}

/* --- where a file is --- */

static int placed(struct mast *m, const char *file, char key[KEY_SIZE])
{
	struct object obj;
	bool is_dir;
	CLEANUP_ANSWER struct mast_answer *a = mast_seen_get(m->seen, MAST_PLACED, file);
	if (!a || !mast_answer_holds(a, !mast_answer_count(a)))
		return -EAGAIN;
	if (!mast_answer_count(a))
		return -ENOENT;
	const char *found = mast_answer_entry(a, 0, &obj, &is_dir);
	memcpy(key, found, strlen(found) + 1);
	return 0;
}

static int ask_place(struct mast *m, const char *file, char key[KEY_SIZE],
		     struct call *call)
{
	uint64_t asked_ns = clock_now_ns();
	int r = mast_lookup_ask(m->lookup, file, key, call);
	if (r && r != -ENOENT)
		return r;
	struct mast_answer *a = mast_answer_new(MAST_PLACED, file, asked_ns);
	if (a && !r && mast_answer_add(a, key, NULL))
		mast_answer_drop(&a);
	if (a)
		mast_seen_keep(m->seen, a);
	return r;
}

/* The key of a path; asks MAST only if that is on and may be waited for.  -ENOENT: there
 * is none; -EAGAIN: MAST would have to be asked. */
static int find_key(struct mast *m, const char *path, char key[KEY_SIZE], bool may_ask,
		    struct call *call)
{
	int r = mast_path_key(path, key);
	const char *file = r == -ENOENT && m->lookup ? mast_path_stray(path) : NULL;
	if (!file)
		return r;
	r = placed(m, file, key);
	return r == -EAGAIN && may_ask ? ask_place(m, file, key, call) : r;
}

/* --- operations --- */

static int ask_head(struct mast *m, const char *path, const char *key, struct object *ret,
		    struct first *first, struct call *call)
{
	uint64_t asked_ns = clock_now_ns();
	int r = backend_peek(m->inner, key, ret, first, call);
	if (!r || r == -ENOENT)
		remember(m, key, r ? NULL : ret, asked_ns);
	if (r == -ENOENT || r == -EACCES)
		mast_hint(m, path, r);
	return r;
}

static int mast_peek(struct backend *be, const char *path, struct object *ret,
		     struct first *first, struct call *call)
{
	struct mast *m = mast_of(be);
	char key[KEY_SIZE];
	uint64_t asked_ns;
	int r = find_key(m, path, key, true, call);
	if (r)
		return r;
	r = recall(m, path, key, ret, &asked_ns);
	return r == -EAGAIN ? ask_head(m, path, key, ret, first, call) : r;
}

static int mast_head(struct backend *be, const char *path, struct object *ret,
		     struct call *call)
{
	return mast_peek(be, path, ret, NULL, call);
}

static int mast_get(struct backend *be, const char *path, const struct object *obj,
		    uint64_t off, uint64_t len, sink_fn *sink, void *arg,
		    struct call *call)
{
	struct mast *m = mast_of(be);
	char key[KEY_SIZE];
	int r = find_key(m, path, key, true, call);
	if (r)
		return r == -ENOENT ? -ESTALE : r;
	r = backend_get(m->inner, key, obj, off, len, sink, arg, call);
	if (r == -ESTALE)
		forget(m, path, key);
	if (r == -EACCES)
		mast_hint(m, path, r);
	return r;
}

static int mast_origin(struct backend *be, const char *path, const struct object *obj,
		       struct buf *ret)
{
	struct mast *m = mast_of(be);
	char key[KEY_SIZE];
	int r = find_key(m, path, key, false, NULL);
	if (!r)
		return backend_origin(m->inner, key, obj, ret);
	buf_addf(ret, "%s%s", be->name, path);
	return buf_error(ret);
}

static int check_now(struct mast *m, const char *path, const char *key,
		     const struct object *obj, struct call *call)
{
	struct object now;
	uint64_t asked_ns = clock_now_ns();
	if (asked_ns < atomic_load(&m->silent_ns))
		return 0;
	int r = backend_head(m->inner, key, &now, call);
	if (r == -EINTR)
		return r;
	if (r && r != -ENOENT) {
		log_debug("mast", "check %s: %s; what is known holds", key, strerror(-r));
		if (store_errno_is_transient(r))
			atomic_store(&m->silent_ns, clock_add(asked_ns, SILENCE_NS));
		return 0;
	}
	if (r || strcmp(now.etag, obj->etag) != 0) {
		forget(m, path, key);
		log_info("mast", "%s: %s in the archive", key,
			 r ? "is not any more" : "has been reprocessed");
	}
	remember(m, key, r ? NULL : &now, asked_ns);
	return r || !strcmp(now.etag, obj->etag) ? r : -ESTALE;
}

static int mast_warm(struct backend *be, uint32_t n, struct call *call)
{
	return backend_warm(mast_of(be)->inner, n, call);
}

static int mast_check(struct backend *be, const char *path, const struct object *obj,
		      struct call *call)
{
	struct mast *m = mast_of(be);
	struct object known;
	uint64_t asked_ns;
	char key[KEY_SIZE];
	int r = find_key(m, path, key, call != NULL, call);
	if (r)
		return r;
	r = recall(m, path, key, &known, &asked_ns);
	bool young = r != -EAGAIN && clock_now_ns() < clock_add(asked_ns, m->ttl_ns);
	if (young)
		return r || !strcmp(known.etag, obj->etag) ? r : -ESTALE;
	return call ? check_now(m, path, key, obj, call) : -EAGAIN;
}

static bool mast_hides(struct backend *be, const char *path)
{
	return mast_path_is_hidden(path) ||
	       (mast_of(be)->lookup && mast_path_stray(path));
}

static int mast_probe(struct backend *be, bool writes, struct call *call)
{
	struct mast *m = mast_of(be);
	uint64_t until_ns = clock_add(clock_now_ns(), MAST_PROBE_NS);
	struct call brief = {.deadline_ns = until_ns};
	if (call) {
		brief = *call;
		if (brief.deadline_ns > until_ns)
			brief.deadline_ns = until_ns;
	}
	(void)writes;
	int r = backend_probe(m->inner, false, &brief);
	if (!m->waits || (!store_errno_is_transient(r) && r != -EHOSTUNREACH))
		return r;
	log_warn(
		"mast",
		"%s cannot be reached now (%s): files of the archive wait for it or fail",
		m->inner->name, strerror(-r));
	return 0;
}

static void mast_free(struct backend *be)
{
	struct mast *m = mast_of(be);
	backend_free(m->inner);
	mast_seen_free(m->seen);
	mast_lookup_free(m->lookup);
	(void)pthread_mutex_destroy(&m->lock);
	free(be->name);
	free(m);
}

static const struct backend_ops mast_ops = {
	.scheme = "mast",
	.free = mast_free,
	.probe = mast_probe,
	.head = mast_head,
	.peek = mast_peek,
	.get = mast_get,
	.list = mast_list,
	.origin = mast_origin,
	.check = mast_check,
	.hides = mast_hides,
	.warm = mast_warm,
};

int mast_new(struct backend *inner, const struct backend_conf *conf, struct backend **ret)
{
	struct mast *m = calloc(1, sizeof *m);
	if (!m) {
		backend_free(inner);
		return -ENOMEM;
	}
	(void)pthread_mutex_init(&m->lock, NULL);
	m->inner = inner;
	m->ttl_ns = conf->ttl_ns;
	m->waits = conf->wait;
	m->be.ops = &mast_ops;
	m->be.limits = inner->limits;
	m->be.name = strdup("mast:");
	int r = m->be.name ? mast_seen_new(SEEN_BYTES_MAX, &m->seen) : -ENOMEM;
	if (!r && conf->mast_lookup)
		r = mast_lookup_new(conf, &m->lookup);
	if (r) {
		mast_free(&m->be);
		return r;
	}
	*ret = &m->be;
	return 0;
}

static bool is_mast_url(const char *url)
{
	static const char start[] = "mast:";
	size_t n = sizeof start - 1;
	return !strncmp(url, start, n) && !url[n + strspn(url + n, "/")];
}

/* Everything is given, so that nothing of the user's own store is taken instead: not his
 * endpoint, not his region, not his keys. */
int mast_bucket_conf(const struct backend_conf *conf, struct backend_conf *ret,
		     char **ret_url)
{
	const char *bucket = conf->mast_bucket ? conf->mast_bucket : BUCKET;
	if (!is_mast_url(conf->url)) {
		log_error("mast", "\"%s\" is not mast: and nothing more", conf->url);
		return -EINVAL;
	}
	if (!*bucket || strchr(bucket, '/')) {
		log_error("mast", "mast_bucket \"%s\" is not the name of a bucket",
			  bucket);
		return -EINVAL;
	}
	if (asprintf(ret_url, "s3://%s", bucket) < 0) {
		*ret_url = NULL;
		return -ENOMEM;
	}
	*ret = (struct backend_conf){
		.url = *ret_url,
		.endpoint = conf->mast_endpoint ? conf->mast_endpoint : ENDPOINT,
		.region = REGION,
		.anonymous = true,
		.allow_http = conf->allow_http,
		.ca_file = conf->ca_file,
		.connections = conf->connections,
		.read_only = true,
		.ttl_ns = conf->ttl_ns,
	};
	return 0;
}

int mast_open(const struct backend_conf *conf, struct backend **ret)
{
	CLEANUP_FREE char *url = NULL;
	struct backend_conf inner_conf;
	struct backend *inner;
	int r = mast_bucket_conf(conf, &inner_conf, &url);
	if (!r)
		r = s3_open(&inner_conf, &inner);
	return r ? r : mast_new(inner, conf, ret);
}
