/* nth_vrig.h - a mount's view whose bucket and calls fail, and then no more. */
#ifndef TESTS_UNIT_NTH_VRIG_H
#define TESTS_UNIT_NTH_VRIG_H
#include "tests/unit/check.h"
#include "tests/unit/nth.h"
#include "tests/unit/view_rig.h"

/* Nothing fails any more: what is open is closed, and the next mount drains all. */
static inline void nth_vrig_recover(struct vrig *rig)
{
	struct backend *fault = rig->be;
	if (rig->vw)
		vrig_close(rig);
	nth_disarm();
	if (fault != &rig->bucket.be)
		backend_free(fault);
	rig->be = &rig->bucket.be;
	vrig_open(rig);
	CHECK_EQ(view_drain(rig->vw, clock_now_ns() + 60 * NS_PER_S), 0);
}
#endif
