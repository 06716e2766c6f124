/* test_local_only.c - P6's default list, row by row. */
#include "cache/local_only.h"
#include "fs/options.h"
#include "tests/unit/check.h"
#include "backends/util/banned.h"

struct row {
	const char *yes[5], *no[5];
};

static const struct row rows[] = {
	{{"a.part", "d/e.fits.part", ".part"}, {"a.parts", "part", "a.part/b"}},
	{{"a.tmp", "d/a.tmp"}, {"tmp", "a.tmpx", "a.tmp/b"}},
	{{"a.partial"}, {"partial", "a.partial2"}},
	{{".a.swp", "a.swp"}, {"a.swpx", "swp"}},
	{{".nfs0001", "d/.nfs"}, {"nfs0001", "a.nfs1"}},
	{{".~lock.a.ods#"}, {"~lock.a", ".lock"}},
	{{".a.fits.Ab3dE6", "d/.x.123456"},
	 {"a.fits.Ab3dE6", ".a.fits.Ab3dE", ".a.-b3dE6"}},
	{{"a.fits.0123abCD", "d/x.DEADBEEF"},
	 {"a.0123abCG", "a.0123abC", "x0123abcd", "a.20240131"}},
	{{"tmp12345678", "d/tmpabcdefgh"},
	 {"tmp1234567", "tmp123456789", "xtmp12345678"}},
	{{".___atomic_write123"}, {"___atomic_write", "a.___atomic_write"}},
	{{"sedAbCdEf"}, {"sedAbCdE", "sedAbCdEfg", "xsedAbCdE", "sediments"}},
	{{"zi123456"}, {"zi12345", "zi1234567", "zirconia"}},
	{{".download_state", ".download_state/a", "d/.download_state/e/f.json"},
	 {"download_state/a", ".download_state2/a"}},
	{{NULL}, {"jw02731001001_02101_00001_nrca1_cal.fits", "d/e", "README", "a.asdf"}},
};

static const char *default_list(void)
{
	const struct option *o = option_find("local_only");
	return o && o->initial ? o->initial : "";
}

static void local_only__default_list(void)
{
	const char *list = default_list();
	CHECK(*list);
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		for (int k = 0; k < 5 && rows[i].yes[k]; k++)
			if (!local_only_match(list, rows[i].yes[k]))
				CHECK_STR(rows[i].yes[k], "matched");
		for (int k = 0; k < 5 && rows[i].no[k]; k++)
			if (local_only_match(list, rows[i].no[k]))
				CHECK_STR(rows[i].no[k], "not matched");
	}
}

static void local_only__odd_lists(void)
{
	char longer[600];
	memset(longer, 'a', sizeof(longer));
	longer[599] = '\0';
	CHECK(!local_only_match("", "a"));
	CHECK(!local_only_match(":::", "a"));
	CHECK(local_only_match(":*.x:", "a.x"));
	CHECK(!local_only_match(longer, "a"));
	CHECK(!local_only_match("*", longer)); /* no name is that long */
	CHECK(local_only_match("d/", "a//d/b"));
	CHECK(!local_only_match("*.x:!a*", "a.x"));
	CHECK(local_only_match("*.x:!a*", "b.x"));
	CHECK(local_only_match("!a*:*.x", "a.x")); /* the last word counts */
	CHECK(!local_only_match("*:!d/", "d/a.x"));
	CHECK(!local_only_match("!", "a"));
}

static void local_only__how(void)
{
	const char *list = default_list();
	CHECK_EQ(local_only_kind(list, "a"), LOCAL_NOT);
	CHECK_EQ(local_only_kind(list, "a.0123abCD"), LOCAL_BY_SHAPE);
	CHECK_EQ(local_only_kind(list, "tmpabcdefgh"), LOCAL_BY_SHAPE);
	CHECK_EQ(local_only_kind(list, "a.part"), LOCAL_BY_WORD);
	CHECK_EQ(local_only_kind(list, "tmpabcd.tmp"), LOCAL_BY_WORD);
	CHECK_EQ(local_only_kind(list, ".a.fits.Ab3dE6"), LOCAL_BY_WORD);
	CHECK_EQ(local_only_kind(list, ".download_state/a.part"), LOCAL_BELOW);
}

static void local_only__what_it_will_be_called(void)
{
	static const char *const pairs[][2] = {
		{"d/e.fits.part", "d/e.fits"},
		{"a.tmp", "a"},
		{"a.partial", "a"},
		{"d/.a.fits.Ab3dE6", "d/a.fits"},
		{"d/a.fits.0123abCD", "d/a.fits"},
		{".part", NULL},		/* nothing is left */
		{"tmp12345678", NULL},		/* it says nothing */
		{"a.part.tmp", NULL},		/* which is local as well */
		{".download_state/a.tmp", NULL}, /* so is all below */
		{"..Ab3dE6", NULL},
		{"a.fits", NULL},
	};
	char target[KEY_SIZE];
	const char *list = default_list();
	for (size_t i = 0; i < sizeof(pairs) / sizeof(*pairs); i++)
		if (local_only_target(list, pairs[i][0], target))
			CHECK_STR(target, pairs[i][1] ? pairs[i][1] : "none");
		else
			CHECK_STR("none", pairs[i][1] ? pairs[i][1] : "none");
	/* By the user's own list, where an ending says it all. */
	CHECK(local_only_target("*.down:x*y", "a.down", target));
	CHECK_STR(target, "a");
	CHECK(!local_only_target("*.d?wn", "a.down", target));
}

int main(void)
{
	RUN(local_only__default_list);
	RUN(local_only__odd_lists);
	RUN(local_only__how);
	RUN(local_only__what_it_will_be_called);
	return 0;
}
