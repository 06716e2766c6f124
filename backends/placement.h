/* placement.h - where in the store an object goes: its processing level, and the storage
 * class that the user wants for that level.  Pure but for the log.
 *
 * The user's words: "STANDARD" for all, or by level, "raw=GLACIER_IR:combined=STANDARD";
 * a level that is not named has the store's own default.
 */
#ifndef BACKENDS_PLACEMENT_H
#define BACKENDS_PLACEMENT_H

/* Name of the tag (S3 and Azure) or metadata (Azure and Google) that every upload has. */
#define PLACEMENT_TAG "processing_level"

struct placement;

/* text NULL or "": no class is asked for.  -EINVAL, logged: an unknown level, a class
 * that is no word of letters, digits and '_', a level named twice. */
int placement_new(const char *text, struct placement **ret);
void placement_free(struct placement *p); /* NULL is fine */

/* "raw", "calibrated", "combined" or "ancillary", by the last part of the key; a
 * directory marker has NULL.  Static. */
const char *placement_level(const char *key);
/* The class to ask for, or NULL.  Borrowed from p. */
const char *placement_class(const struct placement *p, const char *key);
#endif
