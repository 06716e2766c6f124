/* azure.h - Azure Blob Storage, and its emulator. */
#ifndef BACKENDS_AZURE_H
#define BACKENDS_AZURE_H
#include "backends/backend.h"

/* az://account/container/prefix.  No request is sent but for credentials.  -EINVAL,
 * -EACCES (no credentials), logged. */
int azure_open(const struct backend_conf *conf, struct backend **ret);
#endif
