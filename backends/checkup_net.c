/* checkup_net.c - the way to the server: where it is, name, connection, TLS, an answer,
 * its clock, and how long it takes. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "backends/checkup_impl.h"
#include "backends/http_reach.h"
#include "backends/util/cleanup.h"
#include "backends/util/clock.h"
#include "backends/util/banned.h"

enum {
	REACH_S = 8,
	SKEW_PROBLEM_S = 5 * 60, /* stores refuse signatures from about there */
	SKEW_WARNING_S = 30,
	LATENCY_WARNING_MS = 1000,
};

struct way {
	struct checkup *c;
	const char *url; /* "https://host:port/" */
	struct endpoint at;
	const char *proxy; /* the variable that names it; NULL = none */
	struct http_reach reach;
};

/* The server, as the requests of a mount find it; without asking who we are. */
static int find_server(struct checkup *c, struct buf *url)
{
	struct backend_conf nobody = c->place;
	struct backend *be;
	nobody.anonymous = true;
	nobody.requester_pays = false;
	int r = backend_open_bare(&nobody, &be);
	if (r == 0) {
		r = store_server((struct store *)be, url);
		backend_free(be);
	}
	const char *heard = report_heard(c->report);
	if (r == 0)
		return 0;
	report_remedy(c->report, "mastfs mount -o endpoint=https://HOST%s %s",
		      strstr(heard, "allow_http") ? "  # or -o allow_http:" : "",
		      report_quote(c->report, c->place.url));
	report_problem(c->report, "endpoint", "%s", *heard ? heard : strerror(-r));
	return r;
}

static uint64_t ms(uint64_t ns)
{
	return (ns + NS_PER_MS - 1) / NS_PER_MS;
}

static bool failed_at(const struct way *w, enum http_step step)
{
	return w->reach.fault && w->reach.at == step;
}

static void check_proxy(const struct way *w)
{
	struct report *r = w->c->report;
	const char *value = w->proxy ? getenv(w->proxy) : "";
	const char *at = strrchr(value, '@'); /* what is before it is a password */
	const char *shown = at ? at + 1 : value;
	bool fault = w->reach.fault && (w->reach.at == HTTP_STEP_CONNECT ||
					w->reach.fault == HTTP_FAULT_PROXY_NAME);
	if (!w->proxy) {
		report_ok(r, "proxy", "none");
		return;
	}
	report_remedy(r, "export no_proxy=%s  # or mend %s", w->at.host, w->proxy);
	if (fault)
		report_problem(r, "proxy", "%s names %s, and that does not work: %s",
			       w->proxy, shown, w->reach.cause);
	else if (url_host_is_loopback(w->at.host))
		report_warning(r, "proxy", "%s sends even what is for this machine to %s",
			       w->proxy, shown);
	else
		report_ok(r, "proxy", "%s: %s", w->proxy, shown);
}

static bool check_name(const struct way *w)
{
	struct report *r = w->c->report;
	if (url_host_is_ip(w->at.host)) {
		report_ok(r, "dns", "%s is an address", w->at.host);
	} else if (failed_at(w, HTTP_STEP_NAME)) {
		report_remedy(r,
			      "getent hosts %s  # is the endpoint spelled right, and the "
			      "nameserver in /etc/resolv.conf reached?",
			      report_quote(r, w->at.host));
		report_problem(r, "dns", "%s is not found: %s", w->at.host,
			       w->reach.cause);
		return false;
	} else {
		report_ok(r, "dns", "%s in %" PRIu64 " ms",
			  w->proxy ? "the proxy" : w->at.host, ms(w->reach.name_ns));
	}
	return true;
}

static bool check_connection(const struct way *w)
{
	struct report *r = w->c->report;
	if (!failed_at(w, HTTP_STEP_CONNECT)) {
		report_ok(r, "tcp", "%s port %u in %" PRIu64 " ms", w->reach.address,
			  (unsigned)w->reach.port, ms(w->reach.connect_ns));
		return true;
	}
	report_remedy(r,
		      "curl -v %s  # is the server started, the port right, a firewall "
		      "between?",
		      report_quote(r, w->url));
	report_problem(r, "tcp", "%s: %s", w->url, w->reach.cause);
	return false;
}

