/* url.h - bucket URLs, endpoints and percent-encoding.  Pure.
 */
#ifndef BACKENDS_URL_H
#define BACKENDS_URL_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "backends/util/buf.h"

enum { URL_HOST_SIZE = 256 };

/* Where a service listens. */
struct endpoint {
	bool https;
	uint16_t port;
	char host[URL_HOST_SIZE]; /* without the brackets of an IPv6 address */
};

/* "http(s)://host[:port][/]", nothing more.  -EINVAL. */
int url_parse_endpoint(const char *s, struct endpoint *ret);
/* The same of a whole URL: what comes after the host is left alone.  -EINVAL. */
int url_parse_origin(const char *url, struct endpoint *ret);
/* Append "host" or "host:port" as it stands in a URL and in Host:, that is the
 * port only if it is not the scheme's own. */
void url_add_host(struct buf *out, const struct endpoint *ep);
bool url_host_is_ip(const char *host);
/* Does it name this machine, whatever the resolver says? */
bool url_host_is_loopback(const char *host);

/* "SCHEME://bucket[/prefix]".  The prefix comes back "" or ending in '/'.  Both
 * are owned by the caller (free).  -EINVAL. */
int url_parse_bucket(const char *url, const char *scheme, char **ret_bucket,
		     char **ret_prefix);

/* Every byte but A-Z a-z 0-9 - . _ ~ (and '/' where it is kept) as %XX: the rule
 * of SigV4, where what is signed is what is sent. */
void url_encode(struct buf *out, const char *s, size_t n, bool keep_slash);
/* -EBADMSG if a '%' is not followed by two hex digits. */
int url_decode(struct buf *out, const char *s, size_t n, bool plus_is_space);

/* One parameter of a query.  value NULL: nothing after the '='. */
struct url_param {
	const char *name, *value; /* borrowed */
};
/* Append the parameters encoded and in SigV4's order, joined by '&'; sorts them
 * in place.  The names must be distinct and need no encoding. */
void url_add_query(struct buf *out, struct url_param *params, size_t n);
#endif
