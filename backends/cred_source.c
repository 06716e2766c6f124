/* cred_source.c - keys that lie in the environment, in files, or that a program of
 * the user's prints.  See cred_source.h. */
#include "backends/cred_source.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "backends/cred_ask.h"
#include "backends/date.h"
#include "backends/json.h"
#include "backends/util/clock.h"
#include "backends/util/log.h"
#include "backends/util/banned.h"

enum {
	PROCESS_OUTPUT_MAX = 64 * 1024,
	PROCESS_ARGS_MAX = 64,
	PROCESS_TIMEOUT_S = 60,
};

static int set_keys(struct cred *ret, const char *access, const char *secret,
		    const char *token)
{
	ret->access_key = strdup(access);
	int r = ret->access_key ? secret_set(&ret->secret, secret, strlen(secret))
				: -ENOMEM;
	if (!r && token && *token)
		r = secret_set(&ret->token, token, strlen(token));
	if (r)
		cred_done(ret);
	return r;
}

static int json_keys(const char *text, size_t n, const char *token_name,
		     struct secret member[4])
{
	int r = json_get(text, n, "AccessKeyId", &member[0]);
	if (!r)
		r = json_get(text, n, "SecretAccessKey", &member[1]);
	if (!r)
		r = json_get(text, n, token_name, &member[2]);
	if (!r || r == -ENOENT)
		r = member[1].bytes ? json_get(text, n, "Expiration", &member[3])
				    : -EBADMSG;
	return r == -ENOENT ? 0 : r;
}

int cred_from_json(const char *text, size_t n, const char *token_name, struct cred *ret)
{
	struct secret member[4] = {0};
	struct cred cred = {0};
	int r = json_keys(text, n, token_name, member);
	if (!r && (!*member[0].bytes || !*member[1].bytes ||
		   !cred_header_safe(member[0].bytes) ||
		   (member[2].bytes && !cred_header_safe(member[2].bytes))))
		r = -EBADMSG;
	if (!r && member[3].bytes)
		r = date_parse_iso(member[3].bytes, &cred.expires_ns);
	int64_t expires_ns = cred.expires_ns;
	if (!r)
		r = set_keys(&cred, member[0].bytes, member[1].bytes, member[2].bytes);
	for (int i = 0; i < 4; i++)
		secret_done(&member[i]);
	if (r)
		return r;
	cred.expires_ns = expires_ns;
	*ret = cred;
	return 0;
}

int cred_from_env(const struct cred_from *from, struct cred *ret)
{
	(void)from;
	const char *access = cred_env("AWS_ACCESS_KEY_ID");
	const char *secret = cred_env("AWS_SECRET_ACCESS_KEY");
	const char *token = cred_env("AWS_SESSION_TOKEN");
	if (!token)
		token = cred_env("AWS_SECURITY_TOKEN"); /* its old name */
	if (!access && !secret)
		return -ENOENT;
	if (!access || !secret) {
		log_error("s3", "%s is set but %s is not",
			  access ? "AWS_ACCESS_KEY_ID" : "AWS_SECRET_ACCESS_KEY",
			  access ? "AWS_SECRET_ACCESS_KEY" : "AWS_ACCESS_KEY_ID");
		return -EACCES;
	}
	if (!cred_header_safe(access) || (token && !cred_header_safe(token))) {
		log_error("s3", "AWS_ACCESS_KEY_ID or AWS_SESSION_TOKEN holds blanks");
		return -EACCES;
	}
	return set_keys(ret, access, secret, token);
}

static bool wants_sso(const struct profile *profile)
{
	static const char *const names[] = {"sso_session", "sso_account_id",
					    "sso_start_url"};
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (profile_get(profile, names[i]))
			return true;
	return false;
}

int cred_from_profile(const struct cred_from *from, struct cred *ret)
{
	const char *name = profile_name(from->profile);
	const char *access = profile_get(from->profile, "aws_access_key_id");
	const char *secret = profile_get(from->profile, "aws_secret_access_key");
	const char *token = profile_get(from->profile, "aws_session_token");
	if (access && secret && *access && *secret) {
		if (cred_header_safe(access) && (!token || cred_header_safe(token)))
			return set_keys(ret, access, secret, token);
		log_error("s3", "the keys of profile \"%s\" hold blanks", name);
		return -EACCES;
	}
	if (access || secret) {
		log_error("s3", "profile \"%s\" has %s but no %s", name,
			  access ? "aws_access_key_id" : "aws_secret_access_key",
			  access ? "aws_secret_access_key" : "aws_access_key_id");
		return -EACCES;
	}
	if (!wants_sso(from->profile) || profile_get(from->profile, "credential_process"))
		return -ENOENT;
	log_error("s3",
		  "profile \"%s\" signs in by SSO, which mastfs does not do by itself: "
		  "give it credential_process = aws configure export-credentials "
		  "--profile %s",
		  name, name);
	return -EACCES;
}

