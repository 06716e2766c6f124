/* names_ask.c - whether a name is there.  What is remembered of the answers is
 * names.c's.  See names.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "cache/names_impl.h"
#include "backends/util/cleanup.h"
#include "backends/util/banned.h"

/* With its first block, if somebody is about to open it. */
static int head(struct names *nm, const char *path, struct object *ret, struct call *call)
{
	CLEANUP_FREE void *bytes =
		blocks_want_first(nm->bl, path) ? malloc(BLOCK_SIZE) : NULL;
	struct first first = {.bytes = bytes, .max = BLOCK_SIZE};
	int r = backend_peek(nm->be, path, ret, bytes ? &first : NULL, call);
	if (!r && first.len)
		blocks_take_first(nm->bl, path, ret, bytes, first.len);
	return r;
}

static int ask_file(struct names *nm, const char *path, struct object *ret,
		    struct call *call)
{
	uint64_t asked_ns = clock_now_ns();
	int r = head(nm, path, ret, call);
	if (r)
		return r;
	/* What we uploaded carries the user's mtime, which no listing will tell. */
	if (*ret->tag && !(nm->be->caps & BACKEND_LIST_META))
		blocks_set_mtime(nm->bl, path, ret->etag, ret->mtime_ns);
	names_note(nm, path, IS_FILE, ret, asked_ns);
	return 0;
}

static int ask_dir(struct names *nm, const char *path, struct call *call)
{
	uint64_t asked_ns = clock_now_ns(), listed_ns;
	int r = names_dir_exists(nm, path, &listed_ns, call);
	if (r <= 0)
		return r ? r : -ENOENT;
	names_note_dir(nm, path, asked_ns, listed_ns);
	return 0;
}

static bool was(struct names *nm, const char *dir, const char *name, enum name_kind kind)
{
	SCOPED_LOCK(&nm->lock);
	struct directory *d = names_dir_find_locked(nm, dir);
	const struct entry *e = d ? names_entry_find(&d->entries, name) : NULL;
	/* That the other kind was removed says nothing against what was listed. */
	bool open =
		!e || (e->answer > IS_ABSENT && !names_entry_denies(e, kind == NAME_DIR));
	if (!open || !d || !d->listing)
		return e && e->answer == (kind == NAME_DIR ? IS_DIR : IS_FILE);
	uint32_t no = listing_find(d->listing, name);
	return no != LISTING_NONE && d->listing->entries[no].dir == (kind == NAME_DIR);
}

bool names_was(struct names *nm, const char *path, enum name_kind kind)
{
	const char *name;
	CLEANUP_FREE char *dir = names_split(path, &name);
	return dir && was(nm, dir, name, kind);
}

/* A name with a dot is asked for as a file first, one without as a directory:
 * observations have none, products have one.  So a cold path is mostly one
 * request a part.  What was listed as a directory is asked for as one: it hides
 * a file of its name. */
static int ask(struct names *nm, const char *path, const char *dir, const char *name,
	       enum name_kind *ret_kind, struct object *ret_obj, struct call *call)
{
	bool file_first = strchr(name, '.') && !was(nm, dir, name, NAME_DIR);
	uint64_t asked_ns = clock_now_ns();
	int r = -ENOENT;
	for (int turn = 0; turn < 2 && r == -ENOENT; turn++) {
		bool as_file = (turn == 0) == file_first;
		r = as_file ? ask_file(nm, path, ret_obj, call) : ask_dir(nm, path, call);
		if (!r)
			*ret_kind = as_file ? NAME_FILE : NAME_DIR;
	}
	if (r == -ENOENT)
		names_note(nm, path, IS_ABSENT, NULL, asked_ns);
	return r;
}

int names_lookup(struct names *nm, const char *path, enum name_kind *ret_kind,
		 struct object *ret_obj, struct call *call)
{
	if (!*path) {
		*ret_kind = NAME_DIR;
		return 0;
	}
	const char *name;
	CLEANUP_FREE char *dir = names_split(path, &name);
	if (!dir)
		return -ENOMEM;
	int r = names_lookup_known(nm, path, dir, name, ret_kind, ret_obj);
	if (r == -EAGAIN && call) {
		keeper_load(nm, dir);
		r = names_lookup_known(nm, path, dir, name, ret_kind, ret_obj);
	}
	if (r != -EAGAIN || !call)
		return r;
	r = ask(nm, path, dir, name, ret_kind, ret_obj, call);
	if (!r || r == -ENOENT)
		names_asked(nm, dir);
	return r;
}
