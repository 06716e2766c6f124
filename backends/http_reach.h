/* http_reach.h - the way to a server, step by step: name, connection, TLS, an answer.
 *
 * http.h tells that a request failed; this tells at which step, for somebody who has to
 * mend it.  No credentials go out.
 */
#ifndef BACKENDS_HTTP_REACH_H
#define BACKENDS_HTTP_REACH_H
#include <stdbool.h>
#include <stdint.h>
#include "backends/http.h"

enum http_step { HTTP_STEP_NAME, HTTP_STEP_CONNECT, HTTP_STEP_TLS, HTTP_STEP_ANSWER };

enum http_fault {
	HTTP_FAULT_NONE,
	HTTP_FAULT_PROXY_NAME, /* of the proxy's */
	HTTP_FAULT_LATE,       /* no answer in time */
	HTTP_FAULT_UNKNOWN_CA,
	HTTP_FAULT_EXPIRED,
	HTTP_FAULT_NOT_YET,
	HTTP_FAULT_WRONG_NAME,
	HTTP_FAULT_CA_FILE, /* what is to be trusted cannot be read */
	HTTP_FAULT_OTHER,
};

struct http_reach {
	enum http_fault fault;
	enum http_step at;	     /* where, if there is a fault */
	char cause[HTTP_CAUSE_SIZE]; /* libcurl's words for it */
	char address[64];	     /* connected to; "" = not */
	uint16_t port;
	uint64_t name_ns, connect_ns, tls_ns; /* each step's own time */
	uint64_t answer_ns; /* of a request over a connection that is there: the best */
	int status;
	bool has_date;
	int64_t clock_off_ns; /* the server's Date less our clock; to a second */
};

/* HEAD of url, three times.  ca_file NULL: the system's.  The call's deadline bounds
 * each step together with the others.  0, also if there is a fault: *ret tells it;
 * -EINTR, -ENOMEM. */
int http_reach(const char *url, const char *ca_file, const struct call *call,
	       struct http_reach *ret);

/* The variable that names a proxy for this URL, by libcurl's rules; NULL: none does. */
const char *http_proxy_variable(const char *url);
#endif
