/* remedy.c - see remedy.h. */
#include "backends/remedy.h"
#include <errno.h>
#include <string.h>
#include "backends/util/cleanup.h"
#include "backends/util/banned.h"

/* Codes that say more than their status and our errno. */
static const struct {
	const char *code;
	enum trouble trouble;
} codes[] = {
	{"InvalidAccessKeyId", TROUBLE_KEYS},
	{"SignatureDoesNotMatch", TROUBLE_KEYS},
	{"AuthenticationFailed", TROUBLE_KEYS},
	{"InvalidAuthenticationInfo", TROUBLE_KEYS},
	{"AuthorizationFailure", TROUBLE_KEYS},
	{"authError", TROUBLE_KEYS},
	{"ExpiredToken", TROUBLE_EXPIRED},
	{"ExpiredTokenException", TROUBLE_EXPIRED},
	{"InvalidToken", TROUBLE_EXPIRED},
	{"TokenRefreshRequired", TROUBLE_EXPIRED},
	{"RequestTimeTooSkewed", TROUBLE_CLOCK},
	{"AuthorizationHeaderMalformed", TROUBLE_REGION},
	{"PermanentRedirect", TROUBLE_REGION},
	{"IllegalLocationConstraintException", TROUBLE_REGION},
	{"NoSuchBucket", TROUBLE_NO_BUCKET},
	{"ContainerNotFound", TROUBLE_NO_BUCKET},
};

enum trouble trouble_of(int error, const struct store_error *e)
{
	for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
		if (!strcmp(e->code, codes[i].code))
			return codes[i].trouble;
	if (e->status == 401)
		return TROUBLE_KEYS;
	if (error == -ENODEV)
		return TROUBLE_NO_BUCKET;
	if (store_errno_is_refusal(error) || error == -EROFS || e->status == 403)
		return TROUBLE_DENIED;
	if (error == -ENODATA)
		return TROUBLE_ARCHIVED;
	if (error == -ENOSPC)
		return TROUBLE_FULL;
	if (error == -ETIMEDOUT || error == -EHOSTUNREACH || error == -ECOMM ||
	    e->status >= 500)
		return TROUBLE_UNREACHED;
	return TROUBLE_OTHER;
}

bool trouble_is_identity(enum trouble t)
{
	return t == TROUBLE_KEYS || t == TROUBLE_EXPIRED || t == TROUBLE_CLOCK;
}

/* --- by store --- */

struct words {
	const char *start;
	const char *keys, *renew; /* commands */
	const char *make;	  /* the bucket; %s: its name */
	/* leave to do something; %s: the bucket's name and below, then the right */
	const char *allow;
	const char *uploads; /* unfinished ones go; %s: the bucket */
	const char *rights[WISH_COUNT];
};

#define S3_POLICY                                                                   \
	"aws iam put-user-policy --user-name USER --policy-name mastfs "            \
	"--policy-document '{\"Version\": \"2012-10-17\", \"Statement\": "          \
	"[{\"Effect\": \"Allow\", \"Resource\": \"arn:aws:s3:::%s*\", \"Action\": " \
	"\"%s\"}]}'"

static const struct words stores[] = {
	{
		.start = "s3://",
		.keys = "aws configure  # or export AWS_ACCESS_KEY_ID and "
			"AWS_SECRET_ACCESS_KEY; of a public bucket: -o anonymous",
		.renew = "aws sso login  # or whatever gave the keys, and export "
			 "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and "
			 "AWS_SESSION_TOKEN anew",
		.make = "aws s3 mb s3://%s  # or look how its name is spelled",
		.allow = S3_POLICY,
		.uploads = "aws s3api put-bucket-lifecycle-configuration --bucket %s "
			   "--lifecycle-configuration '{\"Rules\": [{\"ID\": "
			   "\"unfinished\", \"Status\": \"Enabled\", \"Filter\": {}, "
			   "\"AbortIncompleteMultipartUpload\": "
			   "{\"DaysAfterInitiation\": 7}}]}'",
		.rights = {"s3:ListBucket", "s3:GetObject", "s3:PutObject",
			   "s3:PutObject", "s3:PutObjectTagging", "s3:DeleteObject"},
	},
	{
		.start = "az://",
		.keys = "export AZURE_STORAGE_KEY=\"$(az storage account keys list "
			"--account-name ACCOUNT --query '[0].value' -o tsv)\"  # or "
			"AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_SAS_TOKEN",
		.renew = "export AZURE_STORAGE_SAS_TOKEN=\"$(az storage container "
			 "generate-sas --name CONTAINER --permissions racwdlt --expiry "
			 "DATE -o tsv)\"",
		.make = "az storage container create --name %s  # or look how its name "
			"is spelled",
		.allow = "az role assignment create --assignee WHO --scope "
			 "ACCOUNT_ID/blobServices/default/containers/%s --role '%s'  # "
			 "a SAS needs sp=racwdlt",
		.rights = {"Storage Blob Data Reader", "Storage Blob Data Reader",
			   "Storage Blob Data Contributor",
			   "Storage Blob Data Contributor", "Storage Blob Data Owner",
			   "Storage Blob Data Contributor"},
	},
	{
		.start = "gs://",
		.keys = "gcloud auth application-default login  # or export "
			"GOOGLE_APPLICATION_CREDENTIALS=FILE; of a public bucket: -o "
			"anonymous",
		.renew = "gcloud auth application-default login",
		.make = "gcloud storage buckets create gs://%s  # or look how its name "
			"is spelled",
		.allow = "gcloud storage buckets add-iam-policy-binding gs://%s "
			 "--member=WHO --role=%s",
		.uploads = "gcloud storage rm 'gs://%s/**/.mastfs-parts/**'",
		.rights = {"roles/storage.objectViewer", "roles/storage.objectViewer",
			   "roles/storage.objectUser", "roles/storage.objectUser",
			   "roles/storage.objectUser", "roles/storage.objectUser"},
	},
	{
		.start = "file://",
		.keys = "id",
		.renew = "id",
		.make = "mkdir -p /%s",
		.allow = "sudo chown \"$(id -un)\" /%s  # or mount with -o ro; it is %s "
			 "that is missing",
		.rights = {"r", "r", "w", "w", "w", "w"},
	},
};

