/* secret_file.h - secrets that lie in files: NAME_FILE in the environment for NAME.
 *
 * So container engines hand them out (/run/secrets/...): a variable is shown by the
 * engine's inspect, a file is not.
 */
#ifndef BACKENDS_SECRET_FILE_H
#define BACKENDS_SECRET_FILE_H

/* Make NAME of each NAME_FILE of the stores' secrets, for this process alone; the
 * variable NAME_FILE is gone then.  Called while there is one thread.  Logs, without
 * what the file holds: -EINVAL (both are given, or it holds no secret), or as open(2). */
int secret_files_load(void);
#endif
