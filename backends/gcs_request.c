/* gcs_request.c - the dialect: addresses, the bearer token, what an error means. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "backends/gcs_request.h"
#include "backends/util/cleanup.h"
#include "backends/util/banned.h"

/* No object can have these: dots alone are a path's, and names are text. */
static int check_name(const char *name, size_t n)
{
	CLEANUP_BUF struct buf quoted;
	buf_init(&quoted, GCS_PATH_MAX);
	if (!strcmp(name, ".") || !strcmp(name, ".."))
		return -EILSEQ;
	return json_quote(&quoted, name, n);
}

int gcs_add_path(const struct gcs *gcs, const char *key, struct buf *ret)
{
	CLEANUP_BUF struct buf full;
	buf_init(&full, (size_t)2 * STORE_KEY_MAX + 1);
	buf_adds(ret, "/storage/v1/b/");
	url_encode(ret, gcs->bucket, strlen(gcs->bucket), false);
	buf_adds(ret, "/o");
	if (!key)
		return buf_error(ret);
	int r = store_full_key(&gcs->st, key, &full);
	if (!r)
		r = check_name(full.data, full.len);
	if (r)
		return r;
	buf_addc(ret, '/');
	url_encode(ret, full.data, full.len, false);
	return buf_error(ret);
}

bool gcs_is_hidden(const char *key)
{
	for (const char *p = key; (p = strstr(p, GCS_PARTS_DIR)); p++)
		if (p == key || p[-1] == '/')
			return true;
	return false;
}

/* The token goes out only here, and only to the endpoint. */
static void authorize(const struct gcs *gcs, struct attempt *a)
{
	if (!gcs->st.creds || a->cred.kind != CRED_BEARER)
		return;
	buf_addf(&a->auth, "Bearer %s", a->cred.token.bytes);
	attempt_header(a, "authorization", a->auth.data);
	if (!gcs->billing && a->cred.access_key && *a->cred.access_key)
		attempt_header(a, "x-goog-user-project", a->cred.access_key);
}

/* A target is a path that is encoded already; the address of a session has its query
 * with it, and has settled who pays. */
static int make(struct store *st, const struct request *rq, const struct proof *proof,
		struct attempt *a)
{
	struct gcs *gcs = gcs_of(&st->be);
	struct url_param params[REQUEST_PARAMS_MAX + 1];
	size_t n = rq->n_params;
	(void)proof;
	memcpy(params, rq->params, sizeof rq->params);
	if (rq->target) {
		buf_adds(&a->path, rq->target);
	} else {
		int r = gcs_add_path(gcs, rq->key, &a->path);
		if (r)
			return r;
	}
	bool session = strchr(a->path.data, '?') != NULL;
	if (gcs->billing && !session)
		params[n++] = (struct url_param){"userProject", gcs->billing};
	url_add_query(&a->query, params, n);
	url_add_host(&a->host, &gcs->endpoint);
	buf_addf(&a->url, "%s://%s%s%s%s", gcs->endpoint.https ? "https" : "http",
		 a->host.data, a->path.data, a->query.len ? "?" : "", a->query.data);
	authorize(gcs, a);
	int r = attempt_url_error(a);
	return r ? r : buf_error(&a->auth);
}

static void keep(char *to, size_t size, const char *text)
{
	(void)snprintf(to, size, "%s", text ? text : "");
}

/* {"error": {"code": 404, "message": "...", "errors": [{"reason": "notFound"}]}}; the
 * answer to a read is not JSON but a line of text. */
static int parse(const struct http_reply *reply, struct store_error *ret)
{
	struct json *root = NULL;
	*ret = (struct store_error){.status = reply->status};
	if (!reply->body.len)
		return 0;
	int r = json_parse(reply->body.data, reply->body.len, &root);
	if (r) {
		if (*reply->body.data != '<')
			(void)snprintf(ret->message, sizeof ret->message, "%.*s",
				       (int)strcspn(reply->body.data, "\r\n"),
				       reply->body.data);
		return r == -ENOMEM ? r : 0;
	}
	const struct json *e = json_member(root, "error");
	const struct json *first = json_at(json_member(e, "errors"), 0);
	keep(ret->code, sizeof ret->code, json_text(json_member(first, "reason"), NULL));
	keep(ret->message, sizeof ret->message,
	     json_text(json_member(e, "message"), NULL));
	json_free(root);
	return 0;
}

/* Reasons that say more than their status. */
static const struct {
	const char *code;
	int error;
} codes[] = {
	{"notFound", -ENOENT},		 {"conditionNotMet", -ESTALE},
	{"rateLimitExceeded", -EBUSY},	 {"userRateLimitExceeded", -EBUSY},
	{"quotaExceeded", -EBUSY},	 {"concurrentLimitExceeded", -EBUSY},
	{"uploadTooLarge", -EFBIG},	 {"userProjectMissing", -EACCES},
	{"userProjectInvalid", -EACCES}, {"userProjectInconsistent", -EACCES},
};

/* The reason of these is "invalid" or "required", whatever it was. */
static const struct {
	int status;
	const char *words;
	int error;
} sayings[] = {
	/* That the bucket is gone does not make what is in it absent (P10). */
	{404, "bucket does not exist", -ENODEV},
	{400, "match calculated", -EBADMSG}, /* the checksum that was announced */
	{400, "object name", -EILSEQ},
	{400, "requester pays", -EACCES},
	{400, "user project", -EACCES},
};

static int error_of(const struct store_error *e)
{
	for (size_t i = 0; i < sizeof sayings / sizeof sayings[0]; i++)
		if (e->status == sayings[i].status &&
		    strcasestr(e->message, sayings[i].words))
			return sayings[i].error;
	for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
		if (!strcmp(e->code, codes[i].code))
			return codes[i].error;
	/* A session that ended before its time. */
	return e->status == 410 ? -ENXIO : store_errno_of_status(e->status);
}

static bool expired(const struct store_error *e)
{
	return e->status == 401;
}

const struct dialect gcs_dialect = {
	.log = "gcs",
	.make = make,
	.parse = parse,
	.error = error_of,
	.expired = expired,
};
