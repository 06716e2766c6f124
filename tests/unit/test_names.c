/* test_names.c - what is believed of the bucket, and for how long (P7, P10). */
#include <errno.h>
#include <unistd.h>
#include "cache/names_impl.h"
#include "tests/unit/check.h"
#include "tests/unit/names_rig.h"
#include "backends/util/banned.h"

struct rig {
	struct vrig v;
	struct names *nm;
};

static void start(struct rig *rig, uint64_t ttl_ns, uint64_t negative_ns)
{
	struct names_conf nc = {
		.ttl_ns = ttl_ns, .negative_ttl_ns = negative_ns, .entries_max = 100};
	vrig_init(&rig->v);
	CHECK_EQ(names_new(&nc, rig->v.be, rig->v.bl, &rig->nm), 0);
}

static void end(struct rig *rig)
{
	names_free(rig->nm);
	vrig_done(&rig->v);
}

static int look(struct rig *rig, const char *path, struct object *ret)
{
	struct call call = {.deadline_ns = clock_add(clock_now_ns(), 5 * NS_PER_S)};
	enum name_kind kind;
	struct object obj;
	int r = names_lookup(rig->nm, path, &kind, ret ? ret : &obj, &call);
	return r ? r : (int)kind;
}

struct text {
	char names[512];
};

static void add_name(struct text *t, const char *name, bool dir)
{
	size_t len = strlen(t->names);
	(void)snprintf(t->names + len, sizeof(t->names) - len, "[%s%s]", name,
		       dir ? "/" : "");
}

/* What a reader of the directory sees, then how it ends. */
static int list(struct rig *rig, const char *dir, struct text *t)
{
	struct call call = {.deadline_ns = clock_add(clock_now_ns(), 5 * NS_PER_S)};
	struct listing *known = listing_new();
	struct names_stream *s;
	struct name name;
	uint32_t place = 0;
	*t = (struct text){""};
	int r = names_open(rig->nm, dir, known, &s, &call);
	if (!r) {
		for (uint32_t i = 0; i < known->n; i++)
			add_name(t, listing_name(known, i), known->entries[i].dir);
		for (; (r = names_next(s, &place, &name, &call)) > 0; place++)
			if (listing_find(known, name.name) == LISTING_NONE)
				add_name(t, name.name, name.kind == NAME_DIR);
		names_close(s);
	}
	listing_unref(known);
	return r;
}

static void names__believes_within_ttl(void)
{
	struct rig rig;
	start(&rig, 60 * NS_PER_S, 50 * NS_PER_MS);
	bucket_set(&rig.v.bucket, "d/f.fits", "x", NULL);
	CHECK_EQ(look(&rig, "d/f.fits", NULL), NAME_FILE);
	CHECK_EQ(look(&rig, "d", NULL), NAME_DIR);
	CHECK_EQ(look(&rig, "n.fits", NULL), -ENOENT);
	int heads = rig.v.bucket.heads, lists = rig.v.bucket.lists;
	CHECK_EQ(look(&rig, "d/f.fits", NULL), NAME_FILE);
	CHECK_EQ(look(&rig, "d", NULL), NAME_DIR);
	CHECK_EQ(look(&rig, "d/other", NULL), -ENOENT); /* the listing was complete */
	CHECK_EQ(look(&rig, "n.fits", NULL), -ENOENT);
	CHECK_EQ(rig.v.bucket.heads, heads);
	CHECK_EQ(rig.v.bucket.lists, lists);
	(void)usleep(60000);
	bucket_set(&rig.v.bucket, "n.fits", "x", NULL);
	CHECK_EQ(look(&rig, "n.fits", NULL), NAME_FILE); /* "no" is believed briefly */
	end(&rig);
}

/* P10 */
static void names__unreachable_is_not_absent(void)
{
	struct rig rig;
	struct text t;
	start(&rig, NS_PER_MS, NS_PER_MS);
	bucket_set(&rig.v.bucket, "f.fits", "x", NULL);
	CHECK_EQ(list(&rig, "", &t), 0);
	(void)usleep(5000);
	atomic_store(&rig.v.bucket.down, -EIO);
	CHECK_EQ(look(&rig, "f.fits", NULL), -EIO);
	CHECK_EQ(look(&rig, "d", NULL), -EIO);
	CHECK_EQ(list(&rig, "", &t), -EIO);
	CHECK_STR(t.names, "");
	atomic_store(&rig.v.bucket.down, 0);
	CHECK_EQ(look(&rig, "f.fits", NULL), NAME_FILE);
	end(&rig);
}

