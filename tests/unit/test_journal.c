/* test_journal.c - the invariants of journal.h and journal.c. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
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
		       "row %d %s %d%d%d %d %s,%s,%s,%s;", (int)r->id, r->key,
		       (int)r->state, r->local, r->synced, (int)r->size, r->base, r->tag,
		       r->base_tag, r->upload_id);
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

static int load(struct seen *s, struct journal **ret)
{
	struct journal_visitor v = {s, see_row, see_gone, see_dir};
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
	CHECK_STR(s.text, "row 7 d/\xff\n'x 101 12 \"e\",t,bt,?;gone g \"1\" t1;dir l;");
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

int main(void)
{
	RUN(journal__survives_its_process);
	RUN(journal__commits_from_many_threads);
	RUN(journal__visitor_can_refuse);
	RUN(journal__damage_is_refused_and_untouched);
	RUN(journal__garbage_is_refused_and_untouched);
	return 0;
}
