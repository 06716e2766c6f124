/* azure_rig.h - what the tests of Azure share: the environment, the log, and a canned
 * server spoken to as an account.  log_fd is where main made the log go. */
#ifndef TESTS_UNIT_AZURE_RIG_H
#define TESTS_UNIT_AZURE_RIG_H
#include <sys/mman.h>
#include "backends/azure.h"
#include "backends/util/log.h"
#include "tests/unit/canned.h"
#include "tests/unit/check.h"

#define SECRET	 "c2VjcmV0c2VjcmV0"
#define SAS	 "sv=2021&se=2020-01-02T03:04Z&sr=c&sig=canary%3D"
#define LONG_AGO "1999-12-31T23:59:59.000000001Z"

static int log_fd;

/* What was logged since the last time. */
static inline const char *logged(void)
{
	static char text[8192];
	ssize_t n = pread(log_fd, text, sizeof text - 1, 0);
	text[n > 0 ? n : 0] = '\0';
	CHECK(!ftruncate(log_fd, 0));
	(void)lseek(log_fd, 0, SEEK_SET);
	return text;
}

static const char *const variables[] = {
	"AZURE_STORAGE_CONNECTION_STRING", "AZURE_STORAGE_ACCOUNT",
	"AZURE_STORAGE_ACCOUNT_NAME",	   "AZURE_STORAGE_KEY",
	"AZURE_STORAGE_ACCESS_KEY",	   "AZURE_STORAGE_ACCOUNT_KEY",
	"AZURE_STORAGE_SAS_TOKEN",	   "AZURE_STORAGE_BLOB_ENDPOINT",
	"AZURE_STORAGE_SERVICE_ENDPOINT",  "AZURE_STORAGE_AUTH_TYPE"};

static inline void forget_environment(void)
{
	for (size_t i = 0; i < sizeof variables / sizeof *variables; i++)
		CHECK(!unsetenv(variables[i]));
}

/* "NAME=value" each, up to the first NULL. */
static inline void set_environment(const char *const *env)
{
	char name[64];
	forget_environment();
	for (; *env; env++) {
		size_t n = strcspn(*env, "=");
		(void)snprintf(name, sizeof name, "%.*s", (int)n, *env);
		CHECK(!setenv(name, *env + n + 1, 1));
	}
}

static inline void log_start(void)
{
	log_fd = memfd_create("log", MFD_CLOEXEC);
	log_use_fd(log_fd);
}

#define ANSWER(status, headers) \
	"HTTP/1.1 " status " X\r\n" headers "Content-Length: 0\r\n\r\n"
#define BLOB(size, headers)                                         \
	"HTTP/1.1 200 OK\r\nETag: \"0x1\"\r\nContent-Length: " size \
	"\r\nLast-Modified: Fri, 24 May 2013 00:00:01 GMT\r\n" headers "\r\n"
#define MADE	   ANSWER("201", "ETag: \"0x2\"\r\n")
#define CODE(code) "x-ms-error-code: " code "\r\n"
#define XML(body)  "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" body
#define PAGE(body, next)                                             \
	XML("\xef\xbb\xbf<?xml version=\"1.0\" encoding=\"utf-8\"?>" \
	    "<EnumerationResults ContainerName=\"c\"><Blobs>" body   \
	    "</Blobs><NextMarker>" next "</NextMarker></EnumerationResults>")
#define FOLDER	    "x-ms-meta-hdi_isfolder: true\r\n"
#define COPY(state) "x-ms-copy-id: c1\r\nx-ms-copy-status: " state "\r\n"

static inline struct backend *open_env(struct server *s, const char *url,
				       const char *const *env)
{
	struct backend *be;
	char endpoint[64];
	server_start(s, NULL);
	set_environment(env);
	(void)snprintf(endpoint, sizeof endpoint, "%.*s", (int)(strlen(s->url) - 4),
		       s->url);
	struct backend_conf conf = {.url = url, .endpoint = endpoint};
	CHECK_EQ(azure_open(&conf, &be), 0);
	return be;
}

static inline struct backend *open_at(struct server *s, const char *url)
{
	static const char *const env[] = {"AZURE_STORAGE_KEY=" SECRET, NULL};
	return open_env(s, url, env);
}

/* What gives out a token is asked first. */
#define TOKEN_GIVEN XML("{\"access_token\":\"canary\",\"expires_on\":\"4102444800\"}")
static inline struct backend *open_by_token(struct server *s)
{
	struct backend *be;
	server_start(s, NULL);
	forget_environment();
	CHECK(!setenv("IDENTITY_ENDPOINT", s->url, 1));
	CHECK(!setenv("IDENTITY_HEADER", "x", 1));
	s->url[strlen(s->url) - 4] = '\0'; /* without "/b/k" */
	struct backend_conf conf = {.url = "az://acc/cont", .endpoint = s->url};
	CHECK_EQ(azure_open(&conf, &be), 0);
	return be;
}

static inline void forget_token(void)
{
	CHECK(!unsetenv("IDENTITY_ENDPOINT") && !unsetenv("IDENTITY_HEADER"));
}

static inline void done(struct server *s, struct backend *be)
{
	server_stop(s);
	be->ops->free(be);
}
#endif
