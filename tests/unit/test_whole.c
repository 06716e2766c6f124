/* test_whole.c - the calls that are about all the bytes of a version. */
#include <errno.h>
#include <unistd.h>
#include "backends/util/clock.h"
#include "cache/blocks.h"
#include "tests/unit/cache_rig.h"
#include "tests/unit/check.h"
#include "backends/util/banned.h"

static void write_object(const char *path, uint64_t size)
{
	char *bytes = malloc(size);
	FILE *f = fopen(path, "w");
	CHECK(f && bytes);
	membackend_fill(7, 0, bytes, size);
	CHECK_EQ(fwrite(bytes, 1, size, f), size);
	CHECK_EQ(fclose(f), 0);
	free(bytes);
}

static void whole__adopted_bytes_are_never_fetched(void)
{
	struct rig rig;
	char path[128];
	uint64_t size = 5 * MIB + 77;
	rig_init(&rig, 64 * MIB);
	(void)snprintf(path, sizeof path, "%s/staged", rig.dir);
	struct version *v = rig_version(&rig, "k", size);
	write_object(path, size);
	CHECK_EQ(blocks_adopt(rig.bl, v, path), 0);
	CHECK(access(path, F_OK));
	rig_read(&rig, v, 0, size);
	version_unref(v);
	rig_reopen(&rig);
	v = rig_version(&rig, "k", size);
	rig_read(&rig, v, 0, size);
	CHECK_EQ(rig.mb.gets, 0);
	/* Where something is here already, the rest is filled in. */
	struct version *w = rig_version(&rig, "w", size);
	rig_read(&rig, w, MIB, 10);
	write_object(path, size);
	CHECK_EQ(blocks_adopt(rig.bl, w, path), 0);
	rig_read(&rig, w, 0, size);
	CHECK_EQ(rig.mb.gets, 1);
	/* A file of another length is not this version. */
	struct version *x = rig_version(&rig, "x", size);
	write_object(path, size - 1);
	CHECK_EQ(blocks_adopt(rig.bl, x, path), -EINVAL);
	CHECK(access(path, F_OK));
	CHECK_EQ(version_cached_bytes(x), 0);
	version_unref(v);
	version_unref(w);
	version_unref(x);
	rig_done(&rig);
}

/* P1: a file with a second name cannot be the data file, and the one that is made in its
 * place has holes where its bytes should be. */
static void whole__a_file_with_two_names_is_copied(void)
{
	struct rig rig;
	char path[128], other[128];
	uint64_t size = 5 * MIB + 77;
	rig_init(&rig, 64 * MIB);
	(void)snprintf(path, sizeof path, "%s/staged", rig.dir);
	(void)snprintf(other, sizeof other, "%s/other", rig.dir);
	struct version *v = rig_version(&rig, "k", size);
	write_object(path, size);
	CHECK_EQ(link(path, other), 0);
	CHECK_EQ(blocks_adopt(rig.bl, v, path), 0);
	CHECK(access(path, F_OK));
	rig_read(&rig, v, 0, size);
	CHECK_EQ(rig_stats(&rig).used_bytes, version_cached_bytes(v) + 4096 - 77);
	version_unref(v);
	rig_reopen(&rig);
	v = rig_version(&rig, "k", size);
	rig_read(&rig, v, 0, size);
	CHECK_EQ(rig.mb.gets, 0);
	version_unref(v);
	rig_done(&rig);
}

static void whole__a_new_key_takes_the_bytes_along(void)
{
	struct rig rig;
	uint64_t size = 5 * MIB + 77;
	rig_init(&rig, 64 * MIB);
	struct version *from = rig_version(&rig, "from", size);
	struct version *to = rig_version(&rig, "to", size);
	rig_read(&rig, from, MIB, 2 * MIB);
	rig_read(&rig, to, MIB, 1);
	uint64_t gets = rig.mb.gets;
	CHECK_EQ(blocks_rekey(rig.bl, from, to), 0);
	CHECK_EQ(version_cached_bytes(to), 2 * MIB);
	rig_read(&rig, to, MIB, 2 * MIB);
	rig_read(&rig, from, MIB, 2 * MIB);
	CHECK_EQ(rig.mb.gets, gets);
	CHECK_EQ(rig_disk_bytes(&rig), 4 * MIB);
	version_unref(from);
	version_unref(to);
	rig_done(&rig);
}

static void whole__export_and_complete_bring_everything(void)
{
	struct rig rig;
	char path[128];
	uint64_t size = 40 * MIB + 77;
	rig_init(&rig, 64 * MIB);
	rig.mb.delay_ns = 5 * NS_PER_MS;
	membackend_watch(&rig.mb, size);
	struct version *v = rig_version(&rig, "k", size);
	struct call call = rig_call(60 * NS_PER_S);
	(void)snprintf(path, sizeof path, "%s/out", rig.dir);
	FILE *f = fopen(path, "w+");
	CHECK(f);
	CHECK_EQ(blocks_export(rig.bl, v, size - 10, fileno(f), &call), 0);
	char *bytes = malloc(size);
	CHECK_EQ(fread(bytes, 1, size, f), size - 10);
	CHECK(membackend_same(7, 0, bytes, size - 10));
	free(bytes);
	CHECK_EQ(fclose(f), 0);
	CHECK(rig.mb.running_max > 1);
	CHECK_EQ(blocks_complete(rig.bl, v, &call), 0);
	CHECK_EQ(version_cached_bytes(v), size);
	CHECK_EQ(rig.mb.twice, 0);
	struct version *w = rig_version(&rig, "w", 65 * MIB);
	CHECK_EQ(blocks_complete(rig.bl, w, &call), -ENOSPC);
	version_unref(v);
	version_unref(w);
	rig_done(&rig);
}

int main(void)
{
	RUN(whole__adopted_bytes_are_never_fetched);
	RUN(whole__a_file_with_two_names_is_copied);
	RUN(whole__a_new_key_takes_the_bytes_along);
	RUN(whole__export_and_complete_bring_everything);
	return 0;
}
