/* page.c - see page.h. */
#include "backends/page.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "backends/util/log.h"
#include "backends/util/banned.h"

/* The most generous store gives 5000 a page. */
enum { ENTRIES_MAX = 20000, KEYS_MAX_BYTES = 32 * 1024 * 1024 };

void page_init(struct page *p)
{
	*p = (struct page){0};
	buf_init(&p->keys, KEYS_MAX_BYTES);
}

void page_done(struct page *p)
{
	buf_done(&p->keys);
	free(p->entries);
}

int page_add(struct page *p, const char *key, size_t len, const struct object *obj)
{
	if (p->n == ENTRIES_MAX)
		return -EBADMSG;
	if (p->n == p->alloc) {
		size_t alloc = p->alloc ? 2 * p->alloc : 256;
		struct page_entry *more = realloc(p->entries, alloc * sizeof *more);
		if (!more)
			return -ENOMEM;
		p->entries = more;
		p->alloc = alloc;
	}
	struct page_entry e = {.at = p->keys.len, .len = len, .is_prefix = !obj};
	if (obj)
		e.obj = *obj;
	buf_add(&p->keys, key, len);
	buf_addc(&p->keys, '\0');
	p->entries[p->n++] = e;
	return buf_error(&p->keys) == -EMSGSIZE ? -EBADMSG : buf_error(&p->keys);
}

static int by_key(const void *a, const void *b, void *keys)
{
	const struct page_entry *ea = a, *eb = b;
	const char *base = keys;
	size_t n = ea->len < eb->len ? ea->len : eb->len;
	int order = memcmp(base + ea->at, base + eb->at, n);
	return order ? order : (ea->len > eb->len) - (ea->len < eb->len);
}

int page_finish(struct page *p, const char *prefix, char delim)
{
	size_t prefix_len = strlen(prefix), kept = 0;
	for (size_t i = 0; i < p->n; i++) {
		const struct page_entry *e = &p->entries[i];
		if ((e->is_prefix && !delim) || e->len < prefix_len ||
		    memcmp(p->keys.data + e->at, prefix, prefix_len) != 0)
			return -EBADMSG;
	}
	if (p->n)
		qsort_r(p->entries, p->n, sizeof *p->entries, by_key, p->keys.data);
	for (size_t i = 0; i < p->n; i++) {
		const struct page_entry *e = &p->entries[i];
		/* What was asked for is not below itself. */
		bool self = e->is_prefix && e->len == prefix_len;
		if (!self &&
		    (!kept || by_key(&p->entries[kept - 1], e, p->keys.data) != 0))
			p->entries[kept++] = *e;
	}
	p->n = kept;
	return 0;
}

int page_deliver(const struct page *p, size_t strip, const char *log, const char *name,
		 list_fn *fn, void *arg)
{
	for (size_t i = 0; i < p->n; i++) {
		const struct page_entry *e = &p->entries[i];
		size_t len = e->len - strip;
		/* The marker of the prefix itself is not below it. */
		if (!len)
			continue;
		if (len >= KEY_SIZE) {
			log_warn(log, "%s: a key of %zu bytes is left out of the listing",
				 name, len);
			continue;
		}
		int r = fn(arg, p->keys.data + e->at + strip, len,
			   e->is_prefix ? NULL : &e->obj);
		if (r < 0)
			return r;
	}
	return 0;
}