static void names__hides_what_cannot_be_a_name(void)
{
	struct rig rig;
	struct text t;
	start(&rig, 60 * NS_PER_S, NS_PER_S);
	bucket_set(&rig.v.bucket, "d/", "", NULL);
	bucket_set(&rig.v.bucket, "d/..", "x", NULL);
	bucket_set(&rig.v.bucket, "d/.", "x", NULL);
	bucket_set(&rig.v.bucket, "d//x", "x", NULL);
	bucket_set(&rig.v.bucket, "d/ok", "x", NULL);
	bucket_set(&rig.v.bucket, "d/both", "x", NULL);
	bucket_set(&rig.v.bucket, "d/both/x", "x", NULL);
	CHECK_EQ(list(&rig, "d", &t), 0);
	CHECK(strstr(t.names, "[ok]"));
	CHECK(strstr(t.names, "[both/]")); /* the directory wins */
	CHECK_EQ(strlen(t.names), strlen("[ok][both/]"));
	end(&rig);
}

/* A name with a dot is asked for as a file, but not against a listing that had it as a
 * directory, however old that is. */
static void names__a_listed_directory_wins(void)
{
	struct rig rig;
	struct text t;
	start(&rig, 0, 0);
	bucket_set(&rig.v.bucket, "b.f", "1", NULL);
	CHECK_EQ(look(&rig, "b.f", NULL), NAME_FILE);
	bucket_set(&rig.v.bucket, "b.f/x", "2", NULL);
	CHECK_EQ(list(&rig, "", &t), 0);
	CHECK_STR(t.names, "[b.f/]");
	CHECK_EQ(look(&rig, "b.f", NULL), NAME_DIR);
	CHECK_EQ(look(&rig, "b.f", NULL), NAME_DIR);
	CHECK_EQ(look(&rig, "b.f/x", NULL), NAME_FILE);
	bucket_unset(&rig.v.bucket, "b.f/x");
	CHECK_EQ(look(&rig, "b.f", NULL), NAME_FILE);
	end(&rig);
}

/* A directory was removed, and the bucket has a file of its name: that is not hidden. */
static void names__a_removal_is_of_one_kind(void)
{
	struct rig rig;
	struct text t;
	start(&rig, 60 * NS_PER_S, 60 * NS_PER_S);
	bucket_set(&rig.v.bucket, "a", "1", NULL);
	bucket_set(&rig.v.bucket, "b/x", "2", NULL);
	CHECK_EQ(list(&rig, "", &t), 0);
	names_kind_removed(rig.nm, "a", NAME_DIR);
	names_kind_removed(rig.nm, "b", NAME_FILE);
	CHECK_EQ(list(&rig, "", &t), 0);
	CHECK_STR(t.names, "[a][b/]");
	CHECK_EQ(look(&rig, "a", NULL), NAME_FILE);
	CHECK_EQ(look(&rig, "b", NULL), NAME_DIR);
	CHECK(names_was(rig.nm, "a", NAME_FILE) && names_was(rig.nm, "b", NAME_DIR));
	CHECK(!names_was(rig.nm, "a", NAME_DIR) && !names_was(rig.nm, "b", NAME_FILE));
	names_kind_removed(rig.nm, "a", NAME_FILE);
	names_kind_removed(rig.nm, "b", NAME_DIR);
	CHECK_EQ(list(&rig, "", &t), 0);
	CHECK_STR(t.names, "");
	CHECK_EQ(look(&rig, "a", NULL), -ENOENT);
	CHECK_EQ(look(&rig, "b", NULL), -ENOENT);
	end(&rig);
}

/* A file was removed, a directory made in its place, and that was removed, too; and the
 * other way round.  The listing still has the first. */