static const struct words *words_of(const struct backend_conf *conf)
{
	for (size_t i = 1; i < sizeof stores / sizeof stores[0]; i++)
		if (!strncmp(conf->url, stores[i].start, strlen(stores[i].start)))
			return &stores[i];
	return &stores[0];
}

/* The name of the bucket or container, or a directory without its slash. */
static void add_bucket(struct buf *out, const struct backend_conf *conf)
{
	const char *start = words_of(conf)->start;
	const char *name = conf->url + strlen(start);
	if (!strcmp(start, "file://"))
		name += strspn(name, "/");
	if (!strcmp(start, "az://")) /* the account comes first */
		name += strcspn(name, "/") + (strchr(name, '/') != NULL);
	size_t n = strcmp(start, "file://") ? strcspn(name, "/") : strlen(name);
	buf_add(out, name, n);
}

/* The %s of a template, in their order; with no printf, whose format has to be known. */
static void fill(struct report *r, const char *template, const char *a, const char *b)
{
	CLEANUP_BUF struct buf out;
	buf_init(&out, 8192);
	const char *values[] = {a, b};
	size_t next = 0;
	for (const char *p = template; *p; p++) {
		if (p[0] == '%' && p[1] == 's' && next < 2) {
			buf_adds(&out, values[next++]);
			p++;
		} else {
			buf_addc(&out, *p);
		}
	}
	report_remedy(r, "%s", out.data);
}

void remedy_tell_keys(struct report *r, const struct backend_conf *conf)
{
	report_remedy(r, "%s", words_of(conf)->keys);
}

void remedy_tell_uploads(struct report *r, const struct backend_conf *conf)
{
	CLEANUP_BUF struct buf bucket;
	buf_init(&bucket, 4096);
	add_bucket(&bucket, conf);
	const char *template = words_of(conf)->uploads;
	if (template)
		fill(r, template, bucket.data, "");
}

static void tell_region(struct report *r, const struct backend_conf *conf,
			const struct store_error *e)
{
	report_remedy(r, "mastfs mount -o region=%s %s  # or export AWS_REGION",
		      *e->region ? e->region : "REGION", report_quote(r, conf->url));
}

void remedy_tell(struct report *r, const struct backend_conf *conf, enum trouble t,
		 enum wish wish, const struct store_error *e)
{
	const struct words *words = words_of(conf);
	CLEANUP_BUF struct buf bucket;
	buf_init(&bucket, 4096);
	add_bucket(&bucket, conf);
	if (t == TROUBLE_KEYS)
		report_remedy(r, "%s", words->keys);
	else if (t == TROUBLE_EXPIRED)
		report_remedy(r, "%s", words->renew);
	else if (t == TROUBLE_CLOCK)
		report_remedy(r, "sudo timedatectl set-ntp true");
	else if (t == TROUBLE_REGION)
		tell_region(r, conf, e);
	else if (t == TROUBLE_NO_BUCKET)
		fill(r, words->make, bucket.data, "");
	else if (t == TROUBLE_DENIED)
		fill(r, words->allow, bucket.data, words->rights[wish]);
	else if (t == TROUBLE_FULL)
		report_remedy(r, "mastfs mount -o ro %s  # or make room in the store",
			      report_quote(r, conf->url));
	else
		report_remedy(r,
			      "mastfs mount -f -o log_level=debug %s  # says each "
			      "request and its answer",
			      report_quote(r, conf->url));
}
