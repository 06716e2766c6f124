/* union_list.c - the own bucket's pages, then the second source's.  See union.h.
 *
 * Tokens: "o" and the own bucket's, "u" and the second source's.  A page ends where a
 * source's page ends, but never before something was shown: so the first page tells
 * whether a directory exists, and only for one of which the own bucket shows nothing is
 * the second source asked for that.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "backends/union_impl.h"
#include "backends/util/cleanup.h"
#include "backends/util/log.h"
#include "backends/util/banned.h"

/* Of pages in a row that show nothing; a server could send them without end. */
enum { EMPTY_PAGES_MAX = 10000 };

struct page {
	struct both *u;
	const struct list_query *q;
	list_fn *fn;
	void *arg;
	struct call *call;
	bool in_dir;		  /* the prefix is a directory, "" or "a/b/" */
	struct white_dir *whites; /* owned; NULL = they are not all on this page */
	bool removed_here;	  /* something of the directory was */
	bool from_start;	  /* the own bucket showed nothing yet */
	bool shown, end;
	int error; /* fn's */
};

static int show(struct page *p, const char *key, size_t key_len, const struct object *obj)
{
	p->shown = true;
	p->error = p->fn(p->arg, key, key_len, obj);
	return p->error;
}

static int note_white(struct page *p, const char *key, size_t key_len,
		      const struct object *obj)
{
	size_t skip = strlen(p->q->prefix) + sizeof(WHITE_PREFIX) - 1;
	if (!p->in_dir || !obj || key_len <= skip || strlen(key) != key_len ||
	    strncmp(key + strlen(p->q->prefix), WHITE_PREFIX, sizeof(WHITE_PREFIX) - 1))
		return 0;
	p->removed_here = true;
	return p->whites && !strchr(key + skip, '/')
		       ? white_dir_note(p->whites, key + skip)
		       : 0;
}

static int own_entry(void *arg, const char *key, size_t key_len, const struct object *obj)
{
	struct page *p = arg;
	if (whites_reserved(key))
		return note_white(p, key, key_len, obj);
	int r = obj ? union_check_own(p->u, key, obj) : 0;
	return r ? r : show(p, key, key_len, obj);
}

static int under_entry(void *arg, const char *key, size_t key_len,
		       const struct object *obj)
{
	struct page *p = arg;
	if (whites_reserved(key))
		return 0;
	int r = whites_hide(p->u->whites, key, p->call);
	if (r == -ENAMETOOLONG) /* nobody can name it */
		r = 1;
	if (r)
		return r < 0 ? r : 0;
	if (!obj)
		return show(p, key, key_len, NULL);
	struct object marked = *obj;
	r = union_mark(&marked);
	return r ? r : show(p, key, key_len, &marked);
}

/* *token: the own bucket's. */
static int own_page(struct page *p, char **token)
{
	struct both *u = p->u;
	bool whole = !*token && p->in_dir && p->q->delim;
	if (whole)
		p->whites = whites_begin(u->whites, p->q->prefix);
	int r = backend_list(u->own, p->q, token, own_entry, p, p->call);
	if (!r && p->whites && !*token)
		whites_learn(u->whites, STEAL(p->whites));
	white_dir_free(STEAL(p->whites));
	if (r || !p->removed_here || !*p->q->prefix || !p->q->delim)
		return r;
	/* It is there as long as it has whiteouts, and seems so from above. */
	struct object dir = union_dir_object();
	p->removed_here = false;
	return show(p, p->q->prefix, strlen(p->q->prefix), &dir);
}

/* 1: the own bucket has a file of the directory's name, which hides it: that must be
 * known before the second source is asked, which may be down.  Names with a dot are
 * looked for as files first (cache/names_ask.c); they are not asked for again. */
static int is_own_file(const struct page *p)
{
	struct object obj;
	size_t len = strlen(p->q->prefix);
	CLEANUP_FREE char *name = strndup(p->q->prefix, len - 1);
	if (!name)
		return -ENOMEM;
	const char *slash = strrchr(name, '/');
	if (strchr(slash ? slash : name, '.'))
		return 0;
	int r = backend_head(p->u->own, name, &obj, p->call);
	return r ? (r == -ENOENT ? 0 : r) : 1;
}

static int under_page(struct page *p, char **token)
{
	struct both *u = p->u;
	bool named = p->in_dir && *p->q->prefix;
	int r = named ? whites_hide(u->whites, p->q->prefix, p->call) : 0;
	if (!r && named && p->q->delim && p->from_start)
		r = is_own_file(p);
	p->from_start = false;
	if (r < 0)
		return r;
	if (!r)
		r = backend_list(u->under, p->q, token, under_entry, p, p->call);
	else
		r = -ENOENT; /* hidden as a whole */
	if (p->error || !union_cannot_have(r))
		return r;
	free(STEAL(*token));
	return 0;
}

/* At *under and *token (owned): one page or, while they show nothing, more.  The own
 * bucket's last page leads to the second source's first. */
static int list_some(struct page *p, bool *under, char **token)
{
	for (int pages = 0; pages < EMPTY_PAGES_MAX; pages++) {
		bool was_under = *under;
		int r = was_under ? under_page(p, token) : own_page(p, token);
		if (r)
			return r;
		*under = was_under || !*token;
		p->end = was_under && !*token;
		if (p->shown || p->end)
			return 0;
	}
	log_error(p->u->base.ops->scheme,
		  "list %s of %s: the server sends empty pages without end", p->q->prefix,
		  p->u->base.name);
	return -EREMOTEIO;
}

static char *make_token(bool under, const char *inner)
{
	size_t len = inner ? strlen(inner) : 0;
	char *token = malloc(len + 2);
	if (!token)
		return NULL;
	token[0] = under ? 'u' : 'o';
	if (inner)
		memcpy(token + 1, inner, len);
	token[len + 1] = '\0';
	return token;
}

int union_list(struct backend *be, const struct list_query *q, char **token, list_fn *fn,
	       void *arg, struct call *call)
{
	size_t len = strlen(q->prefix);
	struct page p = {.u = (struct both *)be,
			 .q = q,
			 .fn = fn,
			 .arg = arg,
			 .call = call,
			 .from_start = !*token,
			 .in_dir = !len || q->prefix[len - 1] == '/'};
	bool under = *token && **token == 'u';
	CLEANUP_FREE char *inner = NULL;
	if (whites_reserved(q->prefix))
		return -EILSEQ;
	if (*token && (*token)[1] && !(inner = strdup(*token + 1)))
		return -ENOMEM;
	int r = list_some(&p, &under, &inner);
	if (r)
		return r;
	char *next = p.end ? NULL : make_token(under, inner);
	if (!p.end && !next)
		return -ENOMEM;
	free(*token);
	*token = next;
	return 0;
}
