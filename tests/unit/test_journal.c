/* test_journal.c - the invariants of journal.h and journal.c. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "cache/journal.h"
#include "tests/unit/check.h"
#include "backends/util/banned.h"

static char dir[64], path[96];

static void start(void)
{
	(void)snprintf(dir, sizeof(dir), "/tmp/mastfs-journal-XXXXXX");
	CHECK(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/journal.db", dir);
}

static void end(void)
{
	char command[96];
	(void)snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	CHECK_EQ(system(command), 0);
}

struct seen {
	char text[1024];
	int rows, error;
};

static int see_row(void *arg, const struct journal_row *r)
{
	struct seen *s = arg;
	size_t len = strlen(s->text);
	(void)snprintf(s->text + len, sizeof(s->text) - len,
		       "row %d %s %d%d%d%d%d %d %s,%s,%s,%s;", (int)r->id, r->key,
		       (int)r->state, r->local, r->synced, r->mtime_set, r->torn,
		       (int)r->size, r->base, r->tag, r->base_tag, r->upload_id);
	s->rows++;
	return s->error;
}

static int see_gone(void *arg, const char *key, const char *etag, const char *tag)
{
	struct seen *s = arg;
	size_t len = strlen(s->text);
	(void)snprintf(s->text + len, sizeof(s->text) - len, "gone %s %s %s;", key, etag,
		       tag);
	return 0;
}

static int see_dir(void *arg, const char *key)
{
	struct seen *s = arg;
	size_t len = strlen(s->text);
	(void)snprintf(s->text + len, sizeof(s->text) - len, "dir %s;", key);
	return 0;
}

static int see_upload(void *arg, const struct journal_upload *up)
{
	struct seen *s = arg;
	size_t len = strlen(s->text);
	(void)snprintf(s->text + len, sizeof(s->text) - len, "upload %d %d %s %s %s;",
		       (int)up->id, (int)up->staged_id, up->key, up->upload_id, up->tag);
	return 0;
}

static int see_part(void *arg, uint64_t upload, const struct part *part, uint32_t crc)
{
	struct seen *s = arg;
	size_t len = strlen(s->text);
	(void)snprintf(s->text + len, sizeof(s->text) - len, "part %d %d %d %s %x;",
		       (int)upload, (int)part->number, (int)part->size, part->receipt,
		       crc);
	return 0;
}

static int load(struct seen *s, struct journal **ret)
{
	struct journal_visitor v = {s, see_row, see_gone, see_dir, see_upload, see_part};
	*s = (struct seen){.error = s->error};
	int r = journal_open(path, ret);
	if (r)
		return r;
	r = journal_load(*ret, &v);
	if (r)
		journal_close(*ret);
	return r;
}

static const struct journal_row row = {.id = 7,
				       .key = "d/\xff\n'x",
				       .state = ROW_SEALED,
				       .synced = true,
				       .mtime_set = true,
				       .torn = true,
				       .size = 12,
				       .base = "\"e\"",
				       .tag = "t",
				       .base_tag = "bt",
				       .upload_id = "?"};

static void put_all(void)
{
	struct seen s = {.error = 0};
	struct journal *jn;
	CHECK_EQ(load(&s, &jn), 0);
	CHECK(journal_is_new(jn));
	struct journal_change c[] = {
		{.kind = JOURNAL_PUT_ROW, .row = &row},
		{.kind = JOURNAL_PUT_GONE, .key = "g", .etag = "\"1\"", .tag = "t1"},
		{.kind = JOURNAL_PUT_GONE, .key = "h/", .etag = ""},
		{.kind = JOURNAL_PUT_DIR, .key = "l"},
	};
	CHECK_EQ(journal_commit(jn, c, 4, true), 0);
	struct journal_change d[] = {{.kind = JOURNAL_DEL_GONE, .key = "h/"}};
	CHECK_EQ(journal_commit(jn, d, 1, false), 0);
}

static void in_child(void (*work)(void))
{
	(void)fflush(stdout);
	pid_t pid = fork();
	if (!pid) {
		work();
		_exit(0);
	}
	int status;
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK_EQ(status, 0);
}

/* (1), (2): what was committed is there although nothing was closed. */
static void journal__survives_its_process(void)
{
	start();
	in_child(put_all);
	struct seen s = {.error = 0};
	struct journal *jn;
	CHECK_EQ(load(&s, &jn), 0);
	CHECK_STR(s.text,
		  "row 7 d/\xff\n'x 10111 12 \"e\",t,bt,?;gone g \"1\" t1;dir l;");
	CHECK(!journal_is_new(jn) || journal_new_id(jn) > 7);
	CHECK(journal_new_id(jn) > 7); /* never a row's */
	struct journal_change c[] = {{.kind = JOURNAL_DEL_ROW, .id = 7},
				     {.kind = JOURNAL_DEL_GONE, .key = "g"},
				     {.kind = JOURNAL_DEL_DIR, .key = "l"}};
	CHECK_EQ(journal_commit(jn, c, 3, true), 0);
	uint64_t id = journal_new_id(jn);
	CHECK_EQ(journal_commit(jn, c, 1, false), 0);
	journal_close(jn);
	CHECK_EQ(load(&s, &jn), 0);
	CHECK_STR(s.text, "");
	CHECK(!journal_is_new(jn));
	CHECK(journal_new_id(jn) > id);
	journal_close(jn);
	end();
}