static void tell_tls_fault(const struct way *w)
{
	struct report *r = w->c->report;
	const char *url = report_quote(r, w->c->place.url);
	const char *what = "the handshake fails";
	if (w->reach.fault == HTTP_FAULT_UNKNOWN_CA) {
		what = "the certificate is signed by nobody that is trusted here";
		report_remedy(r, "mastfs mount -o ca_file=CA.pem %s", url);
	} else if (w->reach.fault == HTTP_FAULT_EXPIRED ||
		   w->reach.fault == HTTP_FAULT_NOT_YET) {
		what = w->reach.fault == HTTP_FAULT_EXPIRED
			       ? "the certificate has expired"
			       : "the certificate is not valid yet";
		report_remedy(r,
			      "openssl s_client -connect %s:%u </dev/null | openssl x509 "
			      "-noout -dates  # renew it at the server, if 'date' is "
			      "right",
			      w->at.host, (unsigned)w->at.port);
	} else if (w->reach.fault == HTTP_FAULT_WRONG_NAME) {
		what = "the certificate is for another name";
		report_remedy(r,
			      "openssl s_client -connect %s:%u </dev/null | openssl x509 "
			      "-noout -ext subjectAltName  # and -o "
			      "endpoint=https://THAT_NAME",
			      w->at.host, (unsigned)w->at.port);
	} else if (w->reach.fault == HTTP_FAULT_CA_FILE) {
		what = "ca_file holds no certificates";
		report_remedy(r, "openssl x509 -in %s -noout -subject",
			      report_quote(r, w->c->place.ca_file ? w->c->place.ca_file
								  : "CA.pem"));
	} else {
		report_remedy(r, "openssl s_client -connect %s:%u </dev/null", w->at.host,
			      (unsigned)w->at.port);
	}
	report_problem(r, "tls", "%s: %s (%s)", w->url, what, w->reach.cause);
}

static bool check_tls(const struct way *w)
{
	if (failed_at(w, HTTP_STEP_TLS)) {
		tell_tls_fault(w);
		return false;
	}
	if (w->at.https)
		report_ok(w->c->report, "tls", "certificate trusted, in %" PRIu64 " ms",
			  ms(w->reach.tls_ns));
	else
		report_ok(w->c->report, "tls", "not used: plain http");
	return true;
}

static bool check_answer(const struct way *w)
{
	struct report *r = w->c->report;
	report_remedy(r, "curl -v %s  # is that the port of the store?",
		      report_quote(r, w->url));
	if (w->reach.fault) {
		report_problem(r, "endpoint", "%s does not answer: %s", w->url,
			       w->reach.cause);
		return false;
	}
	/* A store may refuse what has no name and no signature, in any words. */
	if (w->reach.status >= 500 && w->reach.status != 501)
		report_warning(r, "endpoint", "%s answers with %d", w->url,
			       w->reach.status);
	else
		report_ok(r, "endpoint", "%s answers", w->url);
	return true;
}

static void check_clock(const struct way *w)
{
	struct report *r = w->c->report;
	int64_t off_s = w->reach.clock_off_ns / (int64_t)NS_PER_S;
	int64_t by_s = off_s < 0 ? -off_s : off_s;
	if (!w->reach.has_date) {
		report_ok(r, "clock", "the server does not tell the time");
		return;
	}
	if (by_s < SKEW_WARNING_S) {
		report_ok(r, "clock", "agrees with the server's to %" PRId64 " s", by_s);
		return;
	}
	report_remedy(r,
		      "sudo timedatectl set-ntp true  # or at the server, if its clock "
		      "is the wrong one");
	report_add(r, by_s >= SKEW_PROBLEM_S ? REPORT_PROBLEM : REPORT_WARNING, "clock",
		   "%" PRId64
		   " s %s the server's: stores refuse signatures that are some "
		   "minutes off",
		   by_s, off_s > 0 ? "behind" : "before");
}

static void check_latency(const struct way *w)
{
	struct report *r = w->c->report;
	uint64_t took_ms = ms(w->reach.answer_ns);
	if (took_ms < LATENCY_WARNING_MS) {
		report_ok(r, "latency", "%" PRIu64 " ms a request", took_ms);
		return;
	}
	report_remedy(r, "curl -so /dev/null -w '%%{time_starttransfer}\\n' %s",
		      report_quote(r, w->url));
	report_warning(r, "latency",
		       "%" PRIu64 " ms a request: every file that is not here takes "
		       "that long to open",
		       took_ms);
}

/* What comes after a step that failed was not tried. */
static void skip_rest(const struct way *w)
{
	static const char *const names[] = {"tcp", "tls", "endpoint", "clock", "latency"};
	for (size_t i = (size_t)w->reach.at; i < sizeof names / sizeof names[0]; i++)
		report_skip(w->c->report, names[i], "the server was not reached");
}

bool checkup_net(struct checkup *c)
{
	CLEANUP_BUF struct buf url;
	struct way w = {.c = c};
	struct call call = checkup_call(c, REACH_S);
	buf_init(&url, 2048);
	if (find_server(c, &url))
		return false;
	w.url = url.data;
	w.proxy = http_proxy_variable(w.url);
	if (url_parse_origin(w.url, &w.at) ||
	    http_reach(w.url, c->place.ca_file, &call, &w.reach)) {
		report_skip(c->report, "endpoint", "interrupted");
		return false;
	}
	check_proxy(&w);
	if (w.proxy && w.reach.fault &&
	    (w.reach.at == HTTP_STEP_CONNECT || w.reach.fault == HTTP_FAULT_PROXY_NAME)) {
		skip_rest(&w);
		return false;
	}
	if (!check_name(&w) || !check_connection(&w) || !check_tls(&w) ||
	    !check_answer(&w)) {
		skip_rest(&w);
		return false;
	}
	check_clock(&w);
	check_latency(&w);
	return true;
}
