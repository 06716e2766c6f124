/* secret_file.c - see secret_file.h. */
#include "backends/secret_file.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "backends/cred_ask.h"
#include "backends/util/cleanup.h"
#include "backends/util/log.h"
#include "backends/util/banned.h"

/* A file that has the secret: a name that a store's own tools give to one already
 * (AWS_WEB_IDENTITY_TOKEN_FILE) is not among them. */
static const char *const names[] = {
	"AWS_ACCESS_KEY_ID",	     "AWS_SECRET_ACCESS_KEY",
	"AWS_SESSION_TOKEN",	     "AZURE_STORAGE_CONNECTION_STRING",
	"AZURE_STORAGE_KEY",	     "AZURE_STORAGE_ACCESS_KEY",
	"AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_SAS_TOKEN",
	"AZURE_CLIENT_SECRET",	     "AZURE_STORAGE_SPN_CLIENT_SECRET",
};

static int refuse(const char *variable, const char *path, const char *why, int r)
{
	log_error("mount", "%s=%s: %s", variable, path, why);
	return r;
}

/* One line, whose end is not part of it. */
static int read_secret(const char *variable, const char *path, struct secret *ret)
{
	int r = cred_read_file(path, ret);
	if (r == -EFBIG)
		return refuse(variable, path, "too long for a secret", -EINVAL);
	if (r < 0)
		return refuse(variable, path, strerror(-r), r);
	while (ret->len && strchr("\r\n", ret->bytes[ret->len - 1]))
		ret->bytes[--ret->len] = '\0';
	if (!ret->len)
		return refuse(variable, path, "the file is empty", -EINVAL);
	if (strlen(ret->bytes) != ret->len || !cred_header_safe(ret->bytes))
		return refuse(variable, path,
			      "the file must hold one line without blanks", -EINVAL);
	return 0;
}

static int load(const char *name)
{
	CLEANUP_SECRET struct secret secret = {0};
	CLEANUP_BUF struct buf variable;
	buf_init(&variable, 64);
	buf_addf(&variable, "%s_FILE", name);
	const char *path = cred_env(variable.data);
	if (!path)
		return 0;
	if (cred_env(name)) {
		log_error("mount", "%s and %s are both given: one of them is enough",
			  name, variable.data);
		return -EINVAL;
	}
	int r = read_secret(variable.data, path, &secret);
	if (r < 0)
		return r;
	return setenv(name, secret.bytes, 1) < 0 || unsetenv(variable.data) < 0 ? -errno
										: 0;
}

int secret_files_load(void)
{
	int r = 0;
	for (size_t i = 0; r == 0 && i < sizeof names / sizeof names[0]; i++)
		r = load(names[i]);
	return r;
}
