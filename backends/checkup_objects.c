/* checkup_objects.c - what the credentials allow, each found out with an object of our
 * own under a probe's name (probe.h), which is removed again whatever happens. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "backends/checkup_impl.h"
#include "backends/date.h"
#include "backends/probe.h"
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "backends/util/banned.h"

static const char content[] = "mastfs doctor was here, and takes this away again.\n";
enum { CONTENT_BYTES = sizeof content - 1, RANGE_FROM = 7, RANGE_BYTES = 6 };

struct trial {
	struct checkup *c;
	struct source src;
	char key[PROBE_NAME_SIZE];
	struct object obj; /* of key, once it is there */
};

/* --- reading --- */

/* What came of a get: is it what was put? */
struct taken {
	uint64_t bytes;
	bool differs, known;
};

static int take(void *arg, uint64_t off, const void *bytes, size_t len)
{
	struct taken *t = arg;
	t->bytes += len;
	if (t->known && (off + len > CONTENT_BYTES || memcmp(bytes, content + off, len)))
		t->differs = true;
	return 0;
}

static void check_get(struct checkup *c, const char *check, const char *key,
		      const struct object *obj, uint64_t off, uint64_t len)
{
	struct taken t = {.known = !strncmp(key, PROBE_NAME, sizeof PROBE_NAME - 1)};
	struct call call = checkup_call(c, CHECKUP_STEP_S);
	int r = backend_get(c->be, key, obj, off, len, take, &t, &call);
	if (!r && (t.differs || t.bytes != len)) {
		report_remedy(c->report,
			      "curl -v URL  # a proxy between that changes what it "
			      "carries?");
		report_problem(c->report, check, "other bytes come back than were sent");
	} else if (r) {
		checkup_problem(c, check, WISH_READ, r, strerror(-r));
	} else {
		report_ok(c->report, check, "allowed");
	}
}

/* An object of the user's, for who may not write. */
struct found {
	char key[KEY_SIZE];
	struct object obj;
};

static int find_object(void *arg, const char *key, size_t key_len,
		       const struct object *obj)
{
	struct found *f = arg;
	if (!*f->key && obj && obj->size > 1 && strlen(key) == key_len &&
	    key_len < KEY_SIZE)
		memcpy(f->key, key, key_len + 1);
	return 0;
}

static void check_reading(struct checkup *c)
{
	struct list_query q = {.prefix = "", .max = 50};
	struct call call = checkup_call(c, CHECKUP_STEP_S);
	struct found f = {0};
	CLEANUP_FREE char *token = NULL;
	int r = backend_list(c->be, &q, &token, find_object, &f, &call);
	if (!r && *f.key)
		r = backend_head(c->be, f.key, &f.obj, &call);
	if (r) {
		checkup_problem(c, "get", WISH_READ, r, strerror(-r));
		report_skip(c->report, "range", "nothing can be read");
	} else if (!*f.key || f.obj.size < 2) {
		report_skip(c->report, "get", "there is no file to read");
		report_skip(c->report, "range", "there is no file to read");
	} else {
		check_get(c, "range", f.key, &f.obj, f.obj.size - 1, 1);
	}
}

/* --- writing --- */

/* The mount's own experiments came first: it takes no writes. */
static void tell_read_only(struct checkup *c)
{
	const char *heard = report_heard(c->report);
	struct store_error *e = &c->told;
	remedy_tell(c->report, &c->place, trouble_of(-EACCES, e), WISH_WRITE, e);
	if (e->status)
		report_problem(c->report, "put",
			       "these credentials may not write, and the mount would be "
			       "read-only: %d %s",
			       e->status, e->code);
	else
		report_problem(c->report, "put", "%s",
			       *heard ? heard : "it takes no writes");
}

static bool check_put(struct trial *t)
{
	struct checkup *c = t->c;
	struct put_opts none = {0};
	struct call call = checkup_call(c, CHECKUP_STEP_S);
	int r = backend_put(c->be, t->key, &t->src, &none, &t->obj, &call);
	if (!r)
		r = backend_head(c->be, t->key, &t->obj, &call);
	if (!r)
		report_ok(c->report, "put", "allowed");
	else
		checkup_problem(c, "put", WISH_WRITE, r, strerror(-r));
	return !r;
}

static void check_tag(struct checkup *c, const char *heard)
{
	const struct dialect *d = c->st ? c->st->dialect : NULL;
	if (!d || !d->untagged || !d->untagged(c->st)) {
		report_ok(c->report, "tag", d ? "allowed" : "not used");
		return;
	}
	remedy_tell(c->report, &c->place, TROUBLE_DENIED, WISH_TAG, &c->told);
	report_warning(c->report, "tag", "%s",
		       *heard ? heard : "the store refuses tags: uploads go without");
}

/* in_parts: those are uploaded at all. */
static void check_conditions(struct checkup *c, bool in_parts)
{
	uint32_t wanted = BACKEND_PUT_IF | (in_parts ? BACKEND_FINISH_IF : 0);
	uint32_t missing = wanted & ~c->be->caps;
	if (!missing) {
		report_ok(c->report, "conditional", "preconditions of writes hold");
		return;
	}
	report_remedy(c->report,
		      "mastfs mount -o ro %s  # where others write the same files; or a "
		      "newer version of the store",
		      report_quote(c->report, c->place.url));
	report_warning(c->report, "conditional",
		       "the store ignores preconditions of %s: two who write one file "
		       "at the same moment overwrite each other",
		       missing == BACKEND_PUT_IF      ? "a PUT"
		       : missing == BACKEND_FINISH_IF ? "uploads in parts"
						      : "writes");
}

