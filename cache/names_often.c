/* names_often.c - a directory in which one name after the other is asked for is listed
 * whole: after as many questions as its last listing took pages, so both together cost at
 * most twice what would have been best.  1,000 files written into a directory of 3,000
 * asked the bucket twice each once its listing was older than ttl, 60 ms a file at 30 ms
 * a request (2026-11-28); now that is true of the first 16.
 *
 * It comes in the background: whoever asks meanwhile is answered as before.
 */
#include "cache/names_impl.h"
#include "backends/util/cleanup.h"
#include "backends/util/banned.h"

enum {
	FEW = 16,      /* questions are no reason, however short the directory is */
	LESS_OFTEN = 8 /* times, after a listing that failed or was too long to be kept */
};

/* Listings that are believed for a shorter time are hardly there before they are over. */
static const uint64_t ttl_min_ns = 5 * NS_PER_S;

static uint32_t enough(const struct directory *d)
{
	return d->pages > FEW ? d->pages : FEW;
}

void names_asked(struct names *nm, const char *dir)
{
	if (nm->conf.ttl_ns < ttl_min_ns)
		return;
	SCOPED_LOCK(&nm->lock);
	struct directory *d = names_dir_find_locked(nm, dir);
	if (!d || ++d->asked < enough(d))
		return;
	d->asked = 0;
	/* That it cannot be begun is no fault of any question's. */
	(void)lister_begin_locked(nm, d);
}

void names_listed_locked(struct directory *d, uint32_t pages, bool kept)
{
	d->asked = 0;
	if (kept)
		d->pages = pages;
	else if (enough(d) < UINT32_MAX / LESS_OFTEN)
		d->pages = enough(d) * LESS_OFTEN;
}