static void names__a_removal_of_both_kinds_leaves_nothing(void)
{
	struct rig rig;
	struct text t;
	struct object obj = {.size = 1, .etag = "e"};
	start(&rig, 60 * NS_PER_S, 60 * NS_PER_S);
	bucket_set(&rig.v.bucket, "a", "1", NULL);
	bucket_set(&rig.v.bucket, "b/x", "2", NULL);
	CHECK_EQ(list(&rig, "", &t), 0);
	names_kind_removed(rig.nm, "a", NAME_FILE);
	names_put_dir(rig.nm, "a");
	names_kind_removed(rig.nm, "a", NAME_DIR);
	names_kind_removed(rig.nm, "b", NAME_DIR);
	names_put(rig.nm, "b", &obj);
	names_kind_removed(rig.nm, "b", NAME_FILE);
	CHECK_EQ(look(&rig, "a", NULL), -ENOENT);
	CHECK_EQ(look(&rig, "b", NULL), -ENOENT);
	CHECK_EQ(list(&rig, "", &t), 0);
	CHECK_STR(t.names, "");
	end(&rig);
}

static void *find_d(void *arg)
{
	CHECK_EQ(look(arg, "d", NULL), NAME_DIR);
	return NULL;
}

static void *list_d(void *arg)
{
	struct text t;
	CHECK_EQ(list(arg, "d", &t), 0);
	CHECK_STR(t.names, "[f]");
	return NULL;
}

static void *list_root(void *arg)
{
	struct text t;
	CHECK_EQ(list(arg, "", &t), 0);
	return NULL;
}

/* A listing that began earlier undoes nothing of what we did. */
static void names__own_changes_survive_a_listing(void)
{
	struct rig rig;
	struct object obj = {.size = 3, .etag = "\"mine\"", .mtime_ns = 9};
	pthread_t t;
	start(&rig, 60 * NS_PER_S, NS_PER_S);
	bucket_set(&rig.v.bucket, "gone", "x", NULL);
	atomic_store(&rig.v.bucket.held, true);
	CHECK(!pthread_create(&t, NULL, list_root, &rig));
	VRIG_UNTIL(rig.v.bucket.lists == 1);
	names_put(rig.nm, "new", &obj);
	names_removed(rig.nm, "gone");
	atomic_store(&rig.v.bucket.held, false);
	CHECK(!pthread_join(t, NULL));
	CHECK_EQ(look(&rig, "gone", NULL), -ENOENT);
	CHECK_EQ(look(&rig, "new", &obj), NAME_FILE);
	CHECK_STR(obj.etag, "\"mine\"");
	end(&rig);
}

static void *look_for_file(void *arg)
{
	(void)look(arg, "f.fits", NULL);
	return NULL;
}

/* An answer that was on its way for long says nothing against what was heard since. */
static void names__a_late_answer_undoes_no_listing(void)
{
	struct rig rig;
	struct object obj, mine = {.size = 3, .etag = "\"mine\""};
	struct text text;
	pthread_t t;
	start(&rig, 60 * NS_PER_S, 60 * NS_PER_S);
	atomic_store(&rig.v.bucket.late_heads, true);
	CHECK(!pthread_create(&t, NULL, look_for_file, &rig));
	VRIG_UNTIL(rig.v.bucket.heads == 1);
	(void)usleep(20000); /* it was not there */
	bucket_set(&rig.v.bucket, "f.fits", "new", NULL);
	names_put(rig.nm, "f.fits", &mine);
	CHECK_EQ(list(&rig, "", &text), 0);
	CHECK_EQ(look(&rig, "f.fits", &obj), NAME_FILE);
	atomic_store(&rig.v.bucket.late_heads, false);
	CHECK(!pthread_join(t, NULL));
	CHECK_EQ(look(&rig, "f.fits", &obj), NAME_FILE);
	CHECK_EQ(rig.v.bucket.heads, 1);
	end(&rig);
}

/* All that was listed in it was removed since, and then itself. */
static void names__an_emptied_directory_stays_removed(void)
{
	struct rig rig;
	struct text t;
	start(&rig, 60 * NS_PER_S, 20 * NS_PER_MS);
	bucket_set(&rig.v.bucket, "d/f", "1", NULL);
	CHECK_EQ(list(&rig, "d", &t), 0);
	CHECK_STR(t.names, "[f]");
	CHECK_EQ(look(&rig, "d", NULL), NAME_DIR);
	bucket_unset(&rig.v.bucket, "d/f");
	names_kind_removed(rig.nm, "d/f", NAME_FILE);
	names_kind_removed(rig.nm, "d", NAME_DIR);
	CHECK_EQ(look(&rig, "d", NULL), -ENOENT);
	(void)usleep(30000); /* "no" is believed briefly */
	CHECK_EQ(look(&rig, "d", NULL), -ENOENT);
	end(&rig);
}

