/* fuzz_dbfile.c - the files of journal and index, with bytes of them changed, or cut.
 *
 * A journal is refused, or hands on every row that was written to it, and each as it was
 * (P3): this disk has the only copy.  An index is thrown away, or tells nothing else.
 *
 * An input: 'j' or 'i'; how many pages of 4096 bytes are cut off; then places, and what
 * is there instead.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include "backends/util/log.h"
#include "tests/fuzz/kept.h"
#include "backends/util/banned.h"

enum { FILE_MAX_BYTES = 1 << 20, PAGE_BYTES = 4096, PIECES_MAX = 16 };

struct file {
	char path[128], wal[128];
	uint8_t *bytes; /* as it was written */
	size_t n;
};
static struct file journal_file, index_file;
static char dir[64] = "/dev/shm/mastfs-fuzz-XXXXXX";

/* --- once --- */

static void keep_file(struct file *f)
{
	int fd = open(f->path, O_RDONLY | O_CLOEXEC);
	f->bytes = malloc(FILE_MAX_BYTES);
	MUST(fd >= 0 && f->bytes);
	ssize_t n = pread(fd, f->bytes, FILE_MAX_BYTES, 0);
	MUST(n > 0 && n < FILE_MAX_BYTES && !close(fd));
	f->n = (size_t)n;
}

static struct journal *open_journal(struct kept_seen *seen, int *ret)
{
	struct journal_visitor v = {.arg = seen,
				    .row = kept_on_row,
				    .gone = kept_on_gone,
				    .dir = kept_on_dir,
				    .upload = kept_on_upload,
				    .part = kept_on_part};
	struct journal *j = NULL;
	*ret = journal_open(journal_file.path, &j);
	if (!*ret)
		*ret = journal_load(j, &v);
	return j;
}

static void make_journal(void)
{
	struct kept_seen seen = {.n = 0};
	int r;
	struct journal *j = open_journal(&seen, &r);
	MUST(!r);
	for (int i = 0; i < KEPT_LAST_ID; i++)
		(void)journal_new_id(j);
	for (int i = 0; i < KEPT; i++) {
		struct journal_change c = {.kind = JOURNAL_PUT_ROW, .row = &kept_rows[i]};
		MUST(!journal_commit(j, &c, 1, false));
	}
	MUST(!journal_commit(j, kept_gone, KEPT, false));
	MUST(!journal_commit(j, kept_uploads, KEPT_UPLOADS, false));
	MUST(!journal_commit(j, kept_dirs, KEPT, true));
	journal_close(j);
	keep_file(&journal_file);
}

static void make_index(void)
{
	struct index *ix;
	MUST(!index_new(dir, &ix));
	kept_make_index(ix);
	index_free(ix);
	keep_file(&index_file);
}

static void name_file(struct file *f, const char *name)
{
	(void)snprintf(f->path, sizeof f->path, "%s/%s", dir, name);
	(void)snprintf(f->wal, sizeof f->wal, "%s/%s-wal", dir, name);
}

static void clean_up(void)
{
	(void)unlink(journal_file.path);
	(void)unlink(journal_file.wal);
	(void)unlink(index_file.path);
	(void)unlink(index_file.wal);
	(void)rmdir(dir);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	log_set_level(LOG_LEVEL_ERROR);
	log_use_fd(open("/dev/null", O_WRONLY | O_CLOEXEC));
	MUST(mkdtemp(dir));
	name_file(&journal_file, "journal.db");
	name_file(&index_file, "index.db");
	(void)atexit(clean_up);
	make_journal();
	make_index();
	return 0;
}

/* --- an input --- */

/* The file with the changes; false: it is what it was. */
static bool write_changed(const struct file *f, struct input *in)
{
	static uint8_t bytes[FILE_MAX_BYTES];
	size_t n = f->n, cut = take_byte(in) % 8 * PAGE_BYTES;
	n -= cut < n ? cut : 0;
	memcpy(bytes, f->bytes, n);
	for (int i = 0; in->n > 3 && i < PIECES_MAX; i++) {
		size_t at = take_number(in, 2) % n, len = 1 + take_byte(in) % 16;
		for (size_t k = 0; k < len && in->n && at + k < n; k++)
			bytes[at + k] = take_byte(in);
	}
	(void)unlink(f->wal);
	(void)unlink(f->path);
	int fd = open(f->path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	MUST(fd >= 0 && pwrite(fd, bytes, n, 0) == (ssize_t)n && !close(fd));
	return n != f->n || memcmp(bytes, f->bytes, n) != 0;
}

static void run_journal(struct input *in)
{
	struct kept_seen seen = {.n = 0};
	int r;
	bool changed = write_changed(&journal_file, in);
	struct journal *j = open_journal(&seen, &r);
	MUST(r <= 0 && (changed || !r));
	MUST(r || seen.n == KEPT_ALL);
	/* An id is never given out twice. */
	MUST(r || journal_new_id(j) > KEPT_LAST_ID);
	journal_close(j);
}

static void run_index(struct input *in)
{
	struct index *ix;
	bool changed = write_changed(&index_file, in);
	int r = index_new(dir, &ix);
	MUST(r <= 0 && (changed || !r));
	if (r)
		return;
	kept_read_index(ix);
	index_free(ix);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	uint8_t letter = take_byte(&in);
	if (letter == 'j')
		run_journal(&in);
	else if (letter == 'i')
		run_index(&in);
	return 0;
}
