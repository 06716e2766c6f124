/* http_reach.c - see http_reach.h. */
#include "backends/http_reach.h"
#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "backends/crypto.h"
#include "backends/date.h"
#include "backends/http_impl.h"
#include "backends/url.h"
#include "backends/util/clock.h"
#include "backends/util/banned.h"

enum {
	TIMES = 3,
	NOT_VERIFIED = 1, /* libcurl: it did not come to a verdict on the certificate */
};

struct look {
	CURL *easy;
	const struct call *call;
	struct http_reach *ret;
	bool tls_begun;
	char cause[CURL_ERROR_SIZE];
};

static size_t on_header(char *line, size_t size, size_t n, void *arg)
{
	struct look *l = arg;
	char date[64];
	int64_t server_ns;
	n *= size;
	if (n < 6 || strncasecmp(line, "date:", 5) != 0)
		return n;
	int skip = 5 + (line[5] == ' ');
	(void)snprintf(date, sizeof date, "%.*s", (int)(n - (size_t)skip), line + skip);
	date[strcspn(date, "\r\n")] = '\0';
	/* It was cut to the second that it lies in. */
	int64_t ours_ns = clock_wall_ns() - (int64_t)NS_PER_S / 2;
	if (!date_parse_http(date, &server_ns))
		l->ret->has_date = !__builtin_sub_overflow(server_ns, ours_ns,
							   &l->ret->clock_off_ns);
	return n;
}

static int on_progress(void *arg, curl_off_t dl_total, curl_off_t dl, curl_off_t ul_total,
		       curl_off_t ul)
{
	const struct look *l = arg;
	(void)dl_total;
	(void)dl;
	(void)ul_total;
	(void)ul;
	return call_check(l->call) ? 1 : 0;
}

/* libcurl tells when TLS has ended, and by this when it begins. */
static CURLcode on_tls(CURL *easy, void *context, void *arg)
{
	struct look *l = arg;
	(void)easy;
	(void)context;
	l->tls_begun = true;
	return CURLE_OK;
}

static void set_options(struct look *l, const char *url, const char *ca_file)
{
	uint64_t left_ns = call_left_ns(l->call);
	CURL *easy = l->easy;
	(void)curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, l->cause);
	(void)curl_easy_setopt(easy, CURLOPT_URL, url);
	(void)curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
	http_set_policy(easy);
	if (ca_file)
		(void)curl_easy_setopt(easy, CURLOPT_CAINFO, ca_file);
	(void)curl_easy_setopt(easy, CURLOPT_SSL_CTX_FUNCTION, on_tls);
	(void)curl_easy_setopt(easy, CURLOPT_SSL_CTX_DATA, l);
	if (left_ns != CLOCK_NEVER) {
		long ms = (long)(left_ns / NS_PER_MS) + 1;
		(void)curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, ms);
		(void)curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, ms);
	}
	(void)curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 0L);
	(void)curl_easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, on_progress);
	(void)curl_easy_setopt(easy, CURLOPT_XFERINFODATA, l);
	(void)curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
	(void)curl_easy_setopt(easy, CURLOPT_HEADERDATA, l);
}

static uint64_t time_of(CURL *easy, CURLINFO info)
{
	curl_off_t us = 0;
	(void)curl_easy_getinfo(easy, info, &us);
	return us > 0 ? (uint64_t)us * 1000 : 0;
}