static void post_then_die(void)
{
	struct seen s = {.error = 0};
	struct journal *jn;
	struct journal_row open = row;
	open.state = ROW_OPEN;
	CHECK_EQ(load(&s, &jn), 0);
	/* The first of all is a commit: an empty journal would mean another thing. */
	CHECK_EQ(journal_post_row(jn, &open), 0);
	open.id = 8;
	CHECK_EQ(journal_post_row(jn, &open), 0);
	struct journal_change c[] = {{.kind = JOURNAL_DEL_ROW, .id = 7},
				     {.kind = JOURNAL_PUT_DIR, .key = "l"}};
	CHECK_EQ(journal_commit(jn, c, 2, true), 0);
}

/* (3): what was posted is there with the commit after it. */
static void journal__posts_go_with_the_next_commit(void)
{
	start();
	in_child(post_then_die);
	struct seen s = {.error = 0};
	struct journal *jn;
	CHECK_EQ(load(&s, &jn), 0);
	CHECK_STR(s.text, "row 8 d/\xff\n'x 00111 12 \"e\",t,bt,?;dir l;");
	journal_close(jn);
	end();
}

static void post_first_and_die(void)
{
	struct seen s = {.error = 0};
	struct journal *jn;
	CHECK_EQ(load(&s, &jn), 0);
	CHECK_EQ(journal_post_row(jn, &row), 0);
}

static void journal__the_first_post_is_a_commit(void)
{
	start();
	in_child(post_first_and_die);
	struct seen s = {.error = 0};
	struct journal *jn;
	CHECK_EQ(load(&s, &jn), 0);
	CHECK_EQ(s.rows, 1);
	CHECK(!journal_is_new(jn) || journal_new_id(jn) > 7);
	journal_close(jn);
	end();
}

static off_t log_size(void)
{
	char log[112];
	struct stat sb;
	(void)snprintf(log, sizeof(log), "%s-wal", path);
	CHECK_EQ(stat(log, &sb), 0);
	return sb.st_size;
}

static void post_and_wait(void)
{
	struct seen s = {.error = 0};
	struct journal *jn;
	CHECK_EQ(load(&s, &jn), 0);
	CHECK_EQ(journal_post_row(jn, &row), 0);
	off_t before = log_size();
	struct journal_row more = row;
	more.id = 9;
	CHECK_EQ(journal_post_row(jn, &more), 0);
	while (log_size() == before)
		(void)usleep(1000);
}

/* Nobody commits anything: it is there within moments all the same. */
static void journal__posts_do_not_wait_for_ever(void)
{
	start();
	in_child(post_and_wait);
	struct seen s = {.error = 0};
	struct journal *jn;
	CHECK_EQ(load(&s, &jn), 0);
	CHECK_EQ(s.rows, 2);
	journal_close(jn);
	end();
}

