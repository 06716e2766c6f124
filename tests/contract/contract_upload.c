/* contract_upload.c - uploads in parts: whole, under their condition, or not at all. */
#include "tests/contract/contract.h"
#include <errno.h>
#include "backends/util/cleanup.h"
#include "backends/util/banned.h"

static const struct put_opts plain;

static bool uploads_in_parts(void)
{
	struct object obj, made;
	struct part parts[2], lost;
	CLEANUP_FREE char *id = NULL;
	struct put_opts opts = {.mtime_ns = INT64_C(1500000000000000007), .tag = tag_a};
	NEEDS(BACKEND_UPLOAD);
	MUST_BE(backend_upload_begin(be, k("up +"), 0, &opts, &id, NULL), 0);
	if (!has(BACKEND_IN_ORDER)) {
		MUST_BE(send_part("up +", id, 2, 0, TAIL, PART, &parts[1]), 0);
		MUST_BE(send_part("up +", id, 1, 1, PART, 0, &lost), 0);
	}
	MUST_BE(send_part("up +", id, 1, 0, PART, 0, &parts[0]), 0);
	if (has(BACKEND_IN_ORDER))
		MUST_BE(send_part("up +", id, 2, 0, TAIL, PART, &parts[1]), 0);
	MUST(parts[0].receipt[0] && parts[1].receipt[0]);
	MUST_BE(backend_head(be, k("up +"), &obj, NULL), -ENOENT);
	MUST_BE(backend_upload_finish(be, k("up +"), id, parts, 2, PART + TAIL, &opts,
				      &made, NULL),
		0);
	MUST_BE(backend_head(be, k("up +"), &obj, NULL), 0);
	MUST(obj.size == PART + TAIL && !strcmp(obj.etag, made.etag));
	MUST(obj.mtime_ns == opts.mtime_ns && !strcmp(obj.tag, tag_a));
	MUST_BE(get_is("up +", &obj, 0, PART, pattern), 0);
	MUST_BE(get_is("up +", &obj, PART, TAIL, pattern), 0);
	/* Finished again with our tag: it was us.  With another: gone. */
	MUST_BE(backend_upload_finish(be, k("up +"), id, parts, 2, PART + TAIL, &opts,
				      &made, NULL),
		0);
	return true;
}

struct sought {
	const char *key, *id;
	bool found;
};

static int seek_upload(void *arg, const char *key, const char *id, int64_t started_ns)
{
	struct sought *s = arg;
	if (!strcmp(key, s->key) && !strcmp(id, s->id) &&
	    started_ns > INT64_C(1600000000) * (int64_t)NS_PER_S)
		s->found = true;
	return 0;
}

static bool unfinished_uploads_are_known(void)
{
	struct object obj;
	struct part part;
	CLEANUP_FREE char *id = NULL;
	NEEDS(BACKEND_UPLOAD);
	MUST_BE(backend_upload_begin(be, k("un/fin"), 0, &plain, &id, NULL), 0);
	MUST_BE(send_part("un/fin", id, 1, 0, TAIL, 0, &part), 0);
	struct sought sought = {.key = k("un/fin"), .id = id};
	if (be->ops->upload_list) {
		MUST_BE(backend_upload_list(be, k("un/fin"), seek_upload, &sought, NULL),
			0);
		MUST(sought.found);
	}
	MUST_BE(backend_upload_abort(be, k("un/fin"), id, NULL), 0);
	MUST_BE(backend_upload_abort(be, k("un/fin"), id, NULL), 0);
	MUST_BE(backend_upload_finish(be, k("un/fin"), id, &part, 1, TAIL, &plain, &obj,
				      NULL),
		-ENXIO);
	MUST_BE(send_part("un/fin", id, 1, 0, TAIL, 0, &part), -ENXIO);
	MUST_BE(backend_head(be, k("un/fin"), &obj, NULL), -ENOENT);
	return true;
}

static bool uploads_only_if(void)
{
	struct object obj, made;
	struct part part;
	CLEANUP_FREE char *id = NULL;
	struct put_opts absent = {.cond.if_absent = true};
	struct put_opts over = {.cond.if_etag = obj.etag};
	NEEDS(BACKEND_FINISH_IF);
	MUST_BE(put("up if", 10, &obj), 0);
	MUST_BE(backend_upload_begin(be, k("up if"), TAIL, &absent, &id, NULL), 0);
	MUST_BE(send_part("up if", id, 1, 0, TAIL, 0, &part), 0);
	MUST_BE(backend_upload_finish(be, k("up if"), id, &part, 1, TAIL, &absent, &made,
				      NULL),
		-EEXIST);
	(void)backend_upload_abort(be, k("up if"), id, NULL);
	free(STEAL(id));
	MUST_BE(backend_upload_begin(be, k("up if"), TAIL, &over, &id, NULL), 0);
	MUST_BE(send_part("up if", id, 1, 0, TAIL, 0, &part), 0);
	MUST_BE(backend_upload_finish(be, k("up if"), id, &part, 1, TAIL, &over, &made,
				      NULL),
		0);
	MUST(made.size == TAIL);
	return true;
}

