/* checkup_secrets.c - files with credentials: may others read them? */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "backends/checkup.h"
#include "backends/crypto.h"
#include "backends/util/cleanup.h"
#include "backends/util/banned.h"

/* The file that a variable names, else the usual one below the home directory. */
static const struct {
	const char *start; /* of the sources that it is read for */
	const char *variable, *usual;
	const char *only_with; /* it holds a secret only if it has this word */
} files[] = {
	{"s3://", "AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials", NULL},
	{"s3://", "AWS_CONFIG_FILE", ".aws/config", "aws_secret_access_key"},
	{"s3://", "AWS_WEB_IDENTITY_TOKEN_FILE", NULL, NULL},
	{"s3://", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", NULL, NULL},
	{"az://", "AZURE_FEDERATED_TOKEN_FILE", NULL, NULL},
	{"gs://", "GOOGLE_APPLICATION_CREDENTIALS",
	 ".config/gcloud/application_default_credentials.json", NULL},
};

static bool is_used(const struct settings *s, const char *start)
{
	size_t n = strlen(start);
	return !s->anonymous && (!strncmp(s->url, start, n) ||
				 (s->public_url && !strncmp(s->public_url, start, n)));
}

static int find_path(size_t i, struct buf *ret)
{
	const char *named = getenv(files[i].variable), *home = getenv("HOME");
	if (named && *named)
		buf_adds(ret, named);
	else if (files[i].usual && home && *home == '/')
		buf_addf(ret, "%s/%s", home, files[i].usual);
	else
		return -ENOENT;
	return buf_error(ret);
}

static bool has_word(const char *path, const char *word)
{
	FILE *f = fopen(path, "re");
	char line[1024];
	bool found = false;
	while (f && !found && fgets(line, sizeof line, f))
		found = strstr(line, word) != NULL;
	crypto_wipe(line, sizeof line);
	if (f)
		(void)fclose(f);
	return found;
}

/* Where container engines put them, with modes of their own. */
static bool is_engines(const char *path)
{
	static const char *const dirs[] = {"/run/secrets/", "/var/run/secrets/"};
	for (size_t i = 0; i < sizeof dirs / sizeof dirs[0]; i++)
		if (!strncmp(path, dirs[i], strlen(dirs[i])))
			return true;
	return false;
}

static bool holds_secret(size_t i, const char *path, struct stat *ret)
{
	return !is_engines(path) && stat(path, ret) == 0 && S_ISREG(ret->st_mode) &&
	       (!files[i].only_with || has_word(path, files[i].only_with));
}

/* A group is somebody whom the owner has chosen; "others" is everybody. */
void checkup_secrets(const struct checkup_conf *conf)
{
	struct report *r = conf->report;
	unsigned seen = 0, open = 0;
	for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
		CLEANUP_BUF struct buf path;
		struct stat st;
		buf_init(&path, PATH_MAX);
		if (!is_used(conf->settings, files[i].start) || find_path(i, &path) ||
		    !holds_secret(i, path.data, &st))
			continue;
		seen++;
		if (!(st.st_mode & S_IRWXO))
			continue;
		open++;
		report_remedy(r, "chmod 600 %s", report_quote(r, path.data));
		report_warning(r, "secrets", "%s: others may read it (mode %03o)",
			       path.data, (unsigned)st.st_mode & 0777);
	}
	if (!open)
		report_ok(r, "secrets", "%s",
			  seen ? "in files that others may not read" : "in no file");
}
