/* azure_probe.c - is the container there, are we let in, and what kind of account is
 * it? */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include "backends/azure_store.h"
#include "backends/probe.h"
#include "backends/xml.h"
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "backends/util/log.h"
#include "backends/util/banned.h"

/* As the service writes them; no blob of ours has it. */
#define WRONG_ETAG "\"0x8000000000000000\""

static const char *why_refused(const struct azure *az, const struct store_error *e,
			       struct buf *text)
{
	const char *source = az->at.source;
	int64_t expiry_ns;
	char date[DATE_ISO_SIZE];
	if (!az->st.creds)
		return "the container is not open to everybody";
	if (az->at.cred.kind == CRED_SAS && az->at.cred.token.len &&
	    !azure_sas_expiry(az->at.cred.token.bytes, &expiry_ns) &&
	    expiry_ns < clock_wall_ns()) {
		date_format_iso(expiry_ns, date);
		buf_addf(text, "the SAS of %s expired at %.19sZ", source, date);
	} else if (!strcmp(e->code, "AuthenticationFailed") ||
		   (!strcmp(e->code, "AuthorizationFailure") && *az->at.path) ||
		   !strcmp(e->code, "InvalidAuthenticationInfo")) {
		buf_addf(text, "%s is not accepted: the wrong %s?", source,
			 az->at.cred.kind == CRED_KEYS	? "key"
			 : az->at.cred.kind == CRED_SAS ? "SAS, or one for another place"
							: "tenant or audience");
	} else if (!strcmp(e->code, "AuthorizationPermissionMismatch")) {
		buf_addf(text, "%s gives no right to list the container", source);
	} else {
		buf_addf(text,
			 "%s is refused, or a firewall of the account stands before it",
			 source);
	}
	return text->data;
}

/* One line for the person who starts the mount. */
static int explain(struct azure *az, int error, const struct http_reply *reply)
{
	CLEANUP_BUF struct buf where, why;
	struct store_error e;
	buf_init(&where, 1024);
	buf_init(&why, 1024);
	azure_add_origin(az, &where);
	buf_adds(&where, az->at.path);
	(void)azure_error_parse(reply, &e);
	if (error == -ENODEV)
		log_error("azure", "there is no container \"%s\" at %s", az->at.container,
			  where.data);
	else if (store_errno_is_refusal(error) && reply->status)
		log_error("azure", "%s: %s (%d %s)", az->st.be.name,
			  why_refused(az, &e, &why), e.status, e.code);
	else if (error == -ECOMM || error == -ETIMEDOUT || !reply->status)
		log_error("azure", "cannot connect to %s: %s", where.data,
			  *reply->cause ? reply->cause : strerror(-error));
	else if (error != -EINTR)
		log_error("azure", "%s: %d %s: %s", az->st.be.name, e.status, e.code,
			  *e.message ? e.message : strerror(-error));
	return probe_unreached(error, reply) ? -EHOSTUNREACH : error;
}

/* *ret_left: what probe_sweep is for is there.  Only looked for with writes. */
static int probe_container(struct azure *az, bool writes, bool *ret_left,
			   struct call *call)
{
	CLEANUP_REPLY struct http_reply reply;
	CLEANUP_FREE char *prefix = NULL;
	http_reply_init(&reply);
	if (asprintf(&prefix, "%s%s", az->st.prefix, writes ? PROBE_NAME : "") < 0) {
		prefix = NULL;
		return -ENOMEM;
	}
	struct request rq = {
		.op = "list", .method = "GET", .quiet = true, .on_404 = -ENODEV};
	request_param(&rq, "restype", "container");
	request_param(&rq, "comp", "list");
	request_param(&rq, "maxresults", "1");
	if (*prefix)
		request_param(&rq, "prefix", prefix);
	int r = request_send(&az->st, &rq, &reply, call);
	if (!r && xml_root_is(reply.body.data, reply.body.len, "EnumerationResults"))
		r = request_log(&az->st, &rq, -EREMOTEIO, "a 200 without the answer",
				&reply);
	*ret_left = !r && writes && memmem(reply.body.data, reply.body.len, "<Blob>", 6);
	return probe_is_final(r, &reply) ? explain(az, r, &reply) : r;
}

/* Who may not ask is not told: then there is none, and a rename is a copy. */
static int find_namespace(struct azure *az, struct call *call)
{
	CLEANUP_REPLY struct http_reply reply;
	http_reply_init(&reply);
	struct request rq = {.op = "account properties",
			     .method = "GET",
			     .target = AZURE_TARGET_ACCOUNT,
			     .quiet = true};
	request_param(&rq, "restype", "account");
	request_param(&rq, "comp", "properties");
	int r = request_send(&az->st, &rq, &reply, call);
	const char *hns = r ? NULL : http_header(&reply, "x-ms-is-hns-enabled");
	if (hns && !strcasecmp(hns, "true"))
		az->st.be.caps |= BACKEND_RENAME;
	return r == -EINTR ? r : 0;
}

int azure_probe(struct backend *be, bool writes, struct call *call)
{
	struct azure *az = azure_of(be);
	bool left;
	writes = writes && be->caps & BACKEND_WRITE;
	int r = probe_container(az, writes, &left, call);
	if (!r && writes)
		r = find_namespace(az, call);
	if (r || !writes)
		return r;
	r = probe_writes(&az->st, WRONG_ETAG, call);
	if (!r && left && be->caps & BACKEND_WRITE)
		probe_sweep(&az->st, call);
	return r;
}
