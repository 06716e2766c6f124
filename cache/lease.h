/* lease.h - has anybody else the file, open or mapped?
 *
 * What the kernel reads past us (pass.h) is nowhere told to be over: a mapping of such a
 * file keeps the data file itself and no descriptor of ours, so that RELEASE comes with
 * the close and not with the end of the mapping (fuse_passthrough_mmap ends in
 * vma_set_file; seen 2026-11-27 on 6.18, where ten mapped MB turned to zeros).  But the
 * kernel counts who has an inode open, mappings included, and gives a lease for writing
 * to him alone who has the only descriptor (fcntl(2), F_SETLEASE).
 */
#ifndef CACHE_LEASE_H
#define CACHE_LEASE_H

/* fd: for reading and writing, and of a file that is ours.  0: nobody; -EBUSY: somebody;
 * else the file system does not tell. */
int lease_try(int fd);
#endif
