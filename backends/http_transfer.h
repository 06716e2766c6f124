/* http_transfer.h - one request under way: what libcurl is told, and what it calls back.
 *
 * The bytes go to and from the request and its answer as they come; what the callbacks
 * make of an error is in `error`, since libcurl knows only that one of them failed.
 */
#ifndef BACKENDS_HTTP_TRANSFER_H
#define BACKENDS_HTTP_TRANSFER_H
#include <curl/curl.h>
#include "backends/http_impl.h"

struct http_transfer {
	const struct http_conf *conf; /* borrowed, as all that follows */
	CURLSH *share;		      /* of DNS and TLS sessions */
	const struct http_request *rq;
	struct http_answer answer;
	const struct call *call;
	struct curl_slist *headers; /* owned */
	uint64_t sent;		    /* bytes of rq->source */
	uint32_t sends;		    /* libcurl sends again what a kept connection lost */
	int error;		    /* that one of our callbacks met */
};

/* Makes t->headers.  -ENOMEM, -EINVAL. */
int http_transfer_headers(struct http_transfer *t);
/* All that easy needs for it; cause holds CURL_ERROR_SIZE. */
void http_transfer_set(CURL *easy, struct http_transfer *t, char *cause);
#endif
