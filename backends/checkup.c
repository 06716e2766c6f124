/* checkup.c - see checkup.h.  The order of things, credentials and the bucket. */
#include "backends/checkup_impl.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "backends/beneath.h"
#include "backends/date.h"
#include "backends/mast.h"
#include "backends/retry.h"
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "backends/util/banned.h"

struct call checkup_call(const struct checkup *c, uint64_t seconds)
{
	struct call call = {.cancelled = c->conf->cancelled};
	call.deadline_ns = clock_add(clock_now_ns(), seconds * NS_PER_S);
	if (call.deadline_ns > c->until_ns)
		call.deadline_ns = c->until_ns;
	return call;
}

bool checkup_is_far(const struct checkup *c)
{
	return strncmp(c->place.url, "file://", 7) != 0;
}

void checkup_problem(struct checkup *c, const char *check, enum wish wish, int error,
		     const char *words)
{
	const char *heard = report_heard(c->report);
	if (error == -EINTR) {
		report_skip(c->report, check, "interrupted");
		return;
	}
	remedy_tell(c->report, &c->place, trouble_of(error, &c->told), wish, &c->told);
	report_problem(c->report, check, "%s", *heard ? heard : words);
}

static void skip(struct checkup *c, const char *const *checks, const char *why)
{
	for (; *checks; checks++)
		report_skip(c->report, *checks, why);
}

static const char *const all_steps[] = {"credentials", "bucket", NULL};

/* --- credentials --- */

static void tell_credentials(struct checkup *c)
{
	CLEANUP_CRED struct cred cred = {0};
	struct call call = checkup_call(c, CHECKUP_STEP_S);
	char date[DATE_ISO_SIZE];
	if (!c->st->creds || creds_get(c->st->creds, 0, &cred, &call)) {
		report_ok(c->report, "credentials", "none are sent%s",
			  c->place.anonymous ? " (-o anonymous)" : "");
		return;
	}
	const char *source = cred.source ? cred.source : "the environment";
	if (cred.expires_ns) {
		date_format_iso(cred.expires_ns, date);
		report_ok(c->report, "credentials", "from %s, good until %.19sZ", source,
			  date);
	} else {
		report_ok(c->report, "credentials", "from %s, accepted", source);
	}
}

static bool open_store(struct checkup *c)
{
	struct retry_conf retry = retry_defaults;
	struct backend *inner;
	int r = backend_open_bare(&c->place, &inner);
	if (r < 0) {
		const char *heard = report_heard(c->report);
		remedy_tell_keys(c->report, &c->place);
		report_problem(c->report, checkup_is_far(c) ? "credentials" : "bucket",
			       "%s", *heard ? heard : strerror(-r));
		if (checkup_is_far(c))
			report_skip(c->report, "bucket", "there are no credentials");
		return false;
	}
	if (checkup_is_far(c)) {
		c->st = (struct store *)inner;
		c->st->told = &c->told;
	}
	return retry_new(inner, &retry, &c->be) == 0;
}

/* --- the bucket --- */

static void tell_region(struct checkup *c, const char *asked)
{
	const char *is = c->st->dialect->region(c->st);
	if (!strcmp(asked, is)) {
		report_ok(c->report, "region", "%s", is);
		return;
	}
	report_remedy(c->report,
		      "mastfs mount -o region=%s %s  # or export AWS_REGION=%s", is,
		      report_quote(c->report, c->place.url), is);
	report_warning(c->report, "region",
		       "the bucket is in %s, not in %s: each mount asks twice", is,
		       asked);
}

/* The first question that is signed was refused: what was wrong? */
static void tell_refused(struct checkup *c, int r)
{
	enum trouble t = trouble_of(r, &c->told);
	if (trouble_is_identity(t)) {
		checkup_problem(c, "credentials", WISH_LIST, r, strerror(-r));
		report_skip(c->report, "bucket", "the credentials are refused");
		return;
	}
	if (c->st)
		tell_credentials(c);
	checkup_problem(c,
			t == TROUBLE_REGION   ? "region"
			: t == TROUBLE_DENIED ? "list"
					      : "bucket",
			WISH_LIST, r, strerror(-r));
	report_skip(c->report, "objects", "the bucket cannot be listed");
}

/* As a mount begins: the bucket is listed, and what it can do is found out. */
static bool check_bucket(struct checkup *c)
{
	struct call call = checkup_call(c, CHECKUP_PROBE_S);
	char asked[64] = "";
	bool has_region = c->st && c->st->dialect->region;
	if (has_region)
		(void)snprintf(asked, sizeof asked, "%s", c->st->dialect->region(c->st));
	int r = backend_probe(c->be, c->writes, &call);
	if (r) {
		tell_refused(c, r);
		return false;
	}
	if (c->st)
		tell_credentials(c);
	if (has_region)
		tell_region(c, asked);
	report_ok(c->report, "bucket", "%s is there", c->be->name);
	report_ok(c->report, "list", "allowed");
	return true;
}

/* --- all of it --- */

/* The archive is a bucket like others, and public. */
static int set_place(struct checkup *c, const struct backend_conf *conf)
{
	if (strncmp(conf->url, "mast:", 5) != 0) {
		c->place = *conf;
		return 0;
	}
	return mast_bucket_conf(conf, &c->place, &c->url);
}

/* Where a directory keeps what is not whole yet.  A mount makes it, and we, too. */
static void add_temp_dir(const struct checkup *c, struct buf *ret)
{
	if (!checkup_is_far(c))
		buf_addf(ret, "%s/" BENEATH_TMP_DIR, c->place.url + strlen("file://"));
}

static void check_source(const struct checkup_conf *conf, const struct backend_conf *at)
{
	struct checkup c = {.conf = conf, .report = conf->report};
	CLEANUP_BUF struct buf temp;
	buf_init(&temp, 8192);
	c.until_ns = clock_add(clock_now_ns(), CHECKUP_TOTAL_S * NS_PER_S);
	int r = set_place(&c, at);
	if (r) {
		const char *heard = report_heard(c.report);
		report_remedy(c.report, "mastfs help mount  # says what a source may be");
		report_problem(c.report, "bucket", "%s", *heard ? heard : strerror(-r));
		return;
	}
	c.writes = !c.place.read_only && !conf->no_write;
	add_temp_dir(&c, &temp);
	bool was_there = !temp.len || access(temp.data, F_OK) == 0;
	if (checkup_is_far(&c) && !checkup_net(&c))
		skip(&c, all_steps, "the server does not answer");
	else if (open_store(&c) && check_bucket(&c))
		checkup_objects(&c);
	backend_free(c.be);
	if (!was_there)
		(void)rmdir(temp.data);
	free(c.url);
}

void checkup_sources(const struct checkup_conf *conf)
{
	struct backend_conf own = settings_conf(conf->settings);
	own.read_only = conf->read_only;
	own.public_url = NULL;
	check_source(conf, &own);
	if (!conf->settings->public_url || atomic_load(conf->cancelled))
		return;
	own.url = conf->settings->public_url;
	own.read_only = true;
	own.storage_class = NULL;
	conf->report->prefix = "public-";
	check_source(conf, &own);
	conf->report->prefix = "";
}
