/* store_object.c - what the headers of an answer say of an object.  See request.h. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "backends/date.h"
#include "backends/request.h"
#include "backends/util/clock.h"
#include "backends/util/banned.h"

int store_parse_object(const struct http_reply *reply, meta_get_fn *meta,
		       const char *tag_name, struct object *ret)
{
	struct object obj = {0};
	const char *etag = http_header(reply, "etag");
	const char *modified = http_header(reply, "last-modified");
	const char *tag = meta(reply, tag_name);
	if (http_whole_size(reply, &obj.size) || !etag || http_parse_etag(etag, obj.etag))
		return -EBADMSG;
	if (!meta_mtime(meta, reply, &obj.mtime_ns))
		if (!modified || date_parse_http(modified, &obj.mtime_ns))
			obj.mtime_ns = 0;
	if (tag && strlen(tag) < sizeof obj.tag)
		memcpy(obj.tag, tag, strlen(tag) + 1);
	*ret = obj;
	return 0;
}

int store_made(const struct store *st, const struct request *rq,
	       const struct http_reply *reply, uint64_t size, const struct put_opts *opts,
	       struct object *ret)
{
	struct object obj = {.size = size, .mtime_ns = opts->mtime_ns};
	const char *etag = http_header(reply, "etag");
	const char *when = http_header(reply, "last-modified");
	if (!etag || http_parse_etag(etag, obj.etag))
		return request_log(st, rq, -EREMOTEIO, "no ETag in the answer", reply);
	if (!when)
		when = http_header(reply, "date");
	if (!obj.mtime_ns && (!when || date_parse_http(when, &obj.mtime_ns)))
		obj.mtime_ns = clock_wall_ns();
	if (opts->tag)
		(void)snprintf(obj.tag, sizeof obj.tag, "%s", opts->tag);
	*ret = obj;
	return 0;
}
