/* http_impl.h - what the files behind http.h tell one another. */
#ifndef BACKENDS_HTTP_IMPL_H
#define BACKENDS_HTTP_IMPL_H
#include "backends/http.h"

/* Credentials and data do not cross a network in the clear by mistake.  -EACCES, with
 * the cause in the reply; -EINVAL: the URL. */
int http_check_scheme(const struct http_request *rq, bool allow_http,
		      struct http_reply *reply);
/* One line, at debug level; r and reply are how it ended. */
void http_log_request(const struct http_request *rq, const struct http_reply *reply,
		      int r, uint64_t started_ns);
#endif
