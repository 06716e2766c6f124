/* store_errno.c - what a status means where a store says no more, and what kinds of
 * errors there are.  See request.h, and the list in backend.h. */
#include <errno.h>
#include "backends/request.h"
#include "backends/util/banned.h"

int store_errno_of_status(int status)
{
	switch (status) {
	case 401:
	case 403:
		return -EACCES;
	case 404:
		return -ENOENT;
	case 405:
	case 501:
		return -EOPNOTSUPP;
	case 408:
		return -ECOMM;
	case 409:
	case 429:
	case 503:
	case 509:
		return -EBUSY;
	case 412:
	case 416: /* a range that lay within the version that was asked for */
		return -ESTALE;
	case 413:
		return -EFBIG;
	case 414:
		return -ENAMETOOLONG;
	case 507:
		return -ENOSPC;
	default:
		return status >= 500 ? -EREMOTEIO : -EINVAL;
	}
}

bool store_errno_is_refusal(int error)
{
	return error == -EACCES || error == -EKEYEXPIRED;
}

bool store_errno_is_transient(int error)
{
	return error == -ECOMM || error == -ETIMEDOUT || error == -EREMOTEIO ||
	       error == -EBUSY || error == -EBADMSG;
}

bool store_errno_is_expected(int error)
{
	return error == -ENOENT || error == -EEXIST || error == -ESTALE ||
	       error == -EINTR || error == -ENXIO;
}
