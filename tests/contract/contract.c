/* contract.c - see contract.h. */
#include "tests/contract/contract.h"
#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>
#include "backends/crc.h"
#include "backends/util/cleanup.h"
#include "backends/util/banned.h"

struct backend *be;
char prefix[40];
unsigned char *pattern;
const char tag_a[] = "0123456789abcdef0123456789abcdef";
const char tag_b[] = "fedcba9876543210fedcba9876543210";

const char *k(const char *name)
{
	static _Thread_local char keys[8][KEY_SIZE];
	static _Thread_local unsigned int turn;
	char *key = keys[turn++ % 8];
	(void)snprintf(key, KEY_SIZE, "%s%s", prefix, name);
	return key;
}

bool has(uint32_t cap)
{
	return (be->caps & cap) != 0;
}

int put_at(const char *name, const void *bytes, size_t len, const struct put_opts *opts,
	   struct object *ret)
{
	struct object obj;
	CLEANUP_CLOSE int fd = memfd_create("source", MFD_CLOEXEC);
	/* Not at the start, so that the offset is looked at. */
	if (fd < 0 || pwrite(fd, bytes, len, 7) != (ssize_t)len)
		return -EIO;
	struct source src = {.fd = fd, .off = 7, .len = len};
	return backend_put(be, k(name), &src, opts, ret ? ret : &obj, NULL);
}

int put(const char *name, size_t len, struct object *ret)
{
	return put_at(name, pattern, len, &(struct put_opts){0}, ret);
}

int expect_sink(void *arg, uint64_t off, const void *bytes, size_t len)
{
	struct expect *e = arg;
	if (e->error)
		return e->error;
	if (off != e->next || memcmp(bytes, e->bytes + (off - e->start), len) != 0)
		e->wrong = true;
	e->next = off + len;
	if (e->cancel)
		atomic_store(e->cancel, true);
	return 0;
}

int get_is(const char *name, const struct object *obj, uint64_t off, uint64_t len,
	   const void *bytes)
{
	struct expect e = {.start = off, .next = off, .bytes = bytes};
	int r = backend_get(be, k(name), obj, off, len, expect_sink, &e, NULL);
	return r < 0 ? r : e.wrong || e.next != off + len;
}

int note_entry(void *arg, const char *key, size_t key_len, const struct object *obj)
{
	struct listing *l = arg;
	size_t n = strlen(prefix);
	if (key_len < n || memcmp(key, prefix, n) != 0 || key[key_len])
		return -EPROTO;
	if (obj && key[key_len - 1] == '/' && !l->markers)
		return 0;
	buf_addf(&l->text, "%s%s ", key + n, obj ? "" : "*");
	if (obj)
		l->last = *obj;
	l->n++;
	return 0;
}

bool listing_is(const char *name, char delim, uint32_t max, bool markers,
		const char *want)
{
	struct listing l = {.markers = markers};
	struct list_query q = {.prefix = k(name), .delim = delim, .max = max};
	buf_init(&l.text, MIB);
	int r = backend_list_all(be, &q, note_entry, &l, NULL);
	bool same = !r && !strcmp(l.text.data, want);
	if (!same)
		(void)printf("  list %s: %d, \"%s\", not \"%s\"\n", name, r, l.text.data,
			     want);
	buf_done(&l.text);
	return same;
}

int send_part(const char *name, const char *id, uint32_t number, size_t from, size_t len,
	      uint64_t obj_off, struct part *ret)
{
	CLEANUP_CLOSE int fd = memfd_create("part", MFD_CLOEXEC);
	if (fd < 0 || write(fd, pattern + from, len) != (ssize_t)len)
		return -EIO;
	struct source_sum sum = {0};
	struct source src = {.fd = fd, .len = len, .sum = &sum};
	*ret = (struct part){.number = number, .size = len};
	int r = backend_upload_part(be, k(name), id, obj_off, &src, ret, NULL);
	/* Whoever keeps it will not read the bytes for another. */
	bool right = !sum.known || sum.crc32c == crc32c(0, pattern + from, len);
	return r || right ? r : -EBADMSG;
}

struct runner {
	pthread_t thread;
	pthread_barrier_t *start;
	int (*fn)(int number);
	int number, result;
};

static void *run_one(void *arg)
{
	struct runner *runner = arg;
	(void)pthread_barrier_wait(runner->start);
	runner->result = runner->fn(runner->number);
	return NULL;
}

bool at_once(int (*fn)(int number), int results[THREADS])
{
	pthread_barrier_t start;
	struct runner runners[THREADS];
	MUST(!pthread_barrier_init(&start, NULL, THREADS));
	for (int i = 0; i < THREADS; i++) {
		runners[i] = (struct runner){.start = &start, .fn = fn, .number = i};
		MUST(!pthread_create(&runners[i].thread, NULL, run_one, &runners[i]));
	}
	for (int i = 0; i < THREADS; i++) {
		(void)pthread_join(runners[i].thread, NULL);
		results[i] = runners[i].result;
	}
	return !pthread_barrier_destroy(&start);
}

int count_of(const int results[THREADS], int what)
{
	int n = 0;
	for (int i = 0; i < THREADS; i++)
		n += results[i] == what;
	return n;
}

struct keys {
	char *key[4096];
	size_t n;
};

static int keep_key(void *arg, const char *key, size_t key_len, const struct object *obj)
{
	struct keys *keys = arg;
	(void)key_len;
	(void)obj;
	if (keys->n == sizeof keys->key / sizeof *keys->key)
		return -E2BIG;
	keys->key[keys->n] = strdup(key);
	return keys->key[keys->n++] ? 0 : -ENOMEM;
}

bool remove_all(void)
{
	static struct keys keys;
	struct list_query q = {.prefix = prefix};
	MUST_BE(backend_list_all(be, &q, keep_key, &keys, NULL), 0);
	while (keys.n) {
		char *key = keys.key[--keys.n];
		int r = backend_del(be, key, NULL, NULL);
		free(key);
		MUST(!r || r == -ENOENT);
	}
	MUST_BE(backend_list_all(be, &q, keep_key, &keys, NULL), 0);
	MUST(!keys.n);
	return true;
}
