/* last_commit.c - see last_commit.h. */
#include "tests/unit/last_commit.h"
#include <errno.h>
#include <unistd.h>
#include "cache/journal.h"
#include "backends/util/banned.h"

enum fate fate;
atomic_int commits_left;

int __real_journal_commit(struct journal *jn, const struct journal_change *changes,
			  size_t n, bool durable);
int __wrap_journal_commit(struct journal *jn, const struct journal_change *changes,
			  size_t n, bool durable);

int __wrap_journal_commit(struct journal *jn, const struct journal_change *changes,
			  size_t n, bool durable)
{
	bool last = fate != GOES_ON && atomic_fetch_sub(&commits_left, 1) == 1;
	if (last && fate == FAILS)
		return -ENOSPC;
	int r = __real_journal_commit(jn, changes, n, durable);
	if (last && fate == LIES)
		return -EIO;
	if (last)
		_exit(0);
	return r;
}