/* An upload outlives the row of its file, and takes its parts with it. */
static void journal__uploads_and_parts(void)
{
	start();
	struct seen s = {.error = 0};
	struct journal *jn;
	struct journal_upload up = {9, 7, "k", "id", "t"};
	struct part part = {.number = 3, .size = 5, .receipt = "\"e\" sum"};
	struct journal_change c[] = {
		{.kind = JOURNAL_PUT_ROW, .row = &row},
		{.kind = JOURNAL_PUT_UPLOAD, .upload = &up},
		{.kind = JOURNAL_PUT_PART, .id = 9, .part = &part, .crc = 0xfedcba98},
		{.kind = JOURNAL_DEL_ROW, .id = 7},
	};
	CHECK_EQ(load(&s, &jn), 0);
	CHECK_EQ(journal_commit(jn, c, 4, true), 0);
	journal_close(jn);
	CHECK_EQ(load(&s, &jn), 0);
	CHECK_STR(s.text, "upload 9 7 k id t;part 9 3 5 \"e\" sum fedcba98;");
	CHECK(journal_new_id(jn) > 9);
	struct journal_change d = {.kind = JOURNAL_DEL_UPLOAD, .id = 9};
	CHECK_EQ(journal_commit(jn, &d, 1, true), 0);
	journal_close(jn);
	CHECK_EQ(load(&s, &jn), 0);
	CHECK_STR(s.text, "");
	journal_close(jn);
	end();
}

enum { THREADS = 8, EACH = 50 };

static void *commit_many(void *arg)
{
	struct journal *jn = arg;
	for (int i = 0; i < EACH; i++) {
		struct journal_row r = row;
		r.id = journal_new_id(jn);
		struct journal_change c = {.kind = JOURNAL_PUT_ROW, .row = &r};
		CHECK_EQ(journal_commit(jn, &c, 1, i % 10 == 0), 0);
		struct journal_change d = {.kind = JOURNAL_DEL_ROW, .id = r.id};
		if (i % 2)
			CHECK_EQ(journal_commit(jn, &d, 1, false), 0);
	}
	return NULL;
}

/* (3): one's own changes come in order, whoever commits beside. */
static void journal__commits_from_many_threads(void)
{
	start();
	struct seen s = {.error = 0};
	struct journal *jn;
	pthread_t t[THREADS];
	CHECK_EQ(load(&s, &jn), 0);
	for (int i = 0; i < THREADS; i++)
		CHECK(!pthread_create(&t[i], NULL, commit_many, jn));
	for (int i = 0; i < THREADS; i++)
		CHECK(!pthread_join(t[i], NULL));
	journal_close(jn);
	CHECK_EQ(load(&s, &jn), 0);
	CHECK_EQ(s.rows, THREADS * EACH / 2);
	journal_close(jn);
	end();
}

/* A visitor's error ends the load and is handed on. */
static void journal__visitor_can_refuse(void)
{
	start();
	in_child(put_all);
	struct seen s = {.error = -EUCLEAN};
	struct journal *jn;
	CHECK_EQ(load(&s, &jn), -EUCLEAN);
	end();
}

static size_t slurp(const char *file, char *buf, size_t size)
{
	int fd = open(file, O_RDONLY);
	CHECK(fd >= 0);
	ssize_t n = read(fd, buf, size);
	CHECK(n >= 0);
	(void)close(fd);
	return (size_t)n;
}

/* (4): any byte of a row that changed is found, and the file is left as it is. */
static void journal__damage_is_refused_and_untouched(void)
{
	static const char *const marks[] = {"\"e\"", "t1", "d/\xff"};
	static char before[1 << 20], after[1 << 20];
	for (size_t m = 0; m < 3; m++) {
		start();
		struct seen s = {.error = 0};
		struct journal *jn;
		in_child(put_all);
		CHECK_EQ(load(&s, &jn), 0);
		journal_close(jn); /* checkpoints: all of it is in the file */
		size_t n = slurp(path, before, sizeof(before));
		char *at = memmem(before, n, marks[m], strlen(marks[m]));
		CHECK(at);
		at[1] = (char)(at[1] ^ 1);
		int fd = open(path, O_WRONLY);
		CHECK(fd >= 0 && pwrite(fd, before, n, 0) == (ssize_t)n && !close(fd));
		CHECK_EQ(load(&s, &jn), -EUCLEAN);
		CHECK_EQ(slurp(path, after, sizeof(after)), n);
		CHECK(!memcmp(before + 100, after + 100, n - 100));
		end();
	}
}

