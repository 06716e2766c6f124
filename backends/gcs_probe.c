/* gcs_probe.c - is the bucket there, are we let in, and what does the store know?
 * Google knows all that is asked for here; emulators do not. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "backends/gcs_request.h"
#include "backends/probe.h"
#include "backends/util/cleanup.h"
#include "backends/util/log.h"
#include "backends/util/banned.h"

/* A generation that no object of ours has: Google's are microseconds since 1970. */
#define WRONG_GENERATION "1"

static const char *where(const struct gcs *gcs, struct buf *out)
{
	url_add_host(out, &gcs->endpoint);
	return out->data;
}

static bool is_about_billing(const struct store_error *e)
{
	return strcasestr(e->message, "requester pays") ||
	       strcasestr(e->message, "user project") ||
	       strcasestr(e->message, "billing") || strcasestr(e->code, "userProject");
}

static const char *why_refused(const struct gcs *gcs, const struct store_error *e)
{
	if (is_about_billing(e))
		return "readers pay here: the option billing_project says who";
	if (!gcs->st.creds)
		return "the bucket is not open to everybody";
	if (e->status == 401)
		return "the store refuses these credentials";
	return "these credentials may not list the bucket";
}

/* One line for the person who starts the mount. */
static int explain(const struct gcs *gcs, int error, const struct http_reply *reply)
{
	CLEANUP_BUF struct buf host;
	struct store_error e;
	buf_init(&host, 512);
	gcs_dialect.parse(reply, &e);
	if (error == -ENODEV)
		log_error("gcs", "there is no bucket \"%s\" at %s", gcs->bucket,
			  where(gcs, &host));
	else if (store_errno_is_refusal(error) && reply->status)
		log_error("gcs", "%s: %s (%d %s%s%s)", gcs->st.be.name,
			  why_refused(gcs, &e), e.status, e.code, *e.message ? ": " : "",
			  e.message);
	else if (error == -ECOMM || error == -ETIMEDOUT || !reply->status)
		log_error("gcs", "cannot connect to %s: %s", where(gcs, &host),
			  *reply->cause ? reply->cause : strerror(-error));
	else if (error != -EINTR)
		log_error("gcs", "%s: %d %s: %s", gcs->st.be.name, e.status, e.code,
			  *e.message ? e.message : strerror(-error));
	return probe_unreached(error, reply) ? -EHOSTUNREACH : error;
}

/* *ret_left: what probe_sweep is for is there.  Only looked for with writes. */
static int probe_bucket(struct gcs *gcs, bool writes, bool *ret_left, struct call *call)
{
	CLEANUP_BUF struct buf path;
	CLEANUP_REPLY struct http_reply reply;
	CLEANUP_FREE char *prefix = NULL;
	struct json *root = NULL;
	http_reply_init(&reply);
	buf_init(&path, GCS_PATH_MAX);
	int r = gcs_add_path(gcs, NULL, &path);
	if (!r &&
	    asprintf(&prefix, "%s%s", gcs->st.prefix, writes ? PROBE_NAME : "") < 0) {
		prefix = NULL;
		r = -ENOMEM;
	}
	if (r)
		return r;
	struct request rq = {.op = "list",
			     .method = "GET",
			     .target = path.data,
			     .quiet = true,
			     .on_404 = -ENODEV};
	request_param(&rq, "prefix", prefix);
	request_param(&rq, "maxResults", "1");
	request_param(&rq, "fields", "kind,items/name");
	r = request_send(&gcs->st, &rq, &reply, call);
	if (!r && json_parse(reply.body.data, reply.body.len, &root))
		r = -EREMOTEIO;
	*ret_left = !r && writes && json_count(json_member(root, "items"));
	json_free(root);
	return probe_is_final(r, &reply) ? explain(gcs, r, &reply) : r;
}

/* Google moves an object atomically; an emulator may not know the request, and not say
 * so.  1: it does. */
static int try_move(struct gcs *gcs, const char *key, struct call *call)
{
	static const struct put_opts plain;
	const struct source nothing = {.fd = -1};
	struct gcs_object o;
	char to[80];
	(void)snprintf(to, sizeof to, "%s-moved", key);
	int r = gcs_send_object(gcs, "probe", key, &nothing,
				(struct gcs_new){.opts = &plain}, &o, call);
	if (!r)
		r = gcs_move(gcs, key, to, call);
	if (!r || store_errno_is_transient(r))
		probe_remove(&gcs->st.be, to);
	if (r)
		probe_remove(&gcs->st.be, key);
	if (!r)
		return 1;
	return store_errno_is_transient(r) || r == -EKEYEXPIRED || r == -EINTR ? r : 0;
}

static int probe_rename(struct gcs *gcs, struct call *call)
{
	char key[PROBE_NAME_SIZE];
	int r = probe_name(key);
	if (r)
		return r;
	gcs->st.quiet = true;
	r = try_move(gcs, key, call);
	gcs->st.quiet = false;
	if (!r)
		gcs->st.be.caps &= ~(uint32_t)BACKEND_RENAME;
	return r < 0 ? r : 0;
}

int gcs_probe(struct backend *be, bool writes, struct call *call)
{
	struct gcs *gcs = gcs_of(be);
	bool left;
	writes = writes && be->caps & BACKEND_WRITE;
	int r = probe_bucket(gcs, writes, &left, call);
	if (!r && writes)
		r = probe_writes(&gcs->st, WRONG_GENERATION, call);
	if (r || !writes || !(be->caps & BACKEND_WRITE))
		return r;
	r = probe_rename(gcs, call);
	if (!r)
		(void)gcs_expire_uploads(gcs, call);
	if (!r && left)
		probe_sweep(&gcs->st, call);
	return r;
}
