/* xml.c - see xml.h. */
#include "backends/xml.h"
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>
#include <expat.h>
#include "backends/util/banned.h"

struct parse {
	XML_Parser parser; /* owned */
	const struct xml_handler *handler;
	void *arg;
	struct buf text;
	int depth;
	int error;
};

static void stop(struct parse *p, int error)
{
	if (p->error)
		return;
	p->error = error;
	(void)XML_StopParser(p->parser, XML_FALSE);
}

static const char *local_name(const char *name)
{
	const char *colon = strrchr(name, ':');
	return colon ? colon + 1 : name;
}

static void XMLCALL on_open(void *arg, const XML_Char *name, const XML_Char **attrs)
{
	struct parse *p = arg;
	if (p->error)
		return;
	if (++p->depth > XML_DEPTH_MAX) {
		stop(p, -EBADMSG);
		return;
	}
	buf_reset(&p->text);
	int r = p->handler->open ? p->handler->open(p->arg, p->depth, local_name(name))
				 : 0;
	for (; !r && p->handler->attr && *attrs; attrs += 2)
		r = p->handler->attr(p->arg, p->depth, local_name(attrs[0]), attrs[1]);
	if (r < 0)
		stop(p, r);
}

static void XMLCALL on_close(void *arg, const XML_Char *name)
{
	struct parse *p = arg;
	if (p->error)
		return;
	if (buf_error(&p->text)) {
		stop(p, buf_error(&p->text) == -ENOMEM ? -ENOMEM : -EBADMSG);
		return;
	}
	int r = p->handler->close(p->arg, p->depth, local_name(name), p->text.data,
				  p->text.len);
	p->depth--;
	/* What follows belongs to the parent, which has children and so no text. */
	buf_reset(&p->text);
	if (r < 0)
		stop(p, r);
}

static void XMLCALL on_text(void *arg, const XML_Char *s, int len)
{
	struct parse *p = arg;
	if (!p->error)
		buf_add(&p->text, s, (size_t)len);
}

static void XMLCALL on_doctype(void *arg, const XML_Char *name, const XML_Char *sysid,
			       const XML_Char *pubid, int internal)
{
	(void)name;
	(void)sysid;
	(void)pubid;
	(void)internal;
	stop(arg, -EBADMSG);
}

int xml_parse(const char *bytes, size_t n, const struct xml_handler *handler, void *arg)
{
	if (n > INT_MAX)
		return -EBADMSG;
	struct parse p = {.handler = handler, .arg = arg};
	/* A keep-alive of white space before the declaration is what Amazon sends
	 * while it completes an upload; XML itself forbids it. */
	while (n && strchr(" \t\r\n", *bytes) && *bytes) {
		bytes++;
		n--;
	}
	p.parser = XML_ParserCreate(NULL);
	if (!p.parser)
		return -ENOMEM;
	buf_init(&p.text, XML_TEXT_MAX);
	XML_SetUserData(p.parser, &p);
	XML_SetElementHandler(p.parser, on_open, on_close);
	XML_SetCharacterDataHandler(p.parser, on_text);
	XML_SetStartDoctypeDeclHandler(p.parser, on_doctype);
	enum XML_Status status = XML_Parse(p.parser, bytes, (int)n, XML_TRUE);
	if (status != XML_STATUS_OK && !p.error)
		p.error = XML_GetErrorCode(p.parser) == XML_ERROR_NO_MEMORY ? -ENOMEM
									    : -EBADMSG;
	XML_ParserFree(p.parser);
	buf_done(&p.text);
	return p.error;
}

struct find {
	int depth;
	const char *name;
	struct buf *ret;
	bool found;
};

static int find_close(void *arg, int depth, const char *name, const char *text,
		      size_t len)
{
	struct find *f = arg;
	if (f->found || depth != f->depth || strcmp(name, f->name))
		return 0;
	f->found = true;
	if (f->ret)
		buf_add(f->ret, text, len);
	return 0;
}

int xml_find(const char *bytes, size_t n, int depth, const char *name, struct buf *ret)
{
	static const struct xml_handler handler = {.close = find_close};
	struct find f = {.depth = depth, .name = name, .ret = ret};
	int r = xml_parse(bytes, n, &handler, &f);
	if (r || !f.found)
		return r ? r : -ENOENT;
	return ret ? buf_error_or(ret, -EBADMSG) : 0;
}

int xml_root_is(const char *bytes, size_t n, const char *name)
{
	return xml_find(bytes, n, 1, name, NULL);
}

void xml_escape(struct buf *out, const char *s)
{
	for (; *s; s++) {
		switch (*s) {
		case '&':
			buf_adds(out, "&amp;");
			break;
		case '<':
			buf_adds(out, "&lt;");
			break;
		case '>':
			buf_adds(out, "&gt;");
			break;
		case '"':
			buf_adds(out, "&quot;");
			break;
		case '\'':
			buf_adds(out, "&apos;");
			break;
		default:
			buf_addc(out, *s);
		}
	}
}
