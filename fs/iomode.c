/* iomode.c - see iomode.h. */
#include "fs/iomode.h"
#include "backends/util/banned.h"

enum iomode iomode_next(const struct iomodes *m, bool passes)
{
	switch (m->mode) {
	case IOMODE_CACHED:
		return IOMODE_CACHED;
	case IOMODE_PASSTHROUGH:
		return passes ? IOMODE_PASSTHROUGH : IOMODE_NONE;
	default:
		return passes && !m->expects_write ? IOMODE_PASSTHROUGH : IOMODE_CACHED;
	}
}

void iomode_opened(struct iomodes *m, enum iomode mode, bool writes)
{
	m->mode = mode;
	m->opens++;
	if (writes)
		m->expects_write = false;
}

bool iomode_released(struct iomodes *m)
{
	if (--m->opens)
		return false;
	m->mode = IOMODE_NONE;
	return true;
}

const char *iomode_name(enum iomode mode)
{
	static const char *const names[] = {
		[IOMODE_NONE] = "none",
		[IOMODE_CACHED] = "cached",
		[IOMODE_PASSTHROUGH] = "passthrough",
	};
	return names[mode];
}
