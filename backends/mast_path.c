/* mast_path.c - see mast_path.h. */
#include "backends/mast_path.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "backends/jwst.h"
#include "backends/util/banned.h"

static const char public_start[] = MAST_PUBLIC;
static const char download_start[] = "mastDownload/JWST/";
enum { PROGRAM_DIGITS = 5, GROUP_DIGITS_MAX = 4 };

__attribute__((format(printf, 2, 3))) static int print(char ret[KEY_SIZE],
						       const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(ret, KEY_SIZE, fmt, ap);
	va_end(ap);
	return n >= 0 && n < KEY_SIZE ? 0 : -ENAMETOOLONG;
}

/* What follows start; NULL if the text does not begin with it. */
static const char *after(const char *text, const char *start)
{
	size_t n = strlen(start);
	return strncmp(text, start, n) ? NULL : text + n;
}

/* Parts that a file can have: none is empty, "." or "..". */
static bool is_plain(const char *path)
{
	for (const char *part = path;; part++) {
		size_t n = strcspn(part, "/");
		if (!n || (n == 1 && *part == '.') ||
		    (n == 2 && part[0] == '.' && part[1] == '.'))
			return false;
		part += n;
		if (!*part)
			return true;
	}
}

static size_t digits(const char *s)
{
	return strspn(s, "0123456789");
}

/* "jw02731" and the end of a part. */
static bool is_program(const char *s)
{
	const char *number = after(s, "jw");
	return number && digits(number) == PROGRAM_DIGITS &&
	       (number[PROGRAM_DIGITS] == '/' || !number[PROGRAM_DIGITS]);
}

