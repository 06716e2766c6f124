/* settings.h - what a user may set about stores: the one table of it, and the struct
 * that it fills.
 *
 * fs puts these rows into its own table of options, so that -o, the environment, the
 * config file and --help have them, and knows no store.  A row is the option's name, its
 * field here, for numbers default and bounds, and the line for --help.
 */
#ifndef BACKENDS_SETTINGS_H
#define BACKENDS_SETTINGS_H
#include <stdbool.h>
#include <stdint.h>
#include "backends/backend.h"

/* clang-format off */
#define SETTINGS(TEXT, BOOL, COUNT)                                                    \
	TEXT(endpoint, endpoint, "http(s)://host[:port] of the store")                 \
	TEXT(region, region, "of the bucket")                                          \
	TEXT(profile, profile, "section of ~/.aws/config and ~/.aws/credentials")      \
	BOOL(anonymous, anonymous, "look for no credentials and send none")            \
	BOOL(path_style, path_style, "host/bucket/key, whatever the endpoint")         \
	BOOL(virtual_host, virtual_host, "bucket.host/key, whatever the endpoint")     \
	BOOL(allow_http, allow_http, "plain http to a host that is not this one")      \
	TEXT(ca_file, ca_file, "certificates to trust, PEM")                           \
	COUNT(connections, connections, "72", 1, 1024, "requests in flight, at most")  \
	TEXT(storage_class, storage_class,                                             \
	     "of uploads: COLD, or by level: raw=COLD:combined=HOT")                   \
	BOOL(requester_pays, requester_pays, "agree to pay for what we read")          \
	TEXT(billing_project, billing_project, "who is charged (Google)")              \
	TEXT(sse, sse, "encryption at the store (S3): AES256 or aws:kms")              \
	TEXT(sse_kms_key, sse_kms_key, "id of the key for sse=aws:kms")                \
	TEXT(public, public_url, "a second source, read-only, below: mast: or a URL")  \
	TEXT(mast_endpoint, mast_endpoint, "where the public archive is (Amazon)")     \
	TEXT(mast_bucket, mast_bucket, "the archive's bucket (stpubdata)")             \
	BOOL(mast_lookup, mast_lookup, "ask MAST for names that follow no rule")       \
	TEXT(mast_service, mast_service, "the URL to ask (MAST's own)")

#define SETTING_TEXT(option, field, meaning) char *field;
#define SETTING_BOOL(option, field, meaning) bool field;
#define SETTING_COUNT(option, field, initial, min, max, meaning) uint32_t field;

/* Strings are owned by whoever holds the struct; NULL = not given. */
struct settings {
	char *url; /* the source; no option: source_choose sets it */
	SETTINGS(SETTING_TEXT, SETTING_BOOL, SETTING_COUNT)
};
#undef SETTING_TEXT
#undef SETTING_BOOL
#undef SETTING_COUNT
/* clang-format on */

/* The same for backend_open; borrows the strings.  What is the mount's own (read_only,
 * ttl_ns) is left 0. */
static inline struct backend_conf settings_conf(const struct settings *s)
{
	struct backend_conf conf = {.url = s->url};
#define SETTING_COPY(option, field, ...) conf.field = s->field;
	SETTINGS(SETTING_COPY, SETTING_COPY, SETTING_COPY)
#undef SETTING_COPY
	return conf;
}
#endif