/* As fs sends a large file: parts of our size, the object's size known from the start. */
static bool large_parts_make_an_object(void)
{
	enum { WHOLE = 2 * PART_OURS + TAIL };
	struct object old, obj, made;
	struct part parts[3];
	CLEANUP_FREE char *id = NULL;
	struct put_opts opts = {.mtime_ns = INT64_C(1700000000123456789), .tag = tag_a};
	NEEDS(BACKEND_UPLOAD);
	MUST(backend_part_size(be, WHOLE) == PART_OURS);
	MUST_BE(put("big", 100, &old), 0);
	MUST_BE(backend_upload_begin(be, k("big"), WHOLE, &opts, &id, NULL), 0);
	for (uint32_t i = 0; i < 3; i++) {
		size_t off = (size_t)i * PART_OURS;
		MUST_BE(send_part("big", id, i + 1, off, i < 2 ? PART_OURS : TAIL, off,
				  &parts[i]),
			0);
	}
	MUST_BE(get_is("big", &old, 0, 100, pattern), 0); /* P4: still whole, and old */
	MUST_BE(backend_upload_finish(be, k("big"), id, parts, 3, WHOLE, &opts, &made,
				      NULL),
		0);
	MUST(made.size == WHOLE && made.mtime_ns == opts.mtime_ns);
	MUST_BE(backend_head(be, k("big"), &obj, NULL), 0);
	MUST(obj.size == WHOLE && !strcmp(obj.etag, made.etag));
	MUST_BE(get_is("big", &obj, 0, WHOLE, pattern), 0);
	MUST_BE(get_is("big", &obj, PART_OURS - 5, 10, pattern + PART_OURS - 5), 0);
	MUST_BE(get_is("big", &old, 0, 100, pattern), -ESTALE);
	return true;
}

/* Names, and a size that is one part's. */
static bool one_part_is_enough(void)
{
	struct object obj, made;
	struct part part;
	CLEANUP_FREE char *id = NULL;
	const char *name = "p 1/%2F#?\xc3\xa9.fits";
	NEEDS(BACKEND_UPLOAD);
	MUST_BE(backend_upload_begin(be, k(name), TAIL, &plain, &id, NULL), 0);
	MUST_BE(send_part(name, id, 1, 0, TAIL, 0, &part), 0);
	MUST_BE(backend_upload_finish(be, k(name), id, &part, 1, TAIL, &plain, &made,
				      NULL),
		0);
	MUST_BE(backend_head(be, k(name), &obj, NULL), 0);
	MUST(obj.size == TAIL && !obj.tag[0]);
	MUST_BE(get_is(name, &obj, 0, TAIL, pattern), 0);
	return true;
}

static bool an_abort_leaves_the_old_object(void)
{
	struct object old, obj;
	struct part part;
	CLEANUP_FREE char *id = NULL;
	NEEDS(BACKEND_UPLOAD);
	MUST_BE(put("abort", 100, &old), 0);
	MUST_BE(backend_upload_begin(be, k("abort"), 0, &plain, &id, NULL), 0);
	MUST_BE(send_part("abort", id, 1, 0, PART, 0, &part), 0);
	MUST_BE(backend_upload_abort(be, k("abort"), id, NULL), 0);
	MUST_BE(backend_head(be, k("abort"), &obj, NULL), 0);
	MUST(obj.size == 100 && !strcmp(obj.etag, old.etag));
	return true;
}

/* Begun over a version that is no longer there when it ends. */
static bool finishes_over_a_changed_object_are_stale(void)
{
	struct object old, obj, made;
	struct part part;
	CLEANUP_FREE char *id = NULL;
	struct put_opts over = {.cond.if_etag = old.etag, .tag = tag_a};
	NEEDS(BACKEND_FINISH_IF);
	MUST_BE(put("changed", 10, &old), 0);
	MUST_BE(backend_upload_begin(be, k("changed"), TAIL, &over, &id, NULL), 0);
	MUST_BE(send_part("changed", id, 1, 0, TAIL, 0, &part), 0);
	MUST_BE(put_at("changed", pattern + 1, 11, &plain, NULL), 0);
	MUST_BE(backend_upload_finish(be, k("changed"), id, &part, 1, TAIL, &over, &made,
				      NULL),
		-ESTALE);
	(void)backend_upload_abort(be, k("changed"), id, NULL);
	MUST_BE(backend_head(be, k("changed"), &obj, NULL), 0);
	MUST(obj.size == 11);
	return true;
}

const struct test upload_tests[] = {
	TEST(uploads_in_parts),
	TEST(large_parts_make_an_object),
	TEST(one_part_is_enough),
	TEST(unfinished_uploads_are_known),
	TEST(an_abort_leaves_the_old_object),
	TEST(uploads_only_if),
	TEST(finishes_over_a_changed_object_are_stale),
	{0},
};
