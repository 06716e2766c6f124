/* tags.h - the uploads of ours that the bucket may have under one name.
 *
 * An upload that is broken off may have arrived; so may the one before it, if that
 * was broken off too.  Each has a tag; the list holds them, the newest first, with
 * spaces between them.  A file that is written again and again before its upload is over
 * could fill any list, and an object of ours whose tag is forgotten is a conflict, and
 * stays behind when the name is removed.  So from some length on the tags that are made
 * are kin: they begin as one that is in the list, which stands for all of these.  What is
 * in the bucket for certain begins a new list.
 */
#ifndef CACHE_TAGS_H
#define CACHE_TAGS_H
#include <stdbool.h>
#include "backends/backend.h"

enum {
	TAGS_SIZE = 8 * TAG_SIZE,
	TAGS_MANY = 4,	    /* from here on they are kin */
	TAGS_CHARS = 32,    /* of one that we made */
	TAGS_KIN_CHARS = 16 /* that kin have in common, and nobody else has */
};

/* In a list: nothing may be there as well, for a DELETE of ours may have got through. */
#define TAG_NOTHING "nothing"

/* Unlike any other, of an upload or a copy that begins. */
int tag_make(char ret[static TAG_SIZE]);
/* The same, but kin of those in the list if there are many. */
int tag_make_kin(const char *list, char ret[static TAG_SIZE]);
bool tags_have(const char *list, const char *tag);
/* Is an object with this tag ours?  None is nothing. */
bool tags_own(const char *list, const char *tag);
void tags_add(char list[static TAGS_SIZE], const char *tag);
#endif
