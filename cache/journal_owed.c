/* journal_owed.c - rows that must go, and could not yet.  See journal.h.
 *
 * A row that outlives its use stands for something that was true once: an upload that was
 * done is pending again, a removal meets the next object of that name.  So what could not
 * be deleted goes first in each transaction after it, and none is committed without it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "cache/journal_impl.h"
#include "backends/util/log.h"
#include "backends/util/banned.h"

struct owed {
	struct owed *next;
	struct journal_change change;
	char key[]; /* of change */
};

static struct owed *copy_change(const struct journal_change *c)
{
	size_t size = c->key ? strlen(c->key) + 1 : 0;
	struct owed *o = calloc(1, sizeof(*o) + size);
	if (!o)
		return NULL;
	o->change = (struct journal_change){.kind = c->kind, .id = c->id};
	if (c->key) {
		memcpy(o->key, c->key, size);
		o->change.key = o->key;
	}
	return o;
}

void journal_owe(struct journal *jn, const struct journal_change *changes, size_t n)
{
	struct owed **tail = &jn->owed;
	while (*tail)
		tail = &(*tail)->next;
	for (size_t i = 0; i < n && !jn->broken; i++) {
		*tail = copy_change(&changes[i]);
		jn->broken = !*tail;
		if (*tail)
			tail = &(*tail)->next;
	}
	if (jn->broken)
		log_error("journal",
			  "no memory for what must be deleted from it: nothing "
			  "that is written is taken over until the next mount");
}

int journal_apply_owed(struct journal *jn)
{
	int r = jn->broken ? -EIO : 0;
	for (struct owed *o = jn->owed; !r && o; o = o->next)
		r = journal_apply(jn, &o->change);
	return r;
}

void journal_paid(struct journal *jn)
{
	while (jn->owed) {
		struct owed *o = jn->owed;
		jn->owed = o->next;
		free(o);
	}
}