/* With a CRC that is right: ids would start over behind it, and meet those in use. */
static void journal__an_id_that_nobody_gave_out_is_refused(void)
{
	static const uint64_t ids[] = {0, (uint64_t)INT64_MAX / 2 + 1, UINT64_MAX};
	for (size_t i = 0; i < sizeof(ids) / sizeof(*ids); i++) {
		struct seen s = {.error = 0};
		struct journal *jn;
		struct journal_upload up = {
			.id = ids[i], .key = "k", .upload_id = "u", .tag = "t"};
		struct journal_change c = {.kind = JOURNAL_PUT_UPLOAD, .upload = &up};
		start();
		CHECK_EQ(load(&s, &jn), 0);
		CHECK_EQ(journal_commit(jn, &c, 1, false), 0);
		journal_close(jn);
		CHECK_EQ(load(&s, &jn), -EUCLEAN);
		end();
	}
}

static void journal__garbage_is_refused_and_untouched(void)
{
	char text[] = "this is no database, and far too short for one";
	char now[100];
	start();
	struct seen s = {.error = 0};
	struct journal *jn;
	int fd = open(path, O_CREAT | O_WRONLY, 0600);
	CHECK(write(fd, text, sizeof(text)) == sizeof(text));
	(void)close(fd);
	CHECK_EQ(load(&s, &jn), -EUCLEAN);
	CHECK_EQ(slurp(path, now, sizeof(now)), sizeof(text));
	CHECK(!memcmp(text, now, sizeof(text)));
	end();
}

static int put_sealed(struct journal *jn, uint64_t id, const char *key)
{
	struct journal_row sealed = row;
	sealed.id = id;
	sealed.key = key;
	struct journal_change c = {.kind = JOURNAL_PUT_ROW, .row = &sealed};
	return journal_commit(jn, &c, 1, true);
}

/* A disk that takes no more: what would make a file longer fails. */
static void set_full(bool full)
{
	struct rlimit limit;
	(void)signal(SIGXFSZ, SIG_IGN);
	CHECK_EQ(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = full ? 1 : limit.rlim_max;
	CHECK_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* A row and a removal that are over, and that a full disk kept. */
static struct journal *with_leftovers(void)
{
	struct journal *jn;
	struct seen s = {.error = 0};
	char key[] = "b"; /* as long as the call */
	start();
	CHECK_EQ(load(&s, &jn), 0);
	CHECK_EQ(put_sealed(jn, 1, "a"), 0);
	struct journal_change gone = {.kind = JOURNAL_PUT_GONE, .key = "b", .etag = "e"};
	CHECK_EQ(journal_commit(jn, &gone, 1, true), 0);
	set_full(true);
	struct journal_change over[] = {{.kind = JOURNAL_DEL_ROW, .id = 1},
					{.kind = JOURNAL_DEL_GONE, .key = key}};
	journal_forget(jn, over, 2, false);
	key[0] = 0;
	return jn;
}

static void closes_with(struct journal *jn, const char *text)
{
	struct seen s = {.error = 0};
	journal_close(jn);
	CHECK_EQ(load(&s, &jn), 0);
	CHECK_STR(s.text, text);
	journal_close(jn);
	end();
}

/* journal (5): what comes after a deletion that failed has it before it, or fails. */
static void journal__what_is_forgotten_is_gone_first(void)
{
	struct journal *jn = with_leftovers();
	CHECK(put_sealed(jn, 2, "c") < 0);
	set_full(false);
	CHECK_EQ(put_sealed(jn, 3, "d"), 0);
	closes_with(jn, "row 3 d 10111 12 \"e\",t,bt,?;");
}

/* journal (5): also where nothing comes after it. */
static void journal__what_is_forgotten_goes_at_the_end(void)
{
	struct journal *jn = with_leftovers();
	set_full(false);
	closes_with(jn, "");
}

int main(void)
{
	RUN(journal__survives_its_process);
	RUN(journal__uploads_and_parts);
	RUN(journal__posts_go_with_the_next_commit);
	RUN(journal__the_first_post_is_a_commit);
	RUN(journal__posts_do_not_wait_for_ever);
	RUN(journal__commits_from_many_threads);
	RUN(journal__what_is_forgotten_is_gone_first);
	RUN(journal__what_is_forgotten_goes_at_the_end);
	RUN(journal__visitor_can_refuse);
	RUN(journal__damage_is_refused_and_untouched);
	RUN(journal__an_id_that_nobody_gave_out_is_refused);
	RUN(journal__garbage_is_refused_and_untouched);
	return 0;
}
