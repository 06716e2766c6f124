/* staged_count.c - see staged.h: how many files are where on their way. */
#include <string.h>
#include "backends/util/cleanup.h"
#include "cache/staged_impl.h"
#include "backends/util/banned.h"

static void count_failed(const struct staged *st, struct staging_counts *ret)
{
	if (ret->failed < STAGING_NAMED_MAX)
		staged_copy_string(ret->failed_names[ret->failed], KEY_SIZE, st->key);
	ret->failed++;
}

/* Closed like that: it stays here until somebody mends it (staged (7)). */
static bool is_torn(const struct staged *st)
{
	return atomic_load(&st->torn) && !st->local && !atomic_load(&st->nameless) &&
	       !atomic_load(&st->writers);
}

static void count_locked(const struct staged *st, struct staging_counts *ret)
{
	switch (staged_get_state(st)) {
	case STAGED_OPEN:
		if (staged_is_left_locked(st) || is_torn(st)) {
			count_failed(st, ret);
			break;
		}
		ret->local += st->local;
		ret->writing += !st->local && (atomic_load(&st->dirty) ||
					       atomic_load(&st->writers) > 0);
		break;
	case STAGED_SEALED:
		if (st->error)
			count_failed(st, ret);
		else if (st->uploading)
			ret->uploading++;
		else
			ret->queued++;
		break;
	case STAGED_CONFLICT:
		count_failed(st, ret);
		break;
	default:
		break;
	}
}

void staging_count(struct staging *sg, struct staging_counts *ret)
{
	*ret = (struct staging_counts){
		.used_bytes = atomic_load(&sg->used_bytes),
		.max_bytes = sg->conf.max_bytes,
	};
	SCOPED_LOCK(&sg->lock);
	struct map_node *node = NULL;
	while ((node = map_next(&sg->by_key, node)))
		for (const struct staged *st = container_of(node, struct staged, node);
		     st; st = st->older)
			count_locked(st, ret);
}
