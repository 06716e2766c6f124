/* mast_list.c - the archive's directories; see mast.h.
 *
 * A page is passed on as it comes and recorded beside it.  The record of the first pages
 * waits in the memory, under the token of the next one, until the last page makes it a
 * whole listing: only that answers later questions. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "backends/mast_impl.h"
#include "backends/util/cleanup.h"
#include "backends/util/log.h"
#include "backends/util/banned.h"

/* Tokens handed out: "?" is the first page of a directory that is believed to be there
 * (its marker was shown before), "+" and the inner token any later one. */
static const char first_page[] = "?";

static void set_token(char **token, char *next)
{
	free(*token);
	*token = next;
}

/* --- what is shown without asking --- */

struct show {
	const char *prefix; /* of the paths, as asked */
	list_fn *fn;
	void *arg;
};

/* name NULL: the directory's own marker, which says that it is there. */
static int show(const struct show *s, const char *name, const struct object *obj)
{
	char path[2 * KEY_SIZE];
	int n = snprintf(path, sizeof path, "%s%s", s->prefix, name ? name : "");
	/* What is too long could not be asked for. */
	return n < KEY_SIZE ? s->fn(s->arg, path, (size_t)n, obj) : 0;
}

static int show_marker(const struct show *s)
{
	struct object nothing = {0};
	return show(s, NULL, &nothing);
}

static int show_programs(struct mast *m, const struct show *s)
{
	for (unsigned i = 0; i < MAST_PROGRAMS; i++) {
		char name[16];
		if (!(atomic_load(&m->programs[i / 64]) & UINT64_C(1) << i % 64))
			continue;
		(void)snprintf(name, sizeof name, "jw%05u/", i);
		int r = show(s, name, NULL);
		if (r)
			return r;
	}
	return 0;
}

/* 1: not a directory of these. */
static int show_dir(struct mast *m, enum mast_dir_kind kind, const struct show *s)
{
	int r;
	switch (kind) {
	case MAST_DIR_ROOT:
		r = show_programs(m, s);
		return r ? r : show(s, "jwst/", NULL);
	case MAST_DIR_DOWNLOAD:
		r = show_marker(s);
		return r ? r : show(s, "JWST/", NULL);
	case MAST_DIR_DOWNLOAD_JWST:
		return show_marker(s);
	case MAST_DIR_JWST:
		r = show_marker(s);
		return r ? r : show(s, "public/", NULL);
	case MAST_DIR_PUBLIC:
		r = show_marker(s);
		return r ? r : show_programs(m, s);
	case MAST_DIR_NONE:
		return 0;
	case MAST_DIR_LISTED:
	case MAST_DIR_OBS:
		break;
	}
	return 1;
}

/* --- what is remembered --- */

static int show_answer(const struct mast_answer *a, const struct show *s)
{
	for (size_t i = 0; i < mast_answer_count(a); i++) {
		struct object obj;
		bool is_dir;
		const char *name = mast_answer_entry(a, i, &obj, &is_dir);
		int r = show(s, name, is_dir ? NULL : &obj);
		if (r)
			return r;
	}
	return 0;
}

/* 1: nothing is remembered, or it is too old or too long for the page. */
static int show_remembered(struct mast *m, const struct mast_dir *dir, uint32_t max,
			   const struct show *s)
{
	CLEANUP_ANSWER struct mast_answer *a =
		mast_seen_get(m->seen, MAST_LISTING, dir->prefix);
	if (!a || !mast_answer_holds(a, !mast_answer_count(a)) ||
	    (max && mast_answer_count(a) > max))
		return 1;
	return show_answer(a, s);
}

/* --- a page that is asked for --- */

struct page {
	const struct mast_dir *dir;
	const struct show *show;
	struct mast_answer *record; /* owned; NULL = it cannot be remembered */
	bool any;
};

static int page_entry(void *arg, const char *key, size_t key_len,
		      const struct object *obj)
{
	struct page *p = arg;
	const char *tail = key + p->dir->name_at;
	char name[KEY_SIZE];
	size_t n = key_len - p->dir->name_at;
	if (strlen(key) != key_len || key_len <= p->dir->name_at || n >= KEY_SIZE ||
	    strncmp(key, p->dir->prefix, strlen(p->dir->prefix)) != 0)
		return 0;
	memcpy(name, tail, n + 1);
	if (!obj)
		name[--n] = '\0';
	/* An observation has files only. */
	if (!mast_path_in_dir(p->dir, name) || (!obj && p->dir->kind == MAST_DIR_OBS))
		return 0;
	if (!obj)
		name[n] = '/';
	p->any = true;
	if (p->record && mast_answer_add(p->record, name, obj))
		mast_answer_drop(&p->record);
	return show(p->show, name, obj);
}

