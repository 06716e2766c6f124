/* url.c - see url.h. */
#include "backends/url.h"
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "backends/util/cleanup.h"
#include "backends/util/banned.h"

static bool alnum(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static int parse_port(const char *s, uint16_t *ret)
{
	unsigned int port = 0;
	const char *start = s;
	for (; *s >= '0' && *s <= '9' && s - start < 6; s++)
		port = port * 10 + (unsigned int)(*s - '0');
	if (s == start || (*s && strcmp(s, "/")) || !port || port > UINT16_MAX)
		return -EINVAL;
	*ret = (uint16_t)port;
	return 0;
}

static int copy_host(const char *s, size_t n, struct endpoint *ep, bool ip6)
{
	if (!n || n >= sizeof ep->host)
		return -EINVAL;
	for (size_t i = 0; i < n; i++) {
		bool ok =
			alnum(s[i]) || (ip6 ? strchr(":.%", s[i]) : strchr("-._", s[i]));
		if (!ok || !s[i])
			return -EINVAL;
	}
	memcpy(ep->host, s, n);
	ep->host[n] = '\0';
	return 0;
}

int url_parse_endpoint(const char *s, struct endpoint *ret)
{
	struct endpoint ep = {0};
	if (!strncasecmp(s, "https://", 8))
		ep.https = true;
	else if (strncasecmp(s, "http://", 7))
		return -EINVAL;
	s += ep.https ? 8 : 7;
	ep.port = ep.https ? 443 : 80;

	bool ip6 = *s == '[';
	if (ip6)
		s++;
	size_t n = strcspn(s, ip6 ? "]" : ":/");
	int r = copy_host(s, n, &ep, ip6);
	if (r)
		return r;
	s += n;
	if (ip6 && *s++ != ']')
		return -EINVAL;
	if (*s == ':')
		r = parse_port(s + 1, &ep.port);
	else if (*s && strcmp(s, "/"))
		r = -EINVAL;
	if (!r)
		*ret = ep;
	return r;
}

int url_parse_origin(const char *url, struct endpoint *ret)
{
	const char *slashes = strstr(url, "://");
	if (!slashes)
		return -EINVAL;
	size_t n = (size_t)(slashes - url) + 3 + strcspn(slashes + 3, "/?#");
	CLEANUP_FREE char *origin = strndup(url, n);
	return origin ? url_parse_endpoint(origin, ret) : -ENOMEM;
}

void url_add_host(struct buf *out, const struct endpoint *ep)
{
	buf_addf(out, strchr(ep->host, ':') ? "[%s]" : "%s", ep->host);
	if (ep->port != (ep->https ? 443 : 80))
		buf_addf(out, ":%u", (unsigned int)ep->port);
}

bool url_host_is_ip(const char *host)
{
	struct in_addr a4;
	struct in6_addr a6;
	return inet_pton(AF_INET, host, &a4) == 1 || inet_pton(AF_INET6, host, &a6) == 1;
}

bool url_host_is_loopback(const char *host)
{
	struct in_addr a4;
	struct in6_addr a6;
	/* libcurl answers for these itself and asks no resolver. */
	size_t n = strlen(host);
	if (!strcasecmp(host, "localhost") ||
	    (n > 10 && !strcasecmp(host + n - 10, ".localhost")))
		return true;
	if (inet_pton(AF_INET, host, &a4) == 1)
		return ntohl(a4.s_addr) >> 24 == 127;
	return inet_pton(AF_INET6, host, &a6) == 1 && IN6_IS_ADDR_LOOPBACK(&a6);
}

int url_parse_bucket(const char *url, const char *scheme, char **ret_bucket,
		     char **ret_prefix)
{
	size_t n = strlen(scheme);
	if (strncasecmp(url, scheme, n) || strncmp(url + n, "://", 3))
		return -EINVAL;
	url += n + 3;
	n = strcspn(url, "/");
	/* 255: the longest of any store's (Amazon: 63; old ones 255). */
	if (!n || n > 255)
		return -EINVAL;
	for (size_t i = 0; i < n; i++)
		if (!alnum(url[i]) && !strchr("-._:", url[i]))
			return -EINVAL;
	/* "https:" is not a bucket, but what "s3://https://host" would make of it. */
	if (url[n - 1] == ':')
		return -EINVAL;
	const char *prefix = url[n] ? url + n + 1 : "";
	size_t p = strlen(prefix);

	CLEANUP_FREE char *bucket = strndup(url, n);
	CLEANUP_FREE char *slashed = malloc(p + 2);
	if (!bucket || !slashed)
		return -ENOMEM;
	memcpy(slashed, prefix, p + 1);
	if (p && slashed[p - 1] != '/')
		memcpy(slashed + p, "/", 2);
	*ret_bucket = STEAL(bucket);
	*ret_prefix = STEAL(slashed);
	return 0;
}

void url_encode(struct buf *out, const char *s, size_t n, bool keep_slash)
{
	static const char hex[] = "0123456789ABCDEF";
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s[i];
		if (alnum(s[i]) || (c && strchr("-._~", c)) || (keep_slash && c == '/')) {
			buf_addc(out, s[i]);
			continue;
		}
		char coded[3] = {'%', hex[c >> 4], hex[c & 15]};
		buf_add(out, coded, sizeof coded);
	}
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int url_decode(struct buf *out, const char *s, size_t n, bool plus_is_space)
{
	for (size_t i = 0; i < n; i++) {
		if (s[i] == '+' && plus_is_space) {
			buf_addc(out, ' ');
			continue;
		}
		if (s[i] != '%') {
			buf_addc(out, s[i]);
			continue;
		}
		int high = n - i > 2 ? hex_value(s[i + 1]) : -1;
		int low = n - i > 2 ? hex_value(s[i + 2]) : -1;
		if (high < 0 || low < 0)
			return -EBADMSG;
		buf_addc(out, (char)(high << 4 | low));
		i += 2;
	}
	return buf_error(out);
}

static int by_name(const void *a, const void *b)
{
	const struct url_param *pa = a, *pb = b;
	return strcmp(pa->name, pb->name);
}

void url_add_query(struct buf *out, struct url_param *params, size_t n)
{
	qsort(params, n, sizeof *params, by_name);
	for (size_t i = 0; i < n; i++) {
		const char *value = params[i].value ? params[i].value : "";
		buf_addf(out, "%s%s=", i ? "&" : "", params[i].name);
		url_encode(out, value, strlen(value), false);
	}
}
