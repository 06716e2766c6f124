/* cred_google.h - bearer tokens for Google Cloud Storage.
 *
 * Google's "application default credentials", the first that is there wins:
 *   1. the file that GOOGLE_APPLICATION_CREDENTIALS names
 *   2. ${CLOUDSDK_CONFIG:-~/.config/gcloud}/application_default_credentials.json
 *   3. the metadata server of the machine (not with NO_GCE_CHECK=true)
 * A file is a service_account, an authorized_user, an external_account with its token
 * in a file or at a URL, or an impersonated_service_account.  The services that it
 * names must be Google's own over https, or on this machine (tests): a file could
 * otherwise send the token to anybody.
 */
#ifndef BACKENDS_CRED_GOOGLE_H
#define BACKENDS_CRED_GOOGLE_H
#include <stdbool.h>
#include "backends/cred.h"

/* read_only: ask for no more than that.  -EACCES if there are none: logged, with where
 * was looked.  wait: as creds_conf. */
int cred_google_new(struct http *http, bool read_only, bool wait, struct creds **ret,
		    struct call *call);
#endif
