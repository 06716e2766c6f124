/* xml.h - the few small answers that are XML.  The only user of expat.
 *
 * A document type is refused (no entity can be declared, so none expands), the
 * depth and the text of an element are bounded, and a document that is cut short
 * is an error.  Names come without their namespace prefix.
 */
#ifndef BACKENDS_XML_H
#define BACKENDS_XML_H
#include <stddef.h>
#include "backends/util/buf.h"

enum { XML_DEPTH_MAX = 16, XML_TEXT_MAX = 64 * 1024 };

/* depth: 1 for the root.  < 0 ends the parse with that error. */
struct xml_handler {
	int (*open)(void *arg, int depth, const char *name); /* may be NULL */
	/* An attribute of the element just opened; may be NULL. */
	int (*attr)(void *arg, int depth, const char *name, const char *value);
	/* text: what stood directly within the element, if it had no children. */
	int (*close)(void *arg, int depth, const char *name, const char *text,
		     size_t len);
};

/* 0, the handler's error, -EBADMSG (not a well-formed whole document) or
 * -ENOMEM. */
int xml_parse(const char *bytes, size_t n, const struct xml_handler *handler, void *arg);

/* Append the text of the first element of that name at that depth.
 * -ENOENT if there is none, else as xml_parse. */
int xml_find(const char *bytes, size_t n, int depth, const char *name, struct buf *ret);
/* 0 if the root has that name, -ENOENT if another one, else as xml_parse. */
int xml_root_is(const char *bytes, size_t n, const char *name);

/* Append text with & < > " ' escaped. */
void xml_escape(struct buf *out, const char *s);
#endif
