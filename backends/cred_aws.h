/* cred_aws.h - where Amazon's keys come from.
 *
 * The chain, the first that has anything wins:
 *   1. AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN
 *      (not if a profile was asked for by option)
 *   2. the profile's role_arn, with its source_profile or credential_source
 *   3. AWS_WEB_IDENTITY_TOKEN_FILE with AWS_ROLE_ARN, or the profile's
 *   4. the profile's static keys
 *   5. the profile's credential_process (no shell)
 *   6. the container's service, AWS_CONTAINER_CREDENTIALS_*
 *   7. the instance's service, IMDSv2
 */
#ifndef BACKENDS_CRED_AWS_H
#define BACKENDS_CRED_AWS_H
#include <stdbool.h>
#include "backends/cred.h"

/* profile: by option, NULL = by the environment.  instance: may the instance's service
 * be asked?  Not for a store that is not Amazon's, where it could only be slow and
 * wrong.  region: of the token service.  -EACCES if there are no keys: logged, with
 * where was looked.  wait: as creds_conf. */
int cred_aws_new(struct http *http, const char *profile, bool instance,
		 const char *region, bool wait, struct creds **ret);
#endif