static const char *file_of(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

static bool same_part(struct jwst_part a, struct jwst_part b)
{
	return a.len == b.len && a.len && !memcmp(a.s, b.s, a.len);
}

/* The directory that the bucket keeps a product of this name in, slash and all, and
 * what is put behind it. */
static int print_place(char ret[KEY_SIZE], const struct jwst_name *name, const char *tail)
{
	int program = (int)name->program.len, rest;
	switch (name->form) {
	case JWST_EXPOSURE:
	case JWST_GUIDE_STAR:
		rest = (int)name->visit.len;
		return print(ret, "%sjw%.*s/jw%.*s/%s", public_start, program,
			     name->program.s, rest, name->visit.s, tail);
	case JWST_COMBINED:
	case JWST_ASSOCIATION:
		rest = (int)name->group.len;
		return print(ret, "%sjw%.*s/L3/t/%.*s/%s", public_start, program,
			     name->program.s, rest, name->group.s, tail);
	case JWST_POOL:
		return print(ret, "%sjw%.*s/%s", public_start, program, name->program.s,
			     tail);
	case JWST_NONE:
		break;
	}
	return -ENOENT;
}

/* "<obs_id>/<file>", with anything for an obs_id; the first goes to dir. */
static const char *split_obs(const char *path, char dir[KEY_SIZE])
{
	const char *rest = after(path, download_start);
	if (!rest)
		rest = path;
	size_t n = strcspn(rest, "/");
	if (!rest[n] || n >= KEY_SIZE || strchr(rest + n + 1, '/'))
		return NULL;
	memcpy(dir, rest, n);
	dir[n] = '\0';
	return rest + n + 1;
}

/* "jw01_x_cal.txt" of the observation "jw01_x"? */
static bool is_of_obs(const char *file, struct jwst_part obs_id)
{
	return !strncmp(file, obs_id.s, obs_id.len) && file[obs_id.len] == '_';
}

static int obs_file_key(const char *path, char ret[KEY_SIZE])
{
	char dir[KEY_SIZE];
	struct jwst_name obs, name;
	const char *file = split_obs(path, dir);
	if (!file)
		return -ENOENT;
	jwst_parse_obs_id(dir, &obs);
	if (obs.form == JWST_NONE)
		return -ENOENT;
	jwst_parse(file, &name);
	if (name.form != JWST_NONE && same_part(name.program, obs.program))
		return print_place(ret, &name, file);
	if (name.form == JWST_NONE && is_of_obs(file, obs.obs_id))
		return print_place(ret, &obs, file);
	return -ENOENT;
}

int mast_path_key(const char *path, char ret[KEY_SIZE])
{
	if (!is_plain(path))
		return -ENOENT;
	if (after(path, public_start))
		return print(ret, "%s", path);
	if (is_program(path) && strchr(path, '/'))
		return print(ret, "%s%s", public_start, path);
	return obs_file_key(path, ret);
}

const char *mast_path_stray(const char *path)
{
	char dir[KEY_SIZE], key[KEY_SIZE];
	const char *file = is_plain(path) ? split_obs(path, dir) : NULL;
	const char *dot = file ? strrchr(file, '.') : NULL;
	if (!dot || dot == file || !dot[1] || !strcmp(dir, "mastDownload"))
		return NULL;
	return mast_path_key(path, key) == -ENOENT ? file : NULL;
}

bool mast_path_is_key(const char *key)
{
	return after(key, public_start) && is_plain(key) && strlen(key) < KEY_SIZE;
}

int mast_path_program(const char *key)
{
	const char *path = after(key, public_start);
	if (!path || !is_program(path))
		return -1;
	int program = 0;
	for (int i = 0; i < PROGRAM_DIGITS; i++)
		program = program * 10 + (path[2 + i] - '0');
	return program;
}

int mast_path_of_key(const char *key, char ret[KEY_SIZE])
{
	struct jwst_name name;
	char place[KEY_SIZE];
	if (!mast_path_is_key(key))
		return -ENOENT;
	const char *file = file_of(key);
	jwst_parse(file, &name);
	bool has_dir = name.form == JWST_EXPOSURE || name.form == JWST_GUIDE_STAR ||
		       name.form == JWST_COMBINED;
	if (has_dir && !print_place(place, &name, file) && !strcmp(place, key))
		return print(ret, "%.*s/%s", (int)name.obs_id.len, name.obs_id.s, file);
	return print(ret, "%s", key);
}

/* --- directories --- */

/* Below "jw02731/": its visits, L3, L3/t, and the groups in that. */
static bool is_likely_below(const char *program, const char *rest)
{
	size_t n = strlen(program);
	if (!strncmp(rest, program, n))
		return digits(rest + n) == 6 && !rest[n + 6];
	if (!strcmp(rest, "L3") || !strcmp(rest, "L3/t"))
		return true;
	const char *group = after(rest, "L3/t/");
	if (!group || !*group || !strchr("aocr", *group))
		return false;
	size_t number = digits(group + 1);
	return number >= 3 && number <= GROUP_DIGITS_MAX && !group[1 + number];
}

static bool is_likely(const char *path)
{
	enum { N = 2 + PROGRAM_DIGITS };
	char program[N + 1] = "";
	if (!is_program(path))
		return false;
	memcpy(program, path, N);
	return !path[N] || is_likely_below(program, path + N + 1);
}

/* No directory of the archive has a dot: a file that is not there is no directory. */
static void listed(const char *path, bool likely, struct mast_dir *ret)
{
	if (strchr(path, '.') || print(ret->prefix, "%s%s/", public_start, path))
		return;
	ret->kind = MAST_DIR_LISTED;
	ret->likely = likely;
	ret->name_at = strlen(ret->prefix);
}

static void obs(const char *path, struct mast_dir *ret)
{
	struct jwst_name name;
	char tail[KEY_SIZE];
	const char *rest = after(path, download_start);
	const char *dir = rest ? rest : path;
	if (strchr(dir, '/'))
		return;
	jwst_parse_obs_id(dir, &name);
	if (name.form == JWST_NONE || print(tail, "%s_", dir) ||
	    print_place(ret->prefix, &name, tail))
		return;
	ret->kind = MAST_DIR_OBS;
	ret->name_at = strlen(ret->prefix) - strlen(tail);
}

void mast_path_dir(const char *path, struct mast_dir *ret)
{
	static const struct {
		const char *path;
		enum mast_dir_kind kind;
	} shown[] = {
		{"", MAST_DIR_ROOT},
		{"mastDownload", MAST_DIR_DOWNLOAD},
		{"mastDownload/JWST", MAST_DIR_DOWNLOAD_JWST},
		{"jwst", MAST_DIR_JWST},
		{"jwst/public", MAST_DIR_PUBLIC},
	};
	*ret = (struct mast_dir){.kind = MAST_DIR_NONE};
	for (size_t i = 0; i < sizeof shown / sizeof *shown; i++)
		if (!strcmp(path, shown[i].path))
			ret->kind = shown[i].kind;
	if (ret->kind != MAST_DIR_NONE || !is_plain(path))
		return;
	const char *rest = after(path, public_start);
	if (rest)
		listed(rest, is_likely(rest), ret);
	else if (is_program(path))
		listed(path, false, ret);
	else
		obs(path, ret);
}

bool mast_path_in_dir(const struct mast_dir *dir, const char *name)
{
	struct jwst_name parsed;
	if (strchr(name, '/') || !is_plain(name))
		return false;
	if (dir->kind != MAST_DIR_OBS)
		return true;
	/* "jw1_a_b_cal.fits" begins as a file of "jw1_a" would, but is of "jw1_a_b". */
	const char *obs_id = dir->prefix + dir->name_at;
	jwst_parse(name, &parsed);
	return parsed.form == JWST_NONE ? !strncmp(name, obs_id, strlen(obs_id))
					: parsed.obs_id.len + 1 == strlen(obs_id);
}

/* The directory around a path, "" for the root's. */
static void around(const char *path, struct mast_dir *ret)
{
	char parent[KEY_SIZE];
	size_t n = (size_t)(file_of(path) - path);
	*ret = (struct mast_dir){.kind = MAST_DIR_NONE};
	if (n >= KEY_SIZE)
		return;
	memcpy(parent, path, n);
	parent[n ? n - 1 : 0] = '\0';
	mast_path_dir(parent, ret);
}

static bool is_below(const struct mast_dir *dir, const char *key)
{
	return !strncmp(key, dir->prefix, strlen(dir->prefix));
}

int mast_path_obs_prefix(const char *path, const char *key, char ret[KEY_SIZE])
{
	struct jwst_name name;
	struct mast_dir dir;
	jwst_parse(file_of(key), &name);
	if (name.obs_id.len) {
		int n = (int)(name.obs_id.s + name.obs_id.len - key);
		return print(ret, "%.*s_", n, key);
	}
	around(path, &dir);
	if (dir.kind != MAST_DIR_OBS || !is_below(&dir, key))
		return -ENOENT;
	return print(ret, "%s", dir.prefix);
}

bool mast_path_is_hidden(const char *path)
{
	struct mast_dir parent, dir;
	char key[KEY_SIZE];
	around(path, &parent);
	if (parent.kind == MAST_DIR_NONE || parent.kind == MAST_DIR_LISTED)
		return false;
	bool has_key = !mast_path_key(path, key);
	if (parent.kind == MAST_DIR_OBS)
		return has_key && !is_below(&parent, key);
	mast_path_dir(path, &dir);
	return has_key || dir.kind != MAST_DIR_NONE;
}
