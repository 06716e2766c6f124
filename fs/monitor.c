/* monitor.c - see monitor.h. */
#include "fs/monitor.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "backends/util/clock.h"
#include "backends/util/log.h"
#include "fs/control.h"
#include "fs/mountinfo.h"
#include "fs/status.h"
#include "backends/util/banned.h"

#define FILE_EVERY_NS (15 * NS_PER_S)

struct monitor {
	/* set once */
	struct monitor_conf conf;
	struct server *server;	 /* owned */
	struct control *control; /* owned; NULL: nobody can ask */
	uint64_t start_ns;

	/* of the server's thread */
	struct scrape scrape;

	/* atomic */
	atomic_bool draining;
};

/* --- telling --- */

static void set_text(char *dst, size_t size, const char *src)
{
	(void)snprintf(dst, size, "%s", src);
}

static void collect(const struct monitor *m, struct status *s)
{
	*s = (struct status){
		.pid = (uint64_t)getpid(),
		.uptime_ns = clock_now_ns() - m->start_ns,
	};
	set_text(s->mountpoint, sizeof s->mountpoint, m->conf.mountpoint);
	set_text(s->source, sizeof s->source, m->conf.config->store.url);
	set_text(s->cache_dir, sizeof s->cache_dir, m->conf.cache_dir);
	set_text(s->version, sizeof s->version, MASTFS_VERSION);
	set_text(s->state, sizeof s->state,
		 atomic_load(&m->draining) ? "draining" : "serving");
	set_text(s->log_level, sizeof s->log_level, log_level_name(log_get_level()));
	status_of_process(s);
	status_of_metrics(s);
	status_of_fs(m->conf.fs, s);
	status_judge(s);
}

static void tell_prometheus(const struct monitor *m, struct buf *ret)
{
	struct status s;
	const struct status *one = &s;
	collect(m, &s);
	status_write_prometheus(&one, 1, ret);
}

static void answer_scrape(void *arg, const char *request, struct buf *ret)
{
	CLEANUP_BUF struct buf text;
	buf_init(&text, SERVER_ANSWER_MAX / 2);
	tell_prometheus(arg, &text);
	scrape_answer(request, &text, ret);
}

static void write_file(void *arg)
{
	struct monitor *m = arg;
	CLEANUP_BUF struct buf text;
	buf_init(&text, SERVER_ANSWER_MAX);
	tell_prometheus(m, &text);
	scrape_write(&m->scrape, &text);
}

/* --- being told --- */

static void set_level(enum log_level level)
{
	log_set_level(level);
	log_info("log", "the level is %s", log_level_name(level));
}

static int answer_log(const char *word, struct buf *ret)
{
	int level = *word ? log_level_find(word) : (int)log_get_level();
	if (level < 0)
		return -EINVAL;
	if (*word)
		set_level((enum log_level)level);
	buf_adds(ret, log_level_name((enum log_level)level));
	return 0;
}

static int answer(void *arg, const char *question, struct buf *ret)
{
	if (!strcmp(question, "status")) {
		struct status s;
		collect(arg, &s);
		status_write_json(&s, ret);
		return 0;
	}
	if (!strcmp(question, "log"))
		return answer_log("", ret);
	if (!strncmp(question, "log ", 4))
		return answer_log(question + 4, ret);
	return -EOPNOTSUPP;
}

/* --- signals --- */

/* A handler has nothing else to reach.  NULL: what comes is kept until there is one. */
static _Atomic(struct server *) told;
static atomic_bool toggle, reopen;

static void on_signal(int signal)
{
	atomic_store(signal == SIGHUP ? &reopen : &toggle, true);
	struct server *s = atomic_load(&told);
	if (s)
		server_poke(s);
}

static void handle(int signal, void (*handler)(int))
{
	struct sigaction act = {.sa_handler = handler, .sa_flags = SA_RESTART};
	(void)sigaction(signal, &act, NULL);
}

static enum log_level configured(const struct config *c)
{
	return c->debug ? LOG_LEVEL_DEBUG : (enum log_level)c->log_level;
}

/* From debug always to something else, or the signal would do nothing. */
static void toggle_level(const struct config *c)
{
	enum log_level level = configured(c);
	if (log_get_level() != LOG_LEVEL_DEBUG)
		level = LOG_LEVEL_DEBUG;
	else if (level == LOG_LEVEL_DEBUG)
		level = LOG_LEVEL_INFO;
	set_level(level);
}

/* What cannot be opened leaves the log where it is. */
static void reopen_log(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0600);
	int r = fd < 0 ? -errno : log_swap_file(fd);
	if (r < 0)
		log_warn("log", "open log_file %s: %s", path, strerror(-r));
	else
		log_info("log", "log_file %s: opened anew", path);
}

static void poked(void *arg)
{
	const struct monitor *m = arg;
	if (atomic_exchange(&toggle, false))
		toggle_level(m->conf.config);
	if (atomic_exchange(&reopen, false))
		reopen_log(m->conf.config->log_file);
}

void monitor_listen(const struct config *c)
{
	handle(SIGUSR1, on_signal);
	if (c->log_file)
		handle(SIGHUP, on_signal);
}

void monitor_ready(struct monitor *m)
{
	atomic_store(&told, m->server);
	server_poke(m->server);
}

/* One that comes now is too late, and no reason to die of. */
static void leave_signals(const struct monitor *m)
{
	handle(SIGUSR1, SIG_IGN);
	if (m->conf.config->log_file)
		handle(SIGHUP, SIG_IGN);
	atomic_store(&told, NULL);
}

/* --- the whole --- */

static void add_control(struct monitor *m, struct server_conf *sc)
{
	struct control_conf conf = {.answer = answer, .arg = m};
	int r = mountinfo_find(m->conf.mountpoint, &conf.mount);
	if (r == 0)
		r = control_new(&conf, &m->control, &sc->doors[sc->n_doors]);
	if (r == 0)
		sc->n_doors++;
	else
		log_warn("mount", "no control socket, 'mastfs status' cannot ask: %s",
			 strerror(-r));
}

static void add_scrape(struct monitor *m, struct server_conf *sc)
{
	if (m->scrape.door >= 0)
		sc->doors[sc->n_doors++] = (struct server_door){
			.fd = m->scrape.door,
			.end = SCRAPE_END,
			.answer = answer_scrape,
			.arg = m,
		};
	m->scrape.door = -1; /* the server's now */
	if (m->scrape.file) {
		sc->tick = write_file;
		sc->tick_ns = FILE_EVERY_NS;
	}
}

int monitor_new(const struct monitor_conf *conf, struct monitor **ret)
{
	struct monitor *m = calloc(1, sizeof *m);
	if (!m)
		return -ENOMEM;
	m->conf = *conf;
	m->scrape = conf->scrape;
	m->start_ns = clock_now_ns();
	struct server_conf sc = {.poked = poked, .arg = m};
	add_control(m, &sc);
	add_scrape(m, &sc);
	int r = server_new(&sc, &m->server);
	if (r < 0) {
		log_error("mount", "start the control thread: %s", strerror(-r));
		monitor_free(m);
		return r;
	}
	*ret = m;
	return 0;
}

void monitor_draining(struct monitor *m)
{
	atomic_store(&m->draining, true);
	if (m->control)
		control_draining(m->control);
}

void monitor_free(struct monitor *m)
{
	if (!m)
		return;
	leave_signals(m);
	server_free(m->server);
	control_free(m->control);
	scrape_done(&m->scrape);
	free(m);
}
