/* azure_error.c - what an answer that is no success means.  See azure_store.h.
 *
 * The code is in a header, also where there is no body; what the server says beside
 * it is in XML (Blob) or JSON (Data Lake, which is not read).
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "backends/azure_store.h"
#include "backends/xml.h"
#include "backends/util/banned.h"

/* Codes that say more than their status.  CannotVerifyCopySource is none: what came of
 * asking for the source is the status, and 500 is a question that took too long. */
static const struct {
	const char *code;
	int error;
} codes[] = {
	{"BlobNotFound", -ENOENT},
	{"ContainerNotFound", -ENODEV},
	{"ContainerDisabled", -EACCES},
	{"FilesystemNotFound", -ENODEV},
	{"ContainerBeingDeleted", -EBUSY},
	{"BlobAlreadyExists", -EEXIST},
	{"PathAlreadyExists", -EEXIST},
	{"UnauthorizedBlobOverwrite", -EACCES},
	{"ConditionNotMet", -ESTALE},
	{"SourceConditionNotMet", -ESTALE},
	{"TargetConditionNotMet", -ESTALE},
	{"SourcePathNotFound", -ENOENT},
	{"InvalidBlockList", -ENXIO},
	{"BlobArchived", -ENODATA},
	{"BlobBeingRehydrated", -ENODATA},
	{"SnapshotsPresent", -EACCES},
	{"BlobImmutableDueToPolicy", -EACCES},
	{"PublicAccessNotPermitted", -EACCES},
	{"NoAuthenticationInformation", -EACCES},
	{"ResourceNotFound", -ENOENT},
	{"LeaseIdMissing", -EBUSY},
	{"LeaseIdMismatchWithBlobOperation", -EBUSY},
	{"PendingCopyOperation", -EBUSY},
	{"ServerBusy", -EBUSY},
	{"AccountBeingCreated", -EBUSY},
	{"InternalError", -EREMOTEIO},
	{"OperationTimedOut", -EREMOTEIO},
	{"InvalidBlobType", -EINVAL},
	/* what was to go is there all the same: see azure_del */
	{"DirectoryNotEmpty", -EEXIST},
	{"DirectoryIsNotEmpty", -EEXIST},
	{"BlobTagsNotSupportedForAccountType", -EOPNOTSUPP},
	{"FeatureNotYetSupportedForHierarchicalNamespaceAccounts", -EOPNOTSUPP},
	{"NoPendingCopyOperation", -EINVAL},
	{"Md5Mismatch", -EBADMSG},
	{"Crc64Mismatch", -EBADMSG},
	{"RequestBodyTooLarge", -EFBIG},
	{"BlockCountExceedsLimit", -EFBIG},
	{"InvalidUri", -EILSEQ},
	{"InvalidResourceName", -EILSEQ},
	{"InsufficientAccountPermissions", -EACCES},
	{"FeatureNotSupported", -EOPNOTSUPP},
	{"UnsupportedHttpVerb", -EOPNOTSUPP},
};

int azure_errno(const struct store_error *e)
{
	for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
		if (!strcmp(e->code, codes[i].code))
			return codes[i].error;
	/* Most conflicts do not pass: those that do are above. */
	return e->status == 409 ? -EINVAL : store_errno_of_status(e->status);
}

/* A key is not too old, it is wrong; the clock is another matter. */
bool azure_expired(const struct store_error *e)
{
	return e->status == 401 || strstr(e->message, "expired") ||
	       strstr(e->message, "time frame");
}

static void keep(char *to, size_t size, const char *text)
{
	(void)snprintf(to, size, "%.*s", (int)strcspn(text, "\r\n"), text);
}

static int on_close(void *arg, int depth, const char *name, const char *text, size_t len)
{
	(void)len;
	struct store_error *e = arg;
	if (depth != 2)
		return 0;
	if (!strcmp(name, "Code"))
		keep(e->code, sizeof e->code, text);
	else if (!strcmp(name, "Message"))
		keep(e->message, sizeof e->message, text);
	/* Of a SAS it tells the times; of a key, only what was signed. */
	else if (!strcmp(name, "AuthenticationErrorDetail") &&
		 (strstr(text, "time frame") || strstr(text, "expired")))
		keep(e->message, sizeof e->message, text);
	return 0;
}

int azure_error_parse(const struct http_reply *reply, struct store_error *ret)
{
	static const struct xml_handler handler = {.close = on_close};
	*ret = (struct store_error){.status = reply->status};
	/* What is no XML tells nothing more: the header or the status has to do. */
	int r = reply->body.len ? xml_root_is(reply->body.data, reply->body.len, "Error")
				: -ENOENT;
	if (!r)
		r = xml_parse(reply->body.data, reply->body.len, &handler, ret);
	if (r == -ENOMEM)
		return r;
	const char *code = http_header(reply, "x-ms-error-code");
	if (code)
		keep(ret->code, sizeof ret->code, code);
	return 0;
}
