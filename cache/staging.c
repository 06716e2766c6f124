/* staging.c - the set of staged files: its birth and end.  See staged.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "cache/staged_impl.h"
#include "backends/util/cleanup.h"
#include "backends/util/cond.h"
#include "backends/util/io.h"
#include "backends/util/log.h"
#include "backends/util/banned.h"

enum {
	JOBS_MAX = 16,
	JOBS_FRESH = 4 /* of these, never for what was tried before */
};

static int make_pools(struct staging *sg)
{
	struct pool_conf jobs = {
		.name = "upload", .threads_max = JOBS_MAX, .reserved = JOBS_FRESH};
	struct pool_conf parts = {.name = "upload part", .threads_max = sg->conf.threads};
	int r = pool_new(&jobs, &sg->jobs);
	return r ? r : pool_new(&parts, &sg->parts);
}

static int open_dir(struct staging *sg)
{
	const char *in = sg->conf.dir;
	if (asprintf(&sg->dir, "%s/staged", in) < 0) {
		sg->dir = NULL;
		return -ENOMEM;
	}
	int r = mkdir(sg->dir, 0700) ? -errno : io_sync_directory(in);
	sg->dir_fd = open(sg->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (sg->dir_fd < 0)
		r = r && r != -EEXIST ? r : -errno;
	else if (r == -EEXIST)
		r = 0;
	if (r)
		log_error("journal", "make %s: %s", sg->dir, strerror(-r));
	return r;
}

int staging_new(const struct staging_conf *conf, struct backend *be, struct blocks *bl,
		struct journal *jn, struct names *nm, struct removal *rm,
		struct staging **ret)
{
	struct staging *sg = calloc(1, sizeof(*sg));
	if (!sg)
		return -ENOMEM;
	sg->conf = *conf;
	sg->dir_fd = -1;
	sg->be = be;
	sg->bl = bl;
	sg->jn = jn;
	sg->nm = nm;
	sg->rm = rm;
	struct orphan_conf oc = {.be = be,
				 .jn = jn,
				 .retry_ns = conf->retry_ns,
				 .born_ns = clock_wall_ns(),
				 .is_live = staging_has_upload,
				 .arg = sg};
	attempt_queues_init(sg);
	cond_init_monotonic(&sg->changed);
	cond_init_monotonic(&sg->ends);
	(void)pthread_mutex_init(&sg->lock, NULL);
	sg->local_only = strdup(conf->local_only);
	int r = sg->local_only ? open_dir(sg) : -ENOMEM;
	if (!r)
		r = make_pools(sg);
	if (!r)
		r = orphans_new(&oc, &sg->orphans);
	if (r) {
		staging_free(sg);
		return r;
	}
	*ret = sg;
	return 0;
}

static void cancel_all(struct staging *sg)
{
	if (sg->orphans)
		orphans_stop(sg->orphans);
	atomic_store(&sg->cancelled, true);
	SCOPED_LOCK(&sg->lock);
	sg->closing = true;
	struct map_node *node = NULL;
	while ((node = map_next(&sg->by_key, node))) {
		struct staged *st = container_of(node, struct staged, node);
		for (; st; st = st->older)
			atomic_store(&st->cancel, true);
	}
	(void)pthread_cond_broadcast(&sg->changed);
	(void)pthread_cond_broadcast(&sg->ends);
}

void staging_free(struct staging *sg)
{
	if (!sg)
		return;
	cancel_all(sg);
	if (sg->keeper_runs)
		(void)pthread_join(sg->keeper, NULL);
	pool_free(sg->jobs);
	pool_free(sg->parts);
	struct map_node *node;
	while ((node = map_next(&sg->by_key, NULL))) {
		SCOPED_LOCK(&sg->lock);
		staged_unmap_locked(container_of(node, struct staged, node));
	}
	map_done(&sg->by_key);
	orphans_free(sg->orphans);
	(void)pthread_cond_destroy(&sg->ends);
	(void)pthread_cond_destroy(&sg->changed);
	(void)pthread_mutex_destroy(&sg->lock);
	free(sg->dropped);
	free(sg->local_only);
	if (sg->dir_fd >= 0)
		(void)close(sg->dir_fd);
	free(sg->dir);
	free(sg);
}
