/* dir_undo.c - a directory that keeps its name after all. */
#include <stdlib.h>
#include "cache/dir_move_impl.h"
#include "backends/util/cleanup.h"
#include "backends/util/banned.h"

/* The next commit overwrites what the database may have of the one that failed; and these
 * rows say what there was before it. */
int dir_take_back(struct dir_move *m, const char *top)
{
	size_t n = 0;
	CLEANUP_FREE struct journal_change *changes =
		calloc(2 * m->n + 1, sizeof(*changes));
	if (!changes)
		return -ENOMEM;
	for (size_t i = 0; i < m->n; i++) {
		const struct dir_item *it = &m->items[i];
		changes[n++] = dir_announced(m, it);
		if (it->from && !it->leaf) /* a staged file's own row says more */
			changes[n++] = dir_not_gone(it->from);
	}
	if (!view_holds_local(m->vw, m->from))
		changes[n++] = dir_not_gone(top);
	return journal_commit(m->vw->jn, changes, n, true);
}

void dir_withdraw(struct dir_move *m)
{
	CLEANUP_FREE struct journal_change *changes = calloc(m->n + 1, sizeof(*changes));
	size_t n = 0;
	bool any = false;
	for (size_t i = 0; i < m->n; i++)
		any = any || m->items[i].tried;
	for (size_t i = 0; i < m->n; i++) {
		struct dir_item *it = &m->items[i];
		bool untouched =
			changes && !it->left && !it->tried && !(it->phantom && any);
		if (it->held && untouched) {
			changes[n++] = dir_not_gone(it->to);
			removal_settled(m->vw->rm, it->to);
		} else if (it->held) {
			removal_release(m->vw->rm, it->to);
		}
	}
	for (size_t i = 0; i < m->staged.n; i++)
		if (m->staged.leaves[i].took)
			removal_release(m->vw->rm, m->staged.leaves[i].other);
	if (n)
		journal_forget(m->vw->jn, changes, n, false);
}
