/* test_config.c - the table of options: every way to set one agrees. */
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "fs/config.h"
#include "tests/unit/check.h"
#include "tests/unit/scratch.h"
#include "backends/util/banned.h"

static struct scratch scratch = {.dir = "/tmp/mastfs-test-XXXXXX"};
static const char *const folder = scratch.dir;

/* A config from one -o text; the files are only those of the test. */
static int load(struct config *c, const char *text)
{
	CLEANUP_BUF struct buf items;
	buf_init(&items, 65536);
	CHECK_EQ(config_init(c), 0);
	int r = config_collect(&items, text);
	return r < 0 ? r : config_load(c, &items);
}

static int load_once(const char *text)
{
	struct config c;
	int r = load(&c, text);
	config_done(&c);
	return r;
}

static void write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "we");
	CHECK(f && fputs(text, f) >= 0 && fclose(f) == 0);
}

/* A value that differs from the default, for each type. */
static const char *sample(const struct option *o)
{
	switch (o->type) {
	case OPTION_BOOL:
		return strcmp(o->initial, "yes") ? "yes" : "no";
	case OPTION_SIZE:
		return "3M";
	case OPTION_AMOUNT:
		return "7G";
	case OPTION_DURATION:
		return "3h";
	case OPTION_OCTAL:
		return "027";
	case OPTION_CHOICE:
		return strrchr(o->choices, '|') + 1;
	case OPTION_TEXT:
	case OPTION_LIST:
		return "text";
	default:
		return "77";
	}
}

static size_t field_size(const struct option *o)
{
	switch (o->type) {
	case OPTION_BOOL:
		return sizeof(bool);
	case OPTION_SIZE:
	case OPTION_DURATION:
		return sizeof(uint64_t);
	case OPTION_AMOUNT:
		return sizeof(struct amount);
	default:
		return sizeof(uint32_t);
	}
}

static bool same_field(const struct option *o, const struct config *a,
		       const struct config *b)
{
	const char *x = (const char *)a + o->offset, *y = (const char *)b + o->offset;
	if (o->type != OPTION_TEXT && o->type != OPTION_LIST)
		return !memcmp(x, y, field_size(o));
	const char *s = *(char *const *)x, *t = *(char *const *)y;
	return s == t || (s && t && !strcmp(s, t));
}

/* It names a file: tested by itself. */
static bool is_special(const struct option *o)
{
	return !strcmp(o->name, "config");
}

static void config__every_default_is_a_legal_value(void)
{
	struct config initial;
	CHECK_EQ(config_init(&initial), 0);
	for (const struct option *o = options; o->name; o++) {
		CHECK(o->meaning && *o->meaning);
		CHECK(option_find(o->name) == o);
		CHECK(!option_is_secret(o->name));
		if (!o->initial)
			continue;
		struct config c;
		CLEANUP_BUF struct buf text;
		buf_init(&text, 4096);
		buf_addf(&text, "%s=%s", o->name, o->initial);
		CHECK_EQ(load(&c, text.data), 0);
		CHECK(same_field(o, &c, &initial));
		config_done(&c);
	}
	config_done(&initial);
}

static void config__every_way_to_set_an_option_agrees(void)
{
	for (const struct option *o = options; o->name; o++) {
		if (is_special(o))
			continue;
		struct config a, b, c, initial;
		CLEANUP_BUF struct buf text, name, path;
		buf_init(&text, 4096);
		buf_init(&name, 64);
		buf_init(&path, 4096);
		buf_addf(&text, "%s=%s", o->name, sample(o));
		CHECK_EQ(load(&a, text.data), 0);

		option_variable(o, &name);
		CHECK_EQ(setenv(name.data, sample(o), 1), 0);
		CHECK_EQ(load(&b, ""), 0);
		CHECK_EQ(unsetenv(name.data), 0);

		buf_addf(&path, "config=%s/c.conf", folder);
		buf_reset(&text);
		buf_addf(&text, "# a comment\n\n  %s = %s  \n", o->name, sample(o));
		write_file(path.data + 7, text.data);
		CHECK_EQ(load(&c, path.data), 0);

		CHECK_EQ(config_init(&initial), 0);
		CHECK(same_field(o, &a, &b));
		CHECK(same_field(o, &a, &c));
		CHECK(!same_field(o, &a, &initial));
		config_done(&a);
		config_done(&b);
		config_done(&c);
		config_done(&initial);
	}
}

static void config__help_lists_every_option(void)
{
	char *text = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&text, &size);
	CHECK(f != NULL);
	options_help(f);
	(void)fclose(f);
	for (const struct option *o = options; o->name; o++) {
		CLEANUP_BUF struct buf line;
		buf_init(&line, 256);
		buf_addf(&line, "  %s%s", o->name, o->type == OPTION_BOOL ? " " : "=");
		CHECK(strstr(text, line.data) != NULL);
	}
	free(text);
}

static void config__later_wins(void)
{
	struct config c;
	CLEANUP_BUF struct buf path, text;
	buf_init(&path, 4096);
	buf_init(&text, 4096);
	buf_addf(&path, "%s/w.conf", folder);
	write_file(path.data, "uploaders=3\nfetchers=3\nconnections=3\n");
	CHECK_EQ(setenv("MASTFS_FETCHERS", "4", 1), 0);
	CHECK_EQ(setenv("MASTFS_CONNECTIONS", "4", 1), 0);
	buf_addf(&text, "config=%s,connections=5", path.data);
	CHECK_EQ(load(&c, text.data), 0);
	CHECK_EQ(c.uploaders, 3);
	CHECK_EQ(c.fetchers, 4);
	CHECK_EQ(c.store.connections, 5);
	config_done(&c);
	CHECK_EQ(unsetenv("MASTFS_FETCHERS"), 0);
	CHECK_EQ(unsetenv("MASTFS_CONNECTIONS"), 0);
}

