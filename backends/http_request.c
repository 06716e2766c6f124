/* http_request.c - what may be asked, and what the log tells of it (see http_impl.h). */
#include "backends/http_impl.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include "backends/url.h"
#include "backends/util/clock.h"
#include "backends/util/log.h"
#include "backends/util/banned.h"

/* Without the query if it holds a signature, or an upload's name, which is as good. */
void http_log_request(const struct http_request *rq, const struct http_reply *reply,
		      int r, uint64_t started_ns)
{
	if (!log_enabled(LOG_LEVEL_DEBUG))
		return;
	const char *range = "";
	for (size_t i = 0; i < rq->n_headers; i++)
		if (!strcasecmp(rq->headers[i].name, "range"))
			range = rq->headers[i].value;
	size_t n = strlen(rq->url);
	if (strcasestr(rq->url, "signature=") || strstr(rq->url, "sig=") ||
	    strstr(rq->url, "upload_id="))
		n = strcspn(rq->url, "?");
	log_debug("http", "%s %.*s%s%s: %d, %llu bytes, %llu ms, id %s%s%s", rq->method,
		  (int)n, rq->url, *range ? " " : "", range, reply->status,
		  (unsigned long long)reply->received,
		  (unsigned long long)((clock_now_ns() - started_ns) / NS_PER_MS),
		  http_request_id(reply), r ? ", " : "", r ? reply->cause : "");
}

int http_check_scheme(const struct http_request *rq, bool allow_http,
		      struct http_reply *reply)
{
	struct endpoint ep;
	if (!strncasecmp(rq->url, "https://", 8) || allow_http || rq->local)
		return 0;
	int r = url_parse_origin(rq->url, &ep);
	if (r)
		return r;
	if (url_host_is_loopback(ep.host))
		return 0;
	(void)snprintf(reply->cause, sizeof reply->cause,
		       "plain http to %.200s is refused (option allow_http)", ep.host);
	return -EACCES;
}
