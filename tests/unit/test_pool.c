/* test_pool.c - jobs run once, urgent ones first, and no more threads than allowed. */
#include <errno.h>
#include <pthread.h>
#include "backends/util/cleanup.h"
#include "backends/util/pool.h"
#include "tests/unit/check.h"

/* A gate that holds jobs until it is opened, and a record of who ran. */
struct scene {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool open;
	uint32_t running, most, n_order;
	char order[64];
};

struct job {
	struct scene *scene;
	char name;
	bool waits;
};

static void scene_init(struct scene *s)
{
	*s = (struct scene){.running = 0};
	(void)pthread_mutex_init(&s->lock, NULL);
	(void)pthread_cond_init(&s->changed, NULL);
}

static void run_job(void *arg)
{
	struct job *job = arg;
	struct scene *s = job->scene;
	SCOPED_LOCK(&s->lock);
	if (s->n_order < sizeof s->order - 1)
		s->order[s->n_order++] = job->name;
	if (++s->running > s->most)
		s->most = s->running;
	(void)pthread_cond_broadcast(&s->changed);
	while (job->waits && !s->open)
		(void)pthread_cond_wait(&s->changed, &s->lock);
	s->running--;
}

static void wait_running(struct scene *s, uint32_t n)
{
	SCOPED_LOCK(&s->lock);
	while (s->running < n)
		(void)pthread_cond_wait(&s->changed, &s->lock);
}

static void open_gate(struct scene *s)
{
	SCOPED_LOCK(&s->lock);
	s->open = true;
	(void)pthread_cond_broadcast(&s->changed);
}

static struct pool *new_pool(uint32_t threads, uint32_t reserved)
{
	struct pool *p;
	struct pool_conf conf = {"test", threads, reserved};
	CHECK_EQ(pool_new(&conf, &p), 0);
	return p;
}

static void pool__urgent_jobs_go_first_then_in_order(void)
{
	struct scene s;
	scene_init(&s);
	struct pool *p = new_pool(1, 0);
	struct job gate = {&s, 'g', true};
	struct job jobs[6] = {{&s, '5', false}, {&s, '3', false}, {&s, '1', false},
			      {&s, '6', false}, {&s, '4', false}, {&s, '2', false}};
	static const enum prio prio[6] = {PRIO_FILL, PRIO_HINT, PRIO_DEMAND,
					  PRIO_FILL, PRIO_HINT, PRIO_DEMAND};
	CHECK_EQ(pool_submit(p, PRIO_DEMAND, run_job, &gate), 0);
	wait_running(&s, 1);
	for (int i = 0; i < 6; i++)
		CHECK_EQ(pool_submit(p, prio[i], run_job, &jobs[i]), 0);
	open_gate(&s);
	pool_drain(p);
	CHECK_STR(s.order, "g123456");
	pool_free(p);
}

static void pool__reserved_threads_take_demand_only(void)
{
	struct scene s;
	scene_init(&s);
	struct pool *p = new_pool(3, 1);
	struct job low[4] = {
		{&s, 'l', true}, {&s, 'l', true}, {&s, 'l', true}, {&s, 'l', true}};
	struct job demand = {&s, 'D', true};
	for (int i = 0; i < 4; i++)
		CHECK_EQ(pool_submit(p, PRIO_HINT, run_job, &low[i]), 0);
	wait_running(&s, 2);
	CHECK_EQ(pool_submit(p, PRIO_DEMAND, run_job, &demand), 0);
	wait_running(&s, 3);
	(void)pthread_mutex_lock(&s.lock);
	CHECK_STR(s.order, "llD");
	(void)pthread_mutex_unlock(&s.lock);
	open_gate(&s);
	pool_drain(p);
	CHECK_EQ(s.n_order, 5);
	pool_free(p);
}

static void count_up(void *arg)
{
	atomic_fetch_add((atomic_uint *)arg, 1);
}

struct submitter {
	struct pool *pool;
	atomic_uint *count;
};

static void *submit_many(void *arg)
{
	struct submitter *s = arg;
	for (int i = 0; i < 2000; i++)
		CHECK_EQ(pool_submit(s->pool, (enum prio)(i % PRIO_COUNT), count_up,
				     s->count),
			 0);
	return NULL;
}

static void pool__every_job_runs_once(void)
{
	atomic_uint count = 0;
	struct pool *p = new_pool(4, 1);
	struct submitter s = {p, &count};
	pthread_t threads[4];
	for (int i = 0; i < 4; i++)
		CHECK(!pthread_create(&threads[i], NULL, submit_many, &s));
	for (int i = 0; i < 4; i++)
		(void)pthread_join(threads[i], NULL);
	pool_drain(p);
	CHECK_EQ(atomic_load(&count), 8000);
	pool_free(p);
}

static void pool__free_runs_what_is_queued(void)
{
	for (int round = 0; round < 50; round++) {
		atomic_uint count = 0;
		struct pool *p = new_pool(3, 2);
		for (int i = 0; i < 30; i++)
			CHECK_EQ(pool_submit(p, (enum prio)(i % PRIO_COUNT), count_up,
					     &count),
				 0);
		pool_free(p);
		CHECK_EQ(atomic_load(&count), 30);
	}
	pool_free(NULL);
}

static void pool__threads_stay_within_the_maximum(void)
{
	struct scene s;
	scene_init(&s);
	struct pool *p = new_pool(2, 0);
	struct job jobs[10];
	for (int i = 0; i < 10; i++) {
		jobs[i] = (struct job){&s, 'x', true};
		CHECK_EQ(pool_submit(p, PRIO_DEMAND, run_job, &jobs[i]), 0);
	}
	wait_running(&s, 2);
	open_gate(&s);
	pool_free(p);
	CHECK_EQ(s.most, 2);
	CHECK_EQ(s.n_order, 10);
}

static void pool__of_nothing_still_works(void)
{
	atomic_uint count = 0;
	struct pool *p = new_pool(0, 5);
	CHECK_EQ(pool_submit(p, PRIO_FILL, count_up, &count), 0);
	pool_drain(p);
	CHECK_EQ(atomic_load(&count), 1);
	pool_free(p);
}

int main(void)
{
	RUN(pool__urgent_jobs_go_first_then_in_order);
	RUN(pool__reserved_threads_take_demand_only);
	RUN(pool__every_job_runs_once);
	RUN(pool__free_runs_what_is_queued);
	RUN(pool__threads_stay_within_the_maximum);
	RUN(pool__of_nothing_still_works);
	return 0;
}