static uint64_t less(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

/* Which step did not end? */
static enum http_step step_of(const struct look *l)
{
	if (l->tls_begun)
		return time_of(l->easy, CURLINFO_APPCONNECT_TIME_T) ? HTTP_STEP_ANSWER
								    : HTTP_STEP_TLS;
	if (!time_of(l->easy, CURLINFO_NAMELOOKUP_TIME_T))
		return HTTP_STEP_NAME;
	return time_of(l->easy, CURLINFO_CONNECT_TIME_T) ? HTTP_STEP_ANSWER
							 : HTTP_STEP_CONNECT;
}

static enum http_fault certificate_fault(CURL *easy)
{
	long verified = 0;
	(void)curl_easy_getinfo(easy, CURLINFO_SSL_VERIFYRESULT, &verified);
	/* Names are compared by libcurl itself, before it asks for the verdict. */
	if (verified == NOT_VERIFIED)
		return HTTP_FAULT_WRONG_NAME;
	switch (crypto_certificate_fault(verified)) {
	case CERTIFICATE_EXPIRED:
		return HTTP_FAULT_EXPIRED;
	case CERTIFICATE_NOT_YET:
		return HTTP_FAULT_NOT_YET;
	case CERTIFICATE_UNKNOWN_CA:
		return HTTP_FAULT_UNKNOWN_CA;
	case CERTIFICATE_GOOD:
	case CERTIFICATE_WRONG_NAME:
		return HTTP_FAULT_WRONG_NAME;
	default:
		return HTTP_FAULT_OTHER;
	}
}

/* The one place where libcurl's error becomes a step and its fault. */
static void judge(const struct look *l, CURLcode code)
{
	struct http_reach *ret = l->ret;
	ret->at = step_of(l);
	ret->fault = HTTP_FAULT_OTHER;
	if (code == CURLE_COULDNT_RESOLVE_HOST || code == CURLE_COULDNT_RESOLVE_PROXY)
		ret->at = HTTP_STEP_NAME;
	if (code == CURLE_COULDNT_CONNECT)
		ret->at = HTTP_STEP_CONNECT;
	if (code == CURLE_COULDNT_RESOLVE_PROXY)
		ret->fault = HTTP_FAULT_PROXY_NAME;
	else if (code == CURLE_OPERATION_TIMEDOUT || code == CURLE_ABORTED_BY_CALLBACK)
		ret->fault = HTTP_FAULT_LATE;
	else if (code == CURLE_PEER_FAILED_VERIFICATION)
		ret->fault = certificate_fault(l->easy);
	else if (code == CURLE_SSL_CACERT_BADFILE)
		ret->fault = HTTP_FAULT_CA_FILE;
	(void)snprintf(ret->cause, sizeof ret->cause, "%s",
		       *l->cause ? l->cause : curl_easy_strerror(code));
}

static void note_steps(const struct look *l)
{
	struct http_reach *ret = l->ret;
	const char *address = NULL;
	long port = 0, status = 0;
	(void)curl_easy_getinfo(l->easy, CURLINFO_PRIMARY_IP, &address);
	(void)curl_easy_getinfo(l->easy, CURLINFO_PRIMARY_PORT, &port);
	(void)curl_easy_getinfo(l->easy, CURLINFO_RESPONSE_CODE, &status);
	uint64_t name_ns = time_of(l->easy, CURLINFO_NAMELOOKUP_TIME_T);
	uint64_t connect_ns = time_of(l->easy, CURLINFO_CONNECT_TIME_T);
	uint64_t tls_ns = time_of(l->easy, CURLINFO_APPCONNECT_TIME_T);
	(void)snprintf(ret->address, sizeof ret->address, "%s", address ? address : "");
	ret->port = (uint16_t)port;
	ret->status = (int)status;
	ret->name_ns = name_ns;
	ret->connect_ns = less(connect_ns, name_ns);
	ret->tls_ns = less(tls_ns, connect_ns);
}

static void note_answer(const struct look *l)
{
	uint64_t ns = less(time_of(l->easy, CURLINFO_STARTTRANSFER_TIME_T),
			   time_of(l->easy, CURLINFO_PRETRANSFER_TIME_T));
	if (!l->ret->answer_ns || ns < l->ret->answer_ns)
		l->ret->answer_ns = ns;
}

int http_reach(const char *url, const char *ca_file, const struct call *call,
	       struct http_reach *ret)
{
	struct look l = {.call = call, .ret = ret};
	*ret = (struct http_reach){0};
	l.easy = curl_easy_init();
	if (!l.easy)
		return -ENOMEM;
	set_options(&l, url, ca_file);
	for (int i = 0; i < TIMES && !ret->fault; i++) {
		CURLcode code = curl_easy_perform(l.easy);
		if (i == 0)
			note_steps(&l);
		if (code)
			judge(&l, code);
		else
			note_answer(&l);
	}
	curl_easy_cleanup(l.easy);
	return call_cancelled(call) ? -EINTR : 0;
}

/* --- proxies --- */

/* Is the host among the names, each its own or a domain's? */
static bool is_listed(const char *list, const char *host)
{
	size_t n = strlen(host);
	while (*(list += strspn(list, ", "))) {
		size_t len = strcspn(list, ", ");
		const char *name = list + (*list == '.');
		size_t m = len - (*list == '.');
		if (len == 1 && *list == '*')
			return true;
		if (m && m <= n && !strncasecmp(host + n - m, name, m) &&
		    (m == n || host[n - m - 1] == '.'))
			return true;
		list += len;
	}
	return false;
}

static const char *first_set(const char *const *names)
{
	for (; *names; names++) {
		const char *value = getenv(*names);
		if (value && *value)
			return *names;
	}
	return NULL;
}

const char *http_proxy_variable(const char *url)
{
	/* HTTP_PROXY is what a server's header "Proxy:" becomes in a CGI: not looked at.
	 */
	static const char *const plain[] = {"http_proxy", "all_proxy", "ALL_PROXY", NULL};
	static const char *const tls[] = {"https_proxy", "HTTPS_PROXY", "all_proxy",
					  "ALL_PROXY", NULL};
	static const char *const none[] = {"no_proxy", "NO_PROXY", NULL};
	const char *but = first_set(none);
	struct endpoint ep;
	if (url_parse_origin(url, &ep) || (but && is_listed(getenv(but), ep.host)))
		return NULL;
	return first_set(ep.https ? tls : plain);
}