/* That a directory is there is known from its listing, and no longer than that is. */
static void names__a_directory_is_as_old_as_its_listing(void)
{
	struct rig rig;
	struct text t;
	start(&rig, 300 * NS_PER_MS, 300 * NS_PER_MS);
	bucket_set(&rig.v.bucket, "d/f", "1", NULL);
	CHECK_EQ(list(&rig, "d", &t), 0);
	(void)usleep(200000);
	CHECK_EQ(look(&rig, "d", NULL), NAME_DIR);
	bool in_time = rig.v.bucket.lists == 1; /* or it was asked for again by then */
	bucket_unset(&rig.v.bucket, "d/f");
	(void)usleep(150000);
	if (in_time)
		CHECK_EQ(look(&rig, "d", NULL), -ENOENT);
	end(&rig);
}

/* What was doubted while the listing was on its way is asked for again. */
static void names__doubt_outlives_a_listing(void)
{
	struct rig rig;
	pthread_t t;
	start(&rig, 60 * NS_PER_S, NS_PER_S);
	bucket_set(&rig.v.bucket, "f.fits", "x", NULL);
	atomic_store(&rig.v.bucket.held, true);
	CHECK(!pthread_create(&t, NULL, list_root, &rig));
	VRIG_UNTIL(rig.v.bucket.lists == 1);
	names_forget(rig.nm, "f.fits");
	atomic_store(&rig.v.bucket.held, false);
	CHECK(!pthread_join(t, NULL));
	CHECK_EQ(look(&rig, "f.fits", NULL), NAME_FILE);
	CHECK_EQ(rig.v.bucket.heads, 1);
	end(&rig);
}

/* HEAD told the user's time: a LIST of the same version does not take it back. */
static void names__keeps_the_users_mtime(void)
{
	struct rig rig;
	struct object obj;
	struct text t;
	start(&rig, 60 * NS_PER_S, NS_PER_S);
	bucket_set(&rig.v.bucket, "f.fits", "x", NULL);
	CHECK_EQ(look(&rig, "f.fits", &obj), NAME_FILE);
	int64_t told = obj.mtime_ns;
	CHECK_EQ(list(&rig, "", &t), 0);
	CHECK_EQ(look(&rig, "f.fits", &obj), NAME_FILE);
	CHECK_EQ(obj.mtime_ns, told);
	CHECK_EQ(rig.v.bucket.heads, 1);
	end(&rig);
}

static void *look_for_dir(void *arg)
{
	CHECK_EQ(look(arg, "d", NULL), -ETIMEDOUT);
	return NULL;
}

/* P8: a question that was asked long before has its deadline before ours. */
static void names__anothers_patience_is_not_ours(void)
{
	struct rig rig;
	pthread_t one, two, three;
	start(&rig, 60 * NS_PER_S, NS_PER_S);
	names_free(rig.nm);
	struct names_conf nc = {.timeout_ns = 2000 * NS_PER_MS, .entries_max = 100};
	CHECK_EQ(names_new(&nc, rig.v.be, rig.v.bl, &rig.nm), 0);
	bucket_set(&rig.v.bucket, "d/f", "x", NULL);
	atomic_store(&rig.v.bucket.held, true);
	CHECK(!pthread_create(&one, NULL, look_for_dir, &rig));
	VRIG_UNTIL(rig.v.bucket.lists == 1);
	(void)usleep(1500000);
	CHECK(!pthread_create(&two, NULL, find_d, &rig));
	CHECK(!pthread_create(&three, NULL, list_d, &rig));
	CHECK(!pthread_join(one, NULL));
	atomic_store(&rig.v.bucket.held, false);
	CHECK(!pthread_join(two, NULL));
	CHECK(!pthread_join(three, NULL));
	end(&rig);
}

enum { LISTERS = 8 };

static void names__one_list_for_all_who_ask(void)
{
	struct rig rig;
	pthread_t t[LISTERS];
	start(&rig, 60 * NS_PER_S, NS_PER_S);
	bucket_set(&rig.v.bucket, "f", "x", NULL);
	atomic_store(&rig.v.bucket.held, true);
	for (int i = 0; i < LISTERS; i++)
		CHECK(!pthread_create(&t[i], NULL, list_root, &rig));
	VRIG_UNTIL(rig.v.bucket.lists == 1);
	(void)usleep(50000);
	atomic_store(&rig.v.bucket.held, false);
	for (int i = 0; i < LISTERS; i++)
		CHECK(!pthread_join(t[i], NULL));
	CHECK_EQ(rig.v.bucket.lists, 1);
	end(&rig);
}

