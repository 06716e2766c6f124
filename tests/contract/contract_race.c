/* contract_race.c - many calls at the same moment: each is whole, and one of them is
 * first. */
#include "tests/contract/contract.h"
#include <errno.h>
#include "backends/util/cleanup.h"
#include "backends/util/banned.h"

static const struct put_opts plain;
static const char *base_etag; /* what the racers of a test start from */

static bool one_thread(int number)
{
	char name[40];
	struct object obj;
	(void)snprintf(name, sizeof name, "par/%d", number);
	for (int round = 0; round < 10; round++) {
		const unsigned char *bytes = pattern + number * 100 + round;
		MUST_BE(put_at(name, bytes, 70000, &plain, NULL), 0);
		MUST_BE(backend_head(be, k(name), &obj, NULL), 0);
		MUST_BE(get_is(name, &obj, 1000, 69000, bytes + 1000), 0);
		MUST_BE(backend_del(be, k(name), NULL, NULL), 0);
	}
	return true;
}

static int thread_is_good(int number)
{
	return one_thread(number);
}

static bool calls_run_in_parallel(void)
{
	int results[THREADS];
	MUST(at_once(thread_is_good, results));
	MUST(count_of(results, true) == THREADS);
	return true;
}

/* Each racer's object has a size of its own, so that the winner is known. */
static int create(int number)
{
	struct put_opts absent = {.cond.if_absent = true, .tag = tag_a};
	return put_at("race/new", pattern, (size_t)number + 1, &absent, NULL);
}

static int overwrite(int number)
{
	struct put_opts over = {.cond.if_etag = base_etag, .tag = tag_a};
	return put_at("race/over", pattern, (size_t)number + 1, &over, NULL);
}

static int finish(int number)
{
	struct part part;
	struct object made;
	CLEANUP_FREE char *id = NULL;
	size_t size = (size_t)number + 1;
	struct put_opts absent = {.cond.if_absent = true};
	const char *name = "race/upload";
	int r = backend_upload_begin(be, k(name), size, &absent, &id, NULL);
	if (!r)
		r = send_part(name, id, 1, 0, size, 0, &part);
	if (!r)
		r = backend_upload_finish(be, k(name), id, &part, 1, size, &absent, &made,
					  NULL);
	if (r && id)
		(void)backend_upload_abort(be, k(name), id, NULL);
	return r;
}

/* Exactly one won, its bytes are there, and all others were told so. */
static bool one_won(const char *name, const int results[THREADS], int lost)
{
	struct object obj;
	MUST(count_of(results, 0) == 1);
	MUST(count_of(results, lost) == THREADS - 1);
	MUST_BE(backend_head(be, k(name), &obj, NULL), 0);
	MUST(obj.size >= 1 && obj.size <= THREADS && results[obj.size - 1] == 0);
	return true;
}

/* P5. */
static bool one_of_many_creates(void)
{
	int results[THREADS];
	NEEDS(BACKEND_PUT_IF);
	for (int round = 0; round < 5; round++) {
		MUST(at_once(create, results));
		MUST(one_won("race/new", results, -EEXIST));
		MUST_BE(backend_del(be, k("race/new"), NULL, NULL), 0);
	}
	return true;
}

static bool one_of_many_overwrites(void)
{
	int results[THREADS];
	struct object obj;
	NEEDS(BACKEND_PUT_IF);
	for (int round = 0; round < 5; round++) {
		MUST_BE(put("race/over", 100, &obj), 0);
		base_etag = obj.etag;
		MUST(at_once(overwrite, results));
		MUST(one_won("race/over", results, -ESTALE));
	}
	return true;
}

static bool one_of_many_finishes(void)
{
	int results[THREADS];
	NEEDS(BACKEND_FINISH_IF);
	for (int round = 0; round < 3; round++) {
		MUST(at_once(finish, results));
		MUST(one_won("race/upload", results, -EEXIST));
		MUST_BE(backend_del(be, k("race/upload"), NULL, NULL), 0);
	}
	return true;
}

const struct test race_tests[] = {
	TEST(calls_run_in_parallel),
	TEST(one_of_many_creates),
	TEST(one_of_many_overwrites),
	TEST(one_of_many_finishes),
	{0},
};