static struct buf part_key(const struct mast_dir *dir, const char *token)
{
	struct buf key;
	buf_init(&key, 64 * 1024);
	buf_addf(&key, "%s\n%s", dir->prefix, token);
	return key;
}

/* A record that goes on where the pages up to this token left it; NULL: none. */
static struct mast_answer *begin_record(struct mast *m, const struct mast_dir *dir,
					const char *token)
{
	if (!token)
		return mast_answer_new(MAST_LISTING, dir->prefix, clock_now_ns());
	CLEANUP_BUF struct buf key = part_key(dir, token);
	CLEANUP_ANSWER struct mast_answer *part =
		buf_error(&key) ? NULL : mast_seen_get(m->seen, MAST_PART, key.data);
	struct mast_answer *a = NULL;
	if (part)
		a = mast_answer_new(MAST_LISTING, dir->prefix,
				    mast_answer_asked_ns(part));
	if (a && mast_answer_append(a, part))
		mast_answer_drop(&a);
	return a;
}

static void end_record(struct mast *m, const struct mast_dir *dir, const char *token,
		       struct mast_answer *record, const char *next)
{
	if (token) {
		CLEANUP_BUF struct buf old = part_key(dir, token);
		mast_seen_forget(m->seen, MAST_PART, old.data);
	}
	if (!next) {
		mast_seen_keep(m->seen, record);
		return;
	}
	CLEANUP_BUF struct buf key = part_key(dir, next);
	struct mast_answer *part = NULL;
	if (!buf_error(&key))
		part = mast_answer_new(MAST_PART, key.data, mast_answer_asked_ns(record));
	if (part && mast_answer_append(part, record))
		mast_answer_drop(&part);
	if (part)
		mast_seen_keep(m->seen, part);
	mast_answer_drop(&record);
}

static int ask_page(struct mast *m, const struct mast_dir *dir, uint32_t max,
		    char **token, const struct show *s, struct call *call)
{
	const char *from = *token && **token == '+' ? *token + 1 : NULL;
	CLEANUP_FREE char *inner = from ? strdup(from) : NULL;
	char *next = NULL;
	if (from && !inner)
		return -ENOMEM;
	struct list_query q = {.prefix = dir->prefix, .delim = '/', .max = max};
	struct page p = {.dir = dir, .show = s, .record = begin_record(m, dir, from)};
	int r = backend_list(m->inner, &q, &inner, page_entry, &p, call);
	if (!r && inner && asprintf(&next, "+%s", inner) < 0)
		r = -ENOMEM;
	if (r) {
		mast_answer_drop(&p.record);
		return r;
	}
	if (p.any)
		mast_note_program(m, dir->prefix);
	bool nothing = !p.any && !from && !inner;
	if (p.record)
		end_record(m, dir, from, STEAL(p.record), inner);
	set_token(token, next);
	if (nothing && dir->kind == MAST_DIR_OBS)
		mast_hint(m, s->prefix, -ENOENT);
	return 0;
}

/* What is known without a request.  1: the archive must be asked. */
static int show_known(struct mast *m, const struct list_query *q,
		      const struct mast_dir *dir, char **token, const struct show *s)
{
	if (*token)
		return 1;
	int r = show_dir(m, dir->kind, s);
	if (r == 1)
		r = show_remembered(m, dir, q->max, s);
	if (r != 1 || !dir->likely)
		return r;
	char *next = strdup(first_page);
	r = next ? show_marker(s) : -ENOMEM;
	if (r)
		free(next);
	else
		*token = next;
	return r;
}

int mast_list(struct backend *be, const struct list_query *q, char **token, list_fn *fn,
	      void *arg, struct call *call)
{
	struct mast *m = mast_of(be);
	struct show s = {.prefix = q->prefix, .fn = fn, .arg = arg};
	struct mast_dir dir;
	char path[KEY_SIZE];
	size_t n = strlen(q->prefix);
	if (q->delim != '/' || (n && q->prefix[n - 1] != '/')) {
		log_error("mast", "list %s%s: the archive is never listed recursively",
			  be->name, q->prefix);
		return -EOPNOTSUPP;
	}
	memcpy(path, q->prefix, n);
	path[n ? n - 1 : 0] = '\0';
	mast_path_dir(path, &dir);
	int r = show_known(m, q, &dir, token, &s);
	if (r != 1)
		return r;
	r = ask_page(m, &dir, q->max, token, &s, call);
	if (r == -EACCES)
		mast_hint(m, path, r);
	return r;
}