/* Split a command line as a shell would with blanks and double quotes only. */
static int split(char *line, char *argv[static PROCESS_ARGS_MAX + 1])
{
	size_t n = 0;
	char *p = line;
	while (*(p += strspn(p, " \t"))) {
		if (n == PROCESS_ARGS_MAX)
			return -E2BIG;
		char *out = p;
		bool quoted = false;
		argv[n++] = out;
		for (; *p && (quoted || !strchr(" \t", *p)); p++) {
			if (*p == '"')
				quoted = !quoted;
			else
				*out++ = *p;
		}
		if (*p)
			p++;
		*out = '\0';
	}
	argv[n] = NULL;
	return n ? 0 : -EINVAL;
}

/* Read until the program closes its output, gives too much or takes too long. */
static int read_output(int fd, struct buf *out, uint64_t until_ns,
		       const struct call *call)
{
	for (;;) {
		struct pollfd pfd = {.fd = fd, .events = POLLIN};
		char piece[4096];
		int r = call_check(call);
		if (r)
			return r;
		if (clock_now_ns() > until_ns)
			return -ETIMEDOUT;
		if (poll(&pfd, 1, 200) <= 0)
			continue;
		ssize_t got = read(fd, piece, sizeof piece);
		if (got > 0)
			buf_add(out, piece, (size_t)got);
		crypto_wipe(piece, sizeof piece);
		if (got <= 0 || buf_error(out))
			return buf_error(out);
	}
}

static int spawn(char *const argv[], int out_fd, pid_t *ret)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t none;
	(void)sigemptyset(&none);
	(void)posix_spawn_file_actions_init(&actions);
	(void)posix_spawnattr_init(&attr);
	(void)posix_spawn_file_actions_adddup2(&actions, out_fd, STDOUT_FILENO);
	(void)posix_spawnattr_setsigmask(&attr, &none);
	(void)posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
	int r = posix_spawnp(ret, argv[0], &actions, &attr, argv, environ);
	(void)posix_spawn_file_actions_destroy(&actions);
	(void)posix_spawnattr_destroy(&attr);
	return -r;
}

/* Having said all, it may go on for ever: it is killed at until_ns, or when call is over.
 * Where children are not waited for (SIGCHLD is ignored) nothing is known of its end. */
static int wait_for_end(pid_t pid, uint64_t until_ns, const struct call *call)
{
	int status = 0, r = 0;
	while (!r && !waitpid(pid, &status, WNOHANG)) {
		r = clock_now_ns() > until_ns ? -ETIMEDOUT : call_check(call);
		if (!r)
			clock_sleep_ns(10 * NS_PER_MS);
	}
	if (!r)
		return WIFEXITED(status) && !WEXITSTATUS(status) ? 0 : -EACCES;
	(void)kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return r;
}

static int run(char *const argv[], struct buf *out, const struct call *call)
{
	int ends[2];
	pid_t pid;
	if (pipe2(ends, O_CLOEXEC))
		return -errno;
	CLEANUP_CLOSE int reading = ends[0];
	int r = spawn(argv, ends[1], &pid);
	(void)close(ends[1]);
	if (r)
		return r;
	uint64_t until_ns = clock_add(clock_now_ns(), PROCESS_TIMEOUT_S * NS_PER_S);
	r = read_output(reading, out, until_ns, call);
	int end = wait_for_end(pid, r ? 0 : until_ns, call);
	return r ? r : end;
}

int cred_from_process(const struct cred_from *from, struct cred *ret)
{
	const char *command = profile_get(from->profile, "credential_process");
	char *argv[PROCESS_ARGS_MAX + 1];
	if (!command)
		return -ENOENT;
	CLEANUP_FREE char *line = strdup(command);
	if (!line)
		return -ENOMEM;
	struct buf out;
	buf_init(&out, PROCESS_OUTPUT_MAX);
	int r = split(line, argv);
	if (!r)
		r = run(argv, &out, from->call);
	if (!r)
		r = cred_from_json(out.data, out.len, "SessionToken", ret);
	crypto_wipe(out.data, out.len);
	buf_done(&out);
	if (!r || r == -EINTR)
		return r;
	log_error("s3", "credential_process of profile \"%s\": %s",
		  profile_name(from->profile),
		  r == -EBADMSG ? "no keys in what it prints" : strerror(-r));
	return r == -ETIMEDOUT ? r : -EACCES;
}
