/* test_nth_parts.c - a call fails, any call, while a large file goes up in parts: the
 * bucket has the old object or the new one (P4), the next mount finishes what was sealed
 * (P3), and no upload is left unfinished there. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "backends/util/cleanup.h"
#include "tests/unit/nth_vrig.h"
#include "backends/util/banned.h"

/* Three parts go up while it grows, and one when it is closed. */
#define LARGE_SIZE (UINT64_C(25) << 20)

static struct vrig rig;
static char may[4]; /* letters that the object may be of; '-': it may be absent */

static int write_large(struct staged *st, char letter)
{
	static char bytes[1 << 20];
	memset(bytes, letter, sizeof(bytes));
	int r = staged_truncate(st, 0);
	for (uint64_t off = 0; !r && off < LARGE_SIZE; off += sizeof(bytes)) {
		ssize_t n = staged_write(st, bytes, sizeof(bytes), off);
		r = n < 0 ? (int)n : 0;
	}
	return r;
}

static int open_large(struct staged **ret)
{
	struct call call = {.deadline_ns = clock_add(clock_now_ns(), 10 * NS_PER_S)};
	struct view_entry e;
	int r = view_lookup(rig.vw, "large", &e, &call);
	if (r == -ENOENT)
		return view_create(rig.vw, "large", NULL, ret);
	if (r)
		return r;
	r = e.staged ? staged_writable(e.staged, UINT64_MAX, ret)
		     : view_create(rig.vw, "large", &e.object, ret);
	struct object obj;
	if (r == -ESTALE && staged_object(e.staged, &obj))
		r = view_create(rig.vw, "large", &obj, ret);
	view_entry_done(&e);
	return r;
}

static void put_large(char letter)
{
	struct call call = {.deadline_ns = clock_add(clock_now_ns(), 10 * NS_PER_S)};
	struct staged *st = NULL;
	if (!rig.vw)
		return;
	int r = open_large(&st);
	if (!r) {
		staged_add_writers(st, 1);
		r = write_large(st, letter);
		int closed = staged_publish(st, rig.conf.wait_uploads, &call);
		r = r ? r : closed;
		staged_add_writers(st, -1);
		staged_retire_if_idle(st);
		staged_unref(st);
	}
	size_t n = nth_step(r) ? strlen(may) : 0;
	may[n++] = letter;
	may[n] = '\0';
}

static void remount(void)
{
	if (rig.vw)
		vrig_close(&rig);
	if (nth_step(vrig_try_open(&rig)) && !nth_is_sticky())
		CHECK_EQ(vrig_try_open(&rig), 0); /* once was enough */
}

static char letter_there(void)
{
	SCOPED_LOCK(&rig.bucket.lock);
	for (int i = 0; i < BUCKET_OBJECTS; i++) {
		const struct bucket_object *o = &rig.bucket.objects[i];
		if (!o->key || strcmp(o->key, "large") != 0)
			continue;
		CHECK_EQ(o->obj.size, LARGE_SIZE);
		for (uint64_t off = 0; off < LARGE_SIZE; off += 1 << 20)
			CHECK(o->bytes[off] == o->bytes[0]);
		return o->bytes[0];
	}
	return '-';
}

/* In the background a new generation takes back what no thread has begun to send. */
static void wait_begun(void)
{
	for (int i = 0; i < 50 && !bucket_uploads(&rig.bucket) && letter_there() == '-';
	     i++)
		clock_sleep_ns(10 * NS_PER_MS);
}

static void script(bool wait)
{
	(void)snprintf(may, sizeof(may), "-");
	vrig_init_dir(&rig, NULL);
	rig.conf.wait_uploads = wait;
	bucket_init(&rig.bucket);
	rig.be = nth_backend(&rig.bucket.be);
	nth_arm();
	remount();
	put_large('a');
	if (!wait)
		wait_begun();
	put_large('b');
	remount();
	nth_vrig_recover(&rig);
	char there = letter_there();
	if (!strchr(may, there))
		(void)fprintf(stderr, "it is %c, not one of %s\n", there, may);
	CHECK(strchr(may, there));
	CHECK_EQ(bucket_uploads(&rig.bucket), 0); /* parts (1) */
	vrig_done(&rig);
}

static void parts__close(void)
{
	script(true);
}

static void parts__background(void)
{
	script(false);
}

int main(int argc, char **argv)
{
	nth_start(argc, argv);
	nth_sqlite_start();
	const uint32_t all =
		NTH_KIND_MALLOC | NTH_KIND_SQLMEM | NTH_KIND_VFS | NTH_KIND_BACKEND;
	nth_sweep("parts-close", all, 10, parts__close);
	nth_sweep("parts-background", NTH_KIND_MALLOC | NTH_KIND_BACKEND, 4,
		  parts__background);
	return nth_end();
}
