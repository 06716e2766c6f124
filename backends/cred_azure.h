/* cred_azure.h - bearer tokens for Azure Blob, from Entra.
 *
 * The chain, the first that is configured wins:
 *   1. a client secret: AZURE_TENANT_ID, AZURE_CLIENT_ID, AZURE_CLIENT_SECRET, or
 *      blobfuse's AZURE_STORAGE_SPN_TENANT_ID, _CLIENT_ID, _CLIENT_SECRET
 *   2. a workload identity: AZURE_FEDERATED_TOKEN_FILE with tenant and client
 *   3. a managed identity of App Service: IDENTITY_ENDPOINT and IDENTITY_HEADER
 *   4. a managed identity of the machine: the instance's service
 * A managed identity is the machine's own, or that of AZURE_CLIENT_ID or
 * AZURE_STORAGE_IDENTITY_CLIENT_ID.  Account keys, SAS and connection strings need no
 * service: see creds_new_static.
 */
#ifndef BACKENDS_CRED_AZURE_H
#define BACKENDS_CRED_AZURE_H
#include "backends/cred.h"

/* -EACCES if there are none: logged, with where was looked.  wait: as creds_conf. */
int cred_azure_new(struct http *http, bool wait, struct creds **ret, struct call *call);
#endif
