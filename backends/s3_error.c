/* s3_error.c - see s3_error.h. */
#include "backends/s3_error.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "backends/xml.h"
#include "backends/util/banned.h"

/* Codes that say more than their status. */
static const struct {
	const char *code;
	int error;
} codes[] = {
	{"NoSuchKey", -ENOENT},
	{"NoSuchBucket", -ENODEV},
	{"NoSuchUpload", -ENXIO},
	{"PreconditionFailed", -ESTALE},
	{"ConditionalRequestConflict", -EBUSY},
	{"OperationAborted", -EBUSY},
	{"SlowDown", -EBUSY},
	{"SlowDownRead", -EBUSY},
	{"SlowDownWrite", -EBUSY},
	{"ServiceUnavailable", -EBUSY},
	{"Busy", -EBUSY},
	{"TooManyRequests", -EBUSY},
	{"ThrottlingException", -EBUSY},
	{"RequestLimitExceeded", -EBUSY},
	{"BandwidthLimitExceeded", -EBUSY},
	{"InternalError", -EREMOTEIO},
	{"RequestTimeout", -ECOMM},
	{"IncompleteBody", -ECOMM},
	{"BadDigest", -EBADMSG},
	{"XAmzContentSHA256Mismatch", -EBADMSG},
	{"XAmzContentChecksumMismatch", -EBADMSG},
	{"KeyTooLongError", -ENAMETOOLONG},
	{"InvalidURI", -EILSEQ},
	{"XMinioInvalidObjectName", -EILSEQ},
	{"XMinioInvalidResourceName", -EILSEQ},
	{"EntityTooLarge", -EFBIG},
	/* 400, all of them */
	{"ExpiredToken", -EKEYEXPIRED},
	{"InvalidToken", -EKEYEXPIRED},
	{"TokenRefreshRequired", -EKEYEXPIRED},
	/* 403 */
	{"RequestTimeTooSkewed", -EKEYEXPIRED},
	{"InvalidAccessKeyId", -EKEYEXPIRED},
	{"SignatureDoesNotMatch", -EKEYEXPIRED},
	{"InvalidObjectState", -ENODATA},
	{"QuotaExceeded", -ENOSPC},
	{"XMinioStorageFull", -ENOSPC},
	{"XMinioAdminBucketQuotaExceeded", -ENOSPC},
	{"MethodNotAllowed", -EOPNOTSUPP},
	{"NotImplemented", -EOPNOTSUPP},
	{"XMinioServerNotInitialized", -EBUSY},
};

int s3_errno(const struct store_error *e)
{
	for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
		if (!strcmp(e->code, codes[i].code))
			return codes[i].error;
	if (e->foreign && e->status == 404)
		return -EREMOTEIO; /* a proxy without the store behind it: P10 */
	return store_errno_of_status(e->status);
}

bool s3_keys_expired(const struct store_error *e)
{
	static const char *const expired[] = {"ExpiredToken", "ExpiredTokenException",
					      "InvalidToken", "TokenRefreshRequired"};
	for (size_t i = 0; i < sizeof expired / sizeof expired[0]; i++)
		if (!strcmp(e->code, expired[i]))
			return true;
	/* A HEAD is answered without a body: it may be that. */
	return !*e->code && (e->status == 400 || e->status == 401);
}

struct fields {
	struct store_error *e;
	bool is_error;
};

static void keep(char *to, size_t size, const char *text)
{
	(void)snprintf(to, size, "%s", text);
}

static int on_close(void *arg, int depth, const char *name, const char *text, size_t len)
{
	(void)len;
	struct fields *f = arg;
	if (depth != 2)
		return 0;
	if (!strcmp(name, "Code"))
		keep(f->e->code, sizeof f->e->code, text);
	else if (!strcmp(name, "Message"))
		keep(f->e->message, sizeof f->e->message, text);
	else if (!strcmp(name, "Region"))
		keep(f->e->region, sizeof f->e->region, text);
	return 0;
}

static int on_open(void *arg, int depth, const char *name)
{
	struct fields *f = arg;
	if (depth == 1)
		f->is_error = !strcmp(name, "Error");
	return f->is_error ? 0 : -EBADMSG;
}

/* It becomes part of a host's name: nothing but what regions are made of. */
static bool is_region(const char *s)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789-";
	return *s && s[strspn(s, allowed)] == '\0';
}

int s3_error_parse(const struct http_reply *reply, struct store_error *ret)
{
	static const struct xml_handler handler = {.open = on_open, .close = on_close};
	*ret = (struct store_error){.status = reply->status};
	struct fields f = {.e = ret};
	/* What is no XML has no code: the status has to do. */
	if (reply->body.len &&
	    xml_parse(reply->body.data, reply->body.len, &handler, &f) == -ENOMEM)
		return -ENOMEM;
	const char *code = http_header(reply, "x-minio-error-code");
	if (!*ret->code && code)
		keep(ret->code, sizeof ret->code, code);
	/* Of a HEAD there is no body: then the id of the request has to do. */
	ret->foreign =
		!*ret->code && (reply->body.len || !strcmp(http_request_id(reply), "-"));
	const char *region = http_header(reply, "x-amz-bucket-region");
	if (region)
		keep(ret->region, sizeof ret->region, region);
	if (!is_region(ret->region))
		ret->region[0] = '\0';
	return 0;
}
