/* cred_ask.h - a question to a service that gives out credentials.  Private to
 * cred_*.c.
 *
 * Only here is a service's answer made an errno, and logged.
 */
#ifndef BACKENDS_CRED_ASK_H
#define BACKENDS_CRED_ASK_H
#include <stdbool.h>
#include <stddef.h>
#include "backends/cred.h"
#include "backends/url.h"

enum { CRED_ANSWER_MAX = 64 * 1024, CRED_TOKEN_MAX = 64 * 1024 };

struct cred_question {
	const char *topic;  /* of the log line */
	const char *source; /* for the log line: whose credentials, and from where */
	const char *method, *url;
	const struct http_header *headers; /* values NULL are left out */
	size_t n_headers;
	const struct buf *body; /* NULL = none */
	const char *hide[2];	/* NULL, or what the log may not repeat */
	bool local;	 /* a service of this machine: soon or never, and no proxy */
	bool absent_ok;	 /* that there is nobody to connect to is -ENOENT, and no news */
	bool refused_ok; /* neither is a refusal */
	/* NULL = no signature in it tells the time.  Else: 0, or what our clock was found
	 * to be off by. */
	int64_t *clock_off_ns;
};

/* 0: a 2xx answer, in *reply.  -EACCES: it was refused; a transient error of
 * backend.h's list: it was not answered, even by the third try.  -EINTR.  -EAGAIN: it
 * was refused while our clock is far from theirs: sign it by *clock_off_ns, once. */
int cred_ask(struct http *http, const struct cred_question *q, struct http_reply *reply,
	     struct call *call);
/* Log that the answer, though 2xx, was not what was asked for: returns -EACCES.
 * error: what is wrong with it. */
int cred_ask_failed(const struct cred_question *q, int error);

/* The params as a form, appended; those whose value is NULL are left out.  Sorts
 * them in place. */
void cred_form(struct buf *body, struct url_param *params, size_t n);
void cred_wipe(struct buf *b); /* and free */

/* {"access_token": .., "expires_in" or "expires_on": seconds} -> a bearer token.
 * -EBADMSG. */
int cred_from_bearer(const char *text, size_t n, struct cred *ret);
/* A file with one line, its line end taken off.  -EBADMSG: it has more, or is empty;
 * or as open(2). */
int cred_read_line(const char *path, struct secret *ret);
/* A whole file of at most CRED_TOKEN_MAX bytes.  -EFBIG, or as open(2). */
int cred_read_file(const char *path, struct secret *ret);
/* What goes into a header: no byte may end one. */
bool cred_header_safe(const char *s);
/* https, or http to this machine. */
bool cred_url_is_safe(const char *url);
/* A variable that is set and not empty, or NULL. */
const char *cred_env(const char *name);
#endif
