/* profile.h - Amazon's two files: ~/.aws/config and ~/.aws/credentials.
 *
 * One profile of both, the credentials file winning where both have a key.
 */
#ifndef BACKENDS_PROFILE_H
#define BACKENDS_PROFILE_H

struct profile;

/* name NULL: AWS_PROFILE, AWS_DEFAULT_PROFILE or "default".  Files that are not
 * there make an empty profile; a named profile that neither file has is -ENOENT
 * and logged. */
int profile_load(const char *name, struct profile **ret);
void profile_free(struct profile *p); /* wipes; NULL is fine */
const char *profile_name(const struct profile *p);
/* NULL if it is not set, or p is NULL.  Borrowed from p. */
const char *profile_get(const struct profile *p, const char *key);
#endif
