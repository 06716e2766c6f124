/* cred_google_file.h - a key file of Google's.  Private to cred_google*.c. */
#ifndef BACKENDS_CRED_GOOGLE_FILE_H
#define BACKENDS_CRED_GOOGLE_FILE_H
#include "backends/cred_ask.h"

#define GOOGLE_TOPIC	   "credentials"
#define GOOGLE_SCOPE_CLOUD "https://www.googleapis.com/auth/cloud-platform"

struct google_file {
	const char *path; /* borrowed; for the log */
	const char *text; /* borrowed; JSON */
	size_t len;
	const char *scope; /* what is asked for */
	struct http *http;
	struct call *call;
	bool nested; /* the source_credentials of another one */
};

/* By its "type".  0, or a negative errno, logged. */
int google_from_file(const struct google_file *f, struct cred *ret);
int google_from_external(const struct google_file *f, struct cred *ret);
int google_from_impersonated(const struct google_file *f, struct cred *ret);

/* A member that must be there: a string, not empty, without control bytes unless it is
 * the private key.  -EACCES: logged. */
int google_need(const struct google_file *f, const char *name, struct secret *ret);
/* The same, and it is a service of Google's, or on this machine.  fallback: if it is
 * not there; NULL = it must be. */
int google_need_url(const struct google_file *f, const char *name, const char *fallback,
		    struct secret *ret);
/* Log what is wrong with the file: returns -EACCES. */
int google_refuse(const struct google_file *f, const char *what);

/* A form for a token service.  All borrowed. */
struct google_form {
	const char *url;
	struct url_param *params; /* sorted in place */
	size_t n;
	const char *hide[2];   /* as in struct cred_question */
	int64_t *clock_off_ns; /* likewise */
};
/* Post it; the answer is a bearer token. */
int google_post(const struct google_file *f, const struct google_form *form,
		struct cred *ret);
#endif