static int upload_in_parts(struct trial *t, char **ret_id)
{
	struct checkup *c = t->c;
	struct put_opts none = {0};
	struct part part = {.number = 1, .size = CONTENT_BYTES};
	struct call call = checkup_call(c, CHECKUP_STEP_S);
	int r = backend_upload_begin(c->be, t->key, CONTENT_BYTES, &none, ret_id, &call);
	if (!r)
		r = backend_upload_part(c->be, t->key, *ret_id, 0, &t->src, &part, &call);
	if (!r)
		r = backend_upload_finish(c->be, t->key, *ret_id, &part, 1, CONTENT_BYTES,
					  &none, &t->obj, &call);
	return r;
}

static bool check_multipart(struct trial *t)
{
	struct checkup *c = t->c;
	CLEANUP_FREE char *id = NULL;
	if (!(c->be->caps & BACKEND_UPLOAD)) {
		report_ok(c->report, "multipart", "not used");
		return false;
	}
	int r = upload_in_parts(t, &id);
	if (!r) {
		report_ok(c->report, "multipart", "allowed");
		return true;
	}
	checkup_problem(c, "multipart", WISH_PARTS, r, strerror(-r));
	struct call last = probe_last_call();
	if (id)
		(void)backend_upload_abort(c->be, t->key, id, &last);
	return false;
}

/* It also takes the trial away; not cut short by a signal. */
static void check_delete(struct trial *t)
{
	struct checkup *c = t->c;
	struct call call = probe_last_call();
	int r = backend_del(c->be, t->key, NULL, &call);
	if (!r || r == -ENOENT) {
		report_ok(c->report, "delete", "allowed");
		return;
	}
	const char *heard = report_heard(c->report);
	remedy_tell(c->report, &c->place, trouble_of(r, &c->told), WISH_DELETE, &c->told);
	report_problem(c->report, "delete", "%s; %s is left in the bucket",
		       *heard ? heard : strerror(-r), t->key);
}

static void check_writing(struct checkup *c)
{
	static const char *const rest[] = {"get",	  "range",     "tag",
					   "conditional", "multipart", "delete"};
	CLEANUP_CLOSE int fd = memfd_create("mastfs-doctor", MFD_CLOEXEC);
	struct trial t = {.c = c, .src = {.fd = fd, .len = CONTENT_BYTES}};
	bool ready = fd >= 0 && write(fd, content, CONTENT_BYTES) == CONTENT_BYTES &&
		     !probe_name(t.key);
	/* The refusal of the tag was logged with the first write of the experiments. */
	CLEANUP_FREE char *heard = strdup(report_heard(c->report));
	if (!ready || !heard || !check_put(&t)) {
		for (size_t i = 0; i < sizeof rest / sizeof rest[0]; i++)
			report_skip(c->report, rest[i], "nothing can be written");
		if (ready)
			probe_remove(c->be, t.key);
		return;
	}
	check_get(c, "get", t.key, &t.obj, 0, CONTENT_BYTES);
	check_get(c, "range", t.key, &t.obj, RANGE_FROM, RANGE_BYTES);
	check_tag(c, heard);
	check_conditions(c, check_multipart(&t));
	check_delete(&t);
}

/* --- what others left --- */

enum { OLD_S = 86400 };

struct left {
	uint64_t n, old;
	int64_t oldest_ns, now_ns;
};

static int count_upload(void *arg, const char *key, const char *id, int64_t started_ns)
{
	struct left *l = arg;
	(void)key;
	(void)id;
	if (!l->n++ || started_ns < l->oldest_ns)
		l->oldest_ns = started_ns;
	l->old += started_ns < l->now_ns - OLD_S * (int64_t)NS_PER_S;
	return 0;
}

static void check_uploads(struct checkup *c)
{
	struct left l = {.now_ns = clock_wall_ns()};
	struct call call = checkup_call(c, CHECKUP_STEP_S);
	char date[DATE_ISO_SIZE];
	int r = backend_upload_list(c->be, "", count_upload, &l, &call);
	(void)report_heard(c->report);
	date_format_iso(l.oldest_ns, date);
	if (r) {
		report_skip(c->report, "uploads",
			    r == -EOPNOTSUPP ? "this store does not list them"
					     : "it is not allowed to list them");
	} else if (!l.old) {
		report_ok(c->report, "uploads", "%" PRIu64 " under way", l.n);
	} else {
		remedy_tell_uploads(c->report, &c->place);
		report_warning(c->report, "uploads",
			       "%" PRIu64 " of %" PRIu64 " unfinished uploads are more "
			       "than a day old, the oldest of %.10s: they take room "
			       "that is paid for",
			       l.old, l.n, date);
	}
}

void checkup_objects(struct checkup *c)
{
	if (!c->writes) {
		check_reading(c);
		report_skip(c->report, "put",
			    c->conf->no_write ? "--no-write"
					      : "the source is read "
						"only");
	} else if (!(c->be->caps & BACKEND_WRITE)) {
		tell_read_only(c);
		check_reading(c);
	} else {
		check_writing(c);
	}
	if (c->place.read_only)
		return;
	check_uploads(c);
}
