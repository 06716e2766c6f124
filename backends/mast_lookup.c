/* mast_lookup.c - see mast_lookup.h. */
#include "backends/mast_lookup.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "backends/http.h"
#include "backends/json.h"
#include "backends/mast_path.h"
#include "backends/request.h"
#include "backends/url.h"
#include "backends/util/cleanup.h"
#include "backends/util/log.h"
#include "backends/util/banned.h"

#define SERVICE "https://mast.stsci.edu"
#define PRODUCT "mast:JWST/product/"

enum { CONNECTIONS = 4, ANSWER_MAX = 64 * 1024, URL_SIZE_MAX = 8 * 1024 };

struct mast_lookup {
	/* set once */
	struct endpoint service;
	struct http *http; /* owned */
};

int mast_lookup_new(const struct backend_conf *conf, struct mast_lookup **ret)
{
	const char *service = conf->mast_service ? conf->mast_service : SERVICE;
	struct http_conf http = {.connections = CONNECTIONS,
				 .ca_file = conf->ca_file,
				 .allow_http = conf->allow_http};
	struct mast_lookup *l = calloc(1, sizeof *l);
	if (!l)
		return -ENOMEM;
	int r = url_parse_endpoint(service, &l->service);
	if (r)
		log_error("mast", "mast_service \"%s\" is not http(s)://host[:port]",
			  service);
	else
		r = http_new(&http, &l->http);
	if (r) {
		mast_lookup_free(l);
		return r;
	}
	*ret = l;
	return 0;
}

void mast_lookup_free(struct mast_lookup *l)
{
	if (l)
		http_free(l->http);
	free(l);
}

/* The path must end in the file that was asked for, or a service that is wrong would
 * give one product under the name of another. */
static int check_path(const char *path, const char *file, char ret[KEY_SIZE])
{
	const char *key = *path == '/' ? path + 1 : path;
	const char *slash = strrchr(key, '/');
	if (!mast_path_is_key(key) || !slash || strcmp(slash + 1, file) != 0)
		return -EBADMSG;
	memcpy(ret, key, strlen(key) + 1);
	return 0;
}

int mast_lookup_parse(const char *text, size_t n, const char *file, char ret[KEY_SIZE])
{
	CLEANUP_BUF struct buf uri;
	struct json *root;
	buf_init(&uri, KEY_SIZE + sizeof PRODUCT);
	buf_adds(&uri, PRODUCT);
	buf_adds(&uri, file);
	if (buf_error(&uri))
		return buf_error_or(&uri, -ENAMETOOLONG);
	int r = json_parse(text, n, &root);
	if (r)
		return r;
	const struct json *answer = json_member(root, uri.data);
	const char *path = json_text(json_member(answer, "path"), NULL);
	if (path)
		r = check_path(path, file, ret);
	else
		r = answer ? -ENOENT : -EBADMSG;
	json_free(root);
	return r;
}

static int make_url(const struct mast_lookup *l, const char *file, struct buf *url)
{
	buf_adds(url, l->service.https ? "https://" : "http://");
	url_add_host(url, &l->service);
	buf_adds(url, "/api/v0.1/path_lookup/?uri=");
	url_encode(url, PRODUCT, strlen(PRODUCT), false);
	url_encode(url, file, strlen(file), false);
	buf_adds(url, "&use_cloud_path=True");
	return buf_error_or(url, -ENAMETOOLONG);
}

static int fail(const char *file, int error, const char *cause)
{
	if (error != -ENOENT && error != -EINTR)
		log_line(store_errno_is_transient(error) ? LOG_LEVEL_DEBUG
							 : LOG_LEVEL_ERROR,
			 "mast", "look up %s: %s", file, cause);
	return error;
}

int mast_lookup_ask(struct mast_lookup *l, const char *file, char ret[KEY_SIZE],
		    struct call *call)
{
	CLEANUP_BUF struct buf url;
	CLEANUP_REPLY struct http_reply reply;
	char cause[32];
	buf_init(&url, URL_SIZE_MAX);
	http_reply_init(&reply);
	int r = make_url(l, file, &url);
	if (r)
		return fail(file, r, strerror(-r));
	struct http_request rq = {.method = "GET",
				  .url = url.data,
				  .expect = HTTP_UNKNOWN,
				  .body_max = ANSWER_MAX};
	r = http_send(l->http, &rq, &reply, call);
	if (r)
		return fail(file, r, reply.cause);
	if (reply.status != 200) {
		(void)snprintf(cause, sizeof cause, "status %d", reply.status);
		return fail(file, store_errno_of_status(reply.status), cause);
	}
	r = mast_lookup_parse(reply.body.data, reply.body.len, file, ret);
	return r ? fail(file, r, "the answer is not to be believed") : 0;
}