static void names__keeps_no_more_than_it_may(void)
{
	struct rig rig;
	start(&rig, 60 * NS_PER_S, 60 * NS_PER_S);
	bucket_set(&rig.v.bucket, "d/f.fits", "x", NULL);
	for (int i = 0; i < 300; i++) { /* absent ones are remembered as well */
		char path[32];
		(void)snprintf(path, sizeof(path), "x%03d/y", i);
		CHECK_EQ(look(&rig, path, NULL), -ENOENT);
		CHECK_EQ(look(&rig, "d/f.fits", NULL), NAME_FILE);
		CHECK(names_count(rig.nm) <= 102); /* and what is being asked for */
	}
	CHECK(names_count(rig.nm) > 10);
	/* What is used stays: one question was enough for it. */
	CHECK_EQ(rig.v.bucket.heads, 301);
	end(&rig);
}

/* As the bucket told it of the key of that number; etag NULL: it is not there. */
static void heard(struct nrig *rig, int no, const char *etag)
{
	struct object obj = {.size = 7, .mtime_ns = 9};
	char path[300];
	(void)snprintf(path, sizeof(path), "d/%s", rig->store.keys[no]);
	(void)snprintf(obj.etag, sizeof(obj.etag), "%s", etag ? etag : "");
	names_note(rig->nm, path, etag ? IS_FILE : IS_ABSENT, &obj, clock_now_ns());
}

static struct object known(struct nrig *rig, int no)
{
	struct object obj;
	enum name_kind kind;
	char path[300];
	(void)snprintf(path, sizeof(path), "d/%s", rig->store.keys[no]);
	CHECK_EQ(names_lookup(rig->nm, path, &kind, &obj, NULL), 0);
	CHECK_EQ(kind, NAME_FILE);
	return obj;
}

/* What `ls` has just shown is not taken back by what was heard before it began. */
static void names__listing_under_way_outdates_what_was_heard(void)
{
	struct nrig rig;
	struct call call = nrig_call();
	struct listing *better = listing_new();
	struct names_stream *s;
	nrig_init(&rig, 0);
	nrig_fill_numbers(&rig.store);
	nrig_settle(&rig.store);
	for (int i = 0; i < 2; i++)
		heard(&rig, i * 2 * NRIG_PAGE, "\"old\"");
	heard(&rig, 1, NULL);
	heard(&rig, 2, "\"e\"");
	atomic_store(&rig.store.hold_from, 2);
	CHECK_EQ(names_open(rig.nm, "d", better, &s, &call), 0);
	heard(&rig, 3, "\"new\"");
	CHECK_STR(known(&rig, 0).etag, "\"e\"");
	CHECK_STR(known(&rig, 1).etag, "\"e\"");
	CHECK_EQ(known(&rig, 2).mtime_ns, 9); /* the user's, which no listing tells */
	CHECK_STR(known(&rig, 3).etag, "\"new\"");
	CHECK_STR(known(&rig, 2 * NRIG_PAGE).etag, "\"old\""); /* not yet listed */
	atomic_store(&rig.store.hold_from, 0);
	names_close(s);
	listing_unref(better);
	nrig_done(&rig);
}

int main(void)
{
	RUN(names__believes_within_ttl);
	RUN(names__unreachable_is_not_absent);
	RUN(names__hides_what_cannot_be_a_name);
	RUN(names__a_listed_directory_wins);
	RUN(names__a_removal_is_of_one_kind);
	RUN(names__a_removal_of_both_kinds_leaves_nothing);
	RUN(names__own_changes_survive_a_listing);
	RUN(names__a_late_answer_undoes_no_listing);
	RUN(names__an_emptied_directory_stays_removed);
	RUN(names__a_directory_is_as_old_as_its_listing);
	RUN(names__doubt_outlives_a_listing);
	RUN(names__keeps_the_users_mtime);
	RUN(names__anothers_patience_is_not_ours);
	RUN(names__one_list_for_all_who_ask);
	RUN(names__listing_under_way_outdates_what_was_heard);
	RUN(names__keeps_no_more_than_it_may);
	return 0;
}