static void config__user_file_is_read_if_it_is_there(void)
{
	struct config c;
	CLEANUP_BUF struct buf path;
	buf_init(&path, 4096);
	buf_addf(&path, "%s/mastfs.conf", folder);
	write_file(path.data, "uploaders=3\n");
	CHECK_EQ(load(&c, ""), 0);
	CHECK_EQ(c.uploaders, 3);
	config_done(&c);
	CHECK_EQ(unlink(path.data), 0);
	CHECK_EQ(load(&c, ""), 0);
	CHECK_EQ(c.uploaders, 16);
	config_done(&c);
	CHECK_EQ(load_once("config=/nonexistent/x"), -ENOENT);
}

static void config__values_of_each_type(void)
{
	struct config c;
	CHECK_EQ(load(&c, "ro,ttl=500ms,drain=2,read_timeout=5m,cache_size=20%,"
			  "cache_reserve=4K,staging_size=2GiB,umask=0007,uid=root"),
		 0);
	CHECK(c.read_only && c.cache_reserve_given);
	CHECK_EQ(c.ttl_ns, 500 * NS_PER_MS);
	CHECK_EQ(c.drain_ns, 2 * NS_PER_S);
	CHECK_EQ(c.read_timeout_ns, 300 * NS_PER_S);
	CHECK_EQ(c.cache_size.percent, 20);
	CHECK_EQ(c.cache_reserve.bytes, 4096);
	CHECK_EQ(c.staging_size.bytes, INT64_C(2) << 30);
	CHECK_EQ(c.umask, 7);
	CHECK_EQ(c.uid, 0);
	config_done(&c);
	static const char *const bad[] = {
		"ttl",
		"ttl=",
		"ttl=abc",
		"ttl=-1",
		"ttl=5x",
		"ttl=99999999999d",
		"cache_size=0%",
		"cache_size=101%",
		"cache_size=1%%",
		"cache_size=12Q",
		"umask=8",
		"umask=1777",
		"connections=0",
		"ro=maybe",
		"upload=sometimes",
		"upload=clos",
		"uid=nobody-of-this-name",
		"max_threads=18446744073709551616",
	};
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		CHECK_EQ(load_once(bad[i]), -EINVAL);
}

static void config__commas_are_escaped(void)
{
	struct config c;
	CHECK_EQ(load(&c, "profile=a\\,b\\\\c,,region=r"), 0);
	CHECK_STR(c.store.profile, "a,b\\c");
	CHECK_STR(c.store.region, "r");
	config_done(&c);
}

static void config__plus_adds_to_the_list(void)
{
	struct config c;
	const char *initial = option_find("local_only")->initial;
	CHECK_EQ(load(&c, "local_only=+*.bak:x/"), 0);
	CHECK(!strncmp(c.local_only, initial, strlen(initial)));
	CHECK_STR(c.local_only + strlen(initial), ":*.bak:x/");
	config_done(&c);
}

static void config__words_of_fstab_are_accepted(void)
{
	struct config c;
	CHECK_EQ(
		load(&c, "ro,rw,noatime,noexec,_netdev,nofail,x-systemd.requires=a,user"),
		0);
	CHECK(!c.read_only);
	CHECK_STR(c.flags.data, ",noatime,noexec");
	config_done(&c);
}

static void config__nearest_name_is_found(void)
{
	CHECK_STR(option_nearest("tll"), "ttl");
	CHECK_STR(option_nearest("cachesize"), "cache_size");
	CHECK_STR(option_nearest("allow-other"), "allow_other");
	CHECK(option_nearest("no_such_option") == NULL);
	CHECK(option_nearest("") == NULL);
	CHECK_EQ(load_once("tll=5"), -EINVAL);
}

static void config__secrets_are_refused(void)
{
	CHECK(option_is_secret("aws_secret_access_key"));
	CHECK(option_is_secret("Password"));
	CHECK(!option_is_secret("sse_kms_key"));
	CHECK_EQ(load_once("secret_key=abc"), -EINVAL);
	CHECK_EQ(load_once("endpoint=http://a:b@c"), -EINVAL);
}

static void config__a_device_is_no_config_file(void)
{
	CHECK_EQ(load_once("config=/dev/zero"), -EFBIG);
}

int main(void)
{
	CHECK(mkdtemp(scratch.dir) != NULL);
	CHECK_EQ(setenv("XDG_CONFIG_HOME", folder, 1), 0);
	CHECK_EQ(setenv("HOME", folder, 1), 0);
	RUN(config__a_device_is_no_config_file);
	RUN(config__every_default_is_a_legal_value);
	RUN(config__every_way_to_set_an_option_agrees);
	RUN(config__help_lists_every_option);
	RUN(config__later_wins);
	RUN(config__user_file_is_read_if_it_is_there);
	RUN(config__values_of_each_type);
	RUN(config__commas_are_escaped);
	RUN(config__plus_adds_to_the_list);
	RUN(config__words_of_fstab_are_accepted);
	RUN(config__nearest_name_is_found);
	RUN(config__secrets_are_refused);
	scratch_done(&scratch);
	return 0;
}
