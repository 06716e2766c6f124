/* test_nth_config.c - no memory, at any point of reading what the user asked for: it is
 * an error, and never a setting that was left out. */
#include <errno.h>
#include "backends/util/cleanup.h"
#include "fs/config.h"
#include "tests/unit/nth.h"
#include "tests/unit/scratch.h"
#include "backends/util/banned.h"

static char dir[64], file[96], text[160];

static void scenario(void)
{
	struct config c;
	struct buf items;
	buf_init(&items, 65536);
	nth_arm();
	int r = config_init(&c);
	if (!r)
		r = config_collect(&items, text);
	if (!r)
		r = config_collect(&items, "cache_size=20%,local_only=+*.bak,ro");
	if (!r)
		r = config_load(&c, &items);
	nth_disarm();
	if (!nth_step(r)) {
		CHECK(c.read_only && c.uploaders == 3 && c.cache_size.percent == 20);
		CHECK(strstr(c.local_only, "*.part") && strstr(c.local_only, "*.bak"));
		CHECK_STR(c.cache_dir, "/somewhere");
		CHECK_STR(c.store.region, "eu-x-1");
		CHECK_STR(c.store.endpoint, "http://localhost:1");
	}
	config_done(&c);
	buf_done(&items);
}

static void write_config(void)
{
	(void)snprintf(dir, sizeof(dir), "/tmp/mastfs-nth-XXXXXX");
	CHECK(mkdtemp(dir));
	(void)snprintf(file, sizeof(file), "%s/mastfs.conf", dir);
	(void)snprintf(text, sizeof(text), "config=%s,endpoint=http://localhost:1", file);
	FILE *f = fopen(file, "we");
	CHECK(f && fputs("# of the test\nuploaders = 3\nregion = eu-x-1\n", f) >= 0);
	CHECK(!fclose(f));
	CHECK(!setenv("MASTFS_CACHE_DIR", "/somewhere", 1));
}

int main(int argc, char **argv)
{
	nth_start(argc, argv);
	write_config();
	nth_sweep("config", NTH_KIND_MALLOC, 10, scenario);
	scratch_remove(dir);
	return nth_end();
}
