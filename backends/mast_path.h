/* mast_path.h - where the public archive keeps what has this path, and back.  Pure.
 *
 * Paths are relative to the mount and have no slash at either end.  The rules:
 *   <obs_id>/<file>                     by the file's own name, which must be of the
 *   mastDownload/JWST/<obs_id>/<file>   directory's program:
 *       exposure, guide star       jwst/public/jw02731/jw02731001001/<file>
 *       combined, association      jwst/public/jw02733/L3/t/o001/<file>
 *       pool                       jwst/public/jw01234/<file>  (a guess: the archive
 *                                  does not document it; a wrong one is -ENOENT)
 *       anything else that begins with "<obs_id>_": where the observation is
 *   jwst/public/...                     as it stands
 *   jw02731/...                         jwst/public/jw02731/...
 * A preview lies beside its product.
 */
#ifndef BACKENDS_MAST_PATH_H
#define BACKENDS_MAST_PATH_H
#include <stdbool.h>
#include <stddef.h>
#include "backends/backend.h"

#define MAST_PUBLIC "jwst/public/"

/* The key of a file.  -ENOENT: no rule, or no path; -ENAMETOOLONG. */
int mast_path_key(const char *path, char ret[KEY_SIZE]);
/* The path of a key under jwst/public/, by the first rule where it has one, else as it
 * stands.  -ENOENT: not such a key. */
int mast_path_of_key(const char *key, char ret[KEY_SIZE]);
/* The file's name, if the path is one that only MAST can place: "<dir>/<file>.<ext>" or
 * that below mastDownload/JWST/, without a rule of ours.  Borrowed from path; else NULL.
 */
const char *mast_path_stray(const char *path);
/* The program of a key under jwst/public/, as a number; -1: it has none. */
int mast_path_program(const char *key);
/* Is this a key as the archive has them?  For answers from outside. */
bool mast_path_is_key(const char *key);

enum mast_dir_kind {
	MAST_DIR_NONE, /* no directory can be there */
	/* there without asking */
	MAST_DIR_ROOT,
	MAST_DIR_DOWNLOAD,	/* mastDownload */
	MAST_DIR_DOWNLOAD_JWST, /* mastDownload/JWST */
	MAST_DIR_JWST,		/* jwst */
	MAST_DIR_PUBLIC,	/* jwst/public */
	/* one listing of prefix, with a delimiter */
	MAST_DIR_LISTED, /* of the bucket's layout; prefix ends in '/' */
	MAST_DIR_OBS,	 /* the files of one observation; prefix ends in "<obs_id>_" */
};

struct mast_dir {
	enum mast_dir_kind kind;
	/* It has the form of one that the archive has, under a directory of the layout:
	 * worth believing until it is looked into. */
	bool likely;
	char prefix[KEY_SIZE];
	size_t name_at; /* in prefix: where the names of entries begin */
};

/* What listing a directory means.  "" is the root. */
void mast_path_dir(const char *path, struct mast_dir *ret);
/* Does the path mean something that the listing of the directory around it does not
 * tell: below a directory that is shown without asking, or a file of the program in the
 * directory of one of its observations? */
bool mast_path_is_hidden(const char *path);
/* Is a file of this name, found under the prefix, one of the directory's? */
bool mast_path_in_dir(const struct mast_dir *dir, const char *name);
/* The prefix that the key of this path is found under when its observation's directory
 * is listed.  -ENOENT: it is none of an observation. */
int mast_path_obs_prefix(const char *path, const char *key, char ret[KEY_SIZE]);
#endif
