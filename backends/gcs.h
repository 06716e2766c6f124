/* gcs.h - the backend of gs://bucket/prefix: Google Cloud Storage by its JSON API.
 *
 * The version of an object is its generation, in decimal.  Every read names it twice,
 * as the generation to read and as a precondition, so that a bucket that keeps old
 * generations answers as one that does not.  Bytes are read as they are stored, also
 * those of an object that was uploaded compressed: sizes and ranges are of these.
 *
 * Where: conf->endpoint, else STORAGE_EMULATOR_HOST (with or without http://), else
 * storage.googleapis.com.  STORAGE_EMULATOR_HOST means that no credentials are sent,
 * wherever it is.  HMAC keys belong to the S3 backend, at the same host's XML API.
 *
 * Uploads in parts are temporary objects, composed at the end: the XML API's multipart
 * uploads know no preconditions, and a resumable session takes one stream only.  They
 * lie below .mastfs-parts/, which no listing shows.  Compose has a precondition and
 * tells the checksum of the whole.  What a crash leaves there is found by upload_list.
 */
#ifndef BACKENDS_GCS_H
#define BACKENDS_GCS_H
#include "backends/backend.h"

/* Logs what is wrong with the URL, the endpoint or the credentials. */
int gcs_open(const struct backend_conf *conf, struct backend **ret);

/* Tests only: objects larger than this go by a resumable session. */
void gcs_set_one_request_max_for_test(struct backend *be, uint64_t bytes);
#endif
