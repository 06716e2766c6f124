/* azure_account.h - which account, where, and by what right: from the URL, the
 * environment and a connection string.  No request is made.
 *
 *   az://account/container/prefix    az:///container/prefix: the account by environment
 *   AZURE_STORAGE_CONNECTION_STRING  AccountName, AccountKey, BlobEndpoint,
 *                                    EndpointSuffix, DefaultEndpointsProtocol,
 *                                    SharedAccessSignature; UseDevelopmentStorage=true
 *   AZURE_STORAGE_ACCOUNT, or _ACCOUNT_NAME
 *   AZURE_STORAGE_KEY, or _ACCESS_KEY, _ACCOUNT_KEY
 *   AZURE_STORAGE_SAS_TOKEN
 *   AZURE_STORAGE_BLOB_ENDPOINT, or _SERVICE_ENDPOINT
 *   AZURE_STORAGE_AUTH_TYPE          blobfuse's: msi, spn, azcli or workload: no keys
 *
 * The right is the first of: what the connection string has, the key, the SAS, a token
 * of Entra.  The endpoint is the first of: the option, the connection string's, the
 * environment's, https://account.blob.core.windows.net.  An endpoint whose path, or an
 * address in place of a name, shows that the account is in the path is the emulator's
 * kind.
 */
#ifndef BACKENDS_AZURE_ACCOUNT_H
#define BACKENDS_AZURE_ACCOUNT_H
#include "backends/cred.h"
#include "backends/url.h"

struct azure_account {
	char *account, *container, *prefix; /* owned; the prefix "" or ends in '/' */
	struct endpoint endpoint;
	char *path;	    /* owned: of the endpoint, "" or "/account" */
	struct cred cred;   /* its kind is CRED_BEARER: ask Entra */
	const char *source; /* of the credentials, for messages; static */
};

/* -EINVAL: malformed, logged in one line that names the variable and no secret. */
int azure_account_read(const char *url, const char *endpoint, bool anonymous,
		       struct azure_account *ret);
void azure_account_done(struct azure_account *a);

/* When a SAS ceases to be good, since the epoch.  -ENOENT: it does not say. */
int azure_sas_expiry(const char *sas, int64_t *ret_ns);
#endif
