/* test_xml.c - what is parsed, and what is refused. */
#include "backends/xml.h"
#include <errno.h>
#include "tests/unit/check.h"

static int find(const char *doc, int depth, const char *name, struct buf *ret)
{
	buf_reset(ret);
	return xml_find(doc, strlen(doc), depth, name, ret);
}

static void xml__text_is_found_by_depth_and_name(void)
{
	CLEANUP_BUF struct buf text;
	buf_init(&text, 256);
	const char *doc =
		"<?xml version=\"1.0\"?>\n<Error xmlns=\"urn:x\"><A><Code>in</Code>"
		"</A><s:Code xmlns:s=\"y\">No&lt;&#65;</s:Code></Error>";
	CHECK_EQ(find(doc, 2, "Code", &text), 0);
	CHECK_STR(text.data, "No<A");
	CHECK_EQ(find(doc, 3, "Code", &text), 0);
	CHECK_STR(text.data, "in");
	CHECK_EQ(find(doc, 2, "Message", &text), -ENOENT);
	CHECK_EQ(xml_root_is(doc, strlen(doc), "Error"), 0);
	CHECK_EQ(xml_root_is(doc, strlen(doc), "Result"), -ENOENT);
	CHECK_EQ(find("  \n\n<?xml version=\"1.0\"?><R/>", 1, "R", &text), 0);
}

static void xml__hostile_documents_are_refused(void)
{
	static const char *const bad[] = {
		"",
		"   ",
		"<html>",
		"<a><b></a></b>",
		"not xml",
		"<a/><b/>",
		"<!DOCTYPE a><a/>",
		"<!DOCTYPE a [<!ENTITY x \"y\">]><a>&x;</a>",
		"<!DOCTYPE a SYSTEM \"file:///etc/passwd\"><a/>",
		"<a>&undeclared;</a>",
		"<a>\x01</a>",
		"<1><2><3><4><5><6><7></7></6></5></4></3></2></1>",
		"<a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a/></a></a></a></a></a>"
		"</a></a></a></a></a></a></a></a></a></a></a>",
	};
	CLEANUP_BUF struct buf text;
	buf_init(&text, 256);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		CHECK_EQ(find(bad[i], 1, "a", &text), -EBADMSG);
}

static void xml__every_cut_is_seen(void)
{
	const char *doc = "<L><Key>a</Key><Key>b</Key></L>";
	CLEANUP_BUF struct buf text;
	buf_init(&text, 256);
	for (size_t n = 0; n < strlen(doc); n++)
		CHECK_EQ(xml_find(doc, n, 2, "Key", &text), -EBADMSG);
	CHECK_EQ(xml_find(doc, strlen(doc), 2, "Key", &text), 0);
}

static void xml__text_is_bounded(void)
{
	CLEANUP_BUF struct buf doc, text;
	buf_init(&doc, 1 << 20);
	buf_init(&text, 1 << 20);
	buf_adds(&doc, "<a>");
	for (int i = 0; i < XML_TEXT_MAX + 1; i++)
		buf_addc(&doc, 'x');
	buf_adds(&doc, "</a>");
	CHECK_EQ(find(doc.data, 1, "a", &text), -EBADMSG);
}

static void xml__escaping_comes_back(void)
{
	CLEANUP_BUF struct buf doc, text;
	buf_init(&doc, 256);
	buf_init(&text, 256);
	buf_adds(&doc, "<a>");
	xml_escape(&doc, "\"<e'&t>\"");
	buf_adds(&doc, "</a>");
	CHECK_EQ(find(doc.data, 1, "a", &text), 0);
	CHECK_STR(text.data, "\"<e'&t>\"");
}

int main(void)
{
	RUN(xml__text_is_found_by_depth_and_name);
	RUN(xml__hostile_documents_are_refused);
	RUN(xml__every_cut_is_seen);
	RUN(xml__text_is_bounded);
	RUN(xml__escaping_comes_back);
	return 0;
}
