/* pool.c - see pool.h. */
#include "backends/util/pool.h"
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include "backends/util/cleanup.h"
#include "backends/util/thread.h"
#include "backends/util/banned.h"

/* libcurl and SQLite were measured at under 60 KiB deep; sanitizers need more. */
enum { STACK_BYTES = 1 << 20 };

struct job {
	struct job *next;
	pool_fn *fn;
	void *arg;
};

struct pool {
	/* set once */
	uint32_t threads_max, reserved;
	char name[16];
	pthread_t *threads;

	/* guarded by lock */
	pthread_mutex_t lock;
	pthread_cond_t work, idle_cond;
	struct job *head[PRIO_COUNT], **tail[PRIO_COUNT];
	uint32_t n_threads, n_idle, n_queued, n_running;
	uint32_t n_running_low; /* of n_running: jobs below PRIO_DEMAND */
	bool closing;
};

static bool low_allowed_locked(const struct pool *p)
{
	return p->n_running_low < p->threads_max - p->reserved;
}

static struct job *take_locked(struct pool *p, enum prio *ret_prio)
{
	for (int prio = 0; prio < PRIO_COUNT; prio++) {
		struct job *job = p->head[prio];
		if (!job)
			continue;
		if (prio != PRIO_DEMAND && !low_allowed_locked(p))
			return NULL;
		p->head[prio] = job->next;
		if (!job->next)
			p->tail[prio] = &p->head[prio];
		*ret_prio = (enum prio)prio;
		return job;
	}
	return NULL;
}

static void run_locked(struct pool *p, struct job *job, enum prio prio)
{
	p->n_queued--;
	p->n_running++;
	p->n_running_low += prio != PRIO_DEMAND;
	/* Threads that wait for the queue to empty before they end must look. */
	if (p->closing)
		(void)pthread_cond_broadcast(&p->work);
	(void)pthread_mutex_unlock(&p->lock);
	job->fn(job->arg);
	free(job);
	(void)pthread_mutex_lock(&p->lock);
	p->n_running--;
	p->n_running_low -= prio != PRIO_DEMAND;
	/* A low job that had to stand back may go now. */
	if (prio != PRIO_DEMAND && p->n_queued)
		(void)pthread_cond_signal(&p->work);
	if (!p->n_queued && !p->n_running)
		(void)pthread_cond_broadcast(&p->idle_cond);
}

static void *worker(void *arg)
{
	struct pool *p = arg;
	(void)pthread_setname_np(pthread_self(), p->name);
	SCOPED_LOCK(&p->lock);
	for (;;) {
		enum prio prio;
		struct job *job = take_locked(p, &prio);
		if (job) {
			run_locked(p, job, prio);
			continue;
		}
		if (p->closing && !p->n_queued)
			return NULL;
		p->n_idle++;
		(void)pthread_cond_wait(&p->work, &p->lock);
		p->n_idle--;
	}
}

int pool_new(const struct pool_conf *conf, struct pool **ret)
{
	struct pool *p = calloc(1, sizeof *p);
	if (!p)
		return -ENOMEM;
	uint32_t max = conf->threads_max ? conf->threads_max : 1;
	p->threads = calloc(max, sizeof *p->threads);
	if (!p->threads) {
		free(p);
		return -ENOMEM;
	}
	p->threads_max = max;
	p->reserved = conf->reserved < max ? conf->reserved : max - 1;
	(void)snprintf(p->name, sizeof p->name, "%s", conf->name);
	(void)pthread_mutex_init(&p->lock, NULL);
	(void)pthread_cond_init(&p->work, NULL);
	(void)pthread_cond_init(&p->idle_cond, NULL);
	for (int i = 0; i < PRIO_COUNT; i++)
		p->tail[i] = &p->head[i];
	*ret = p;
	return 0;
}

static int start_thread_locked(struct pool *p)
{
	int r = thread_start(&p->threads[p->n_threads], STACK_BYTES, worker, p);
	if (!r)
		p->n_threads++;
	return r;
}

int pool_submit(struct pool *p, enum prio prio, pool_fn *fn, void *arg)
{
	struct job *job = malloc(sizeof *job);
	if (!job)
		return -ENOMEM;
	*job = (struct job){.fn = fn, .arg = arg};

	SCOPED_LOCK(&p->lock);
	int r = p->closing ? -ESHUTDOWN : 0;
	/* As many threads as jobs, not one more: an idle thread that was
	 * signalled still counts as idle until it wakes. */
	if (!r && p->n_idle <= p->n_queued && p->n_threads < p->threads_max)
		r = start_thread_locked(p);
	if (r && (p->closing || !p->n_threads)) {
		free(job);
		return r == -ESHUTDOWN ? r : -EAGAIN;
	}
	*p->tail[prio] = job;
	p->tail[prio] = &job->next;
	p->n_queued++;
	(void)pthread_cond_signal(&p->work);
	return 0;
}

void pool_drain(struct pool *p)
{
	SCOPED_LOCK(&p->lock);
	while (p->n_queued || p->n_running)
		(void)pthread_cond_wait(&p->idle_cond, &p->lock);
}

void pool_free(struct pool *p)
{
	if (!p)
		return;
	(void)pthread_mutex_lock(&p->lock);
	p->closing = true;
	(void)pthread_cond_broadcast(&p->work);
	uint32_t n = p->n_threads;
	(void)pthread_mutex_unlock(&p->lock);
	for (uint32_t i = 0; i < n; i++)
		(void)pthread_join(p->threads[i], NULL);
	(void)pthread_cond_destroy(&p->work);
	(void)pthread_cond_destroy(&p->idle_cond);
	(void)pthread_mutex_destroy(&p->lock);
	free(p->threads);
	free(p);
}
