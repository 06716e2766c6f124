# mastfs in a container: see "In containers" in README.md, and compose.yaml.
#
#   docker build -t mastfs .
#
# trixie's libfuse 3.17 hands files over to the kernel by itself (passthrough).
FROM debian:trixie-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends \
	gcc libc6-dev meson ninja-build pkg-config libfuse3-dev libcurl4-openssl-dev \
	libssl-dev libsqlite3-dev libexpat1-dev libjansson-dev libcfitsio-dev
WORKDIR /src
COPY . .
RUN meson setup /build -Dbuildtype=debugoptimized -Ddebug=false -Dtests=false && \
	ninja -C /build fs/mastfs && strip /build/fs/mastfs

FROM debian:trixie-slim
# Only what runs.  Mounting as root needs no fusermount3.
RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
	ca-certificates libcfitsio10t64 libcurl4t64 libexpat1 libfuse3-4 libjansson4 \
	libsqlite3-0 && \
	rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/log/* \
		/usr/share/doc/* /usr/share/man/* && \
	install -d -m 700 /var/cache/mastfs && install -d /app/data/mast
COPY --from=build /build/fs/mastfs /usr/bin/mastfs
COPY dist/entrypoint.sh /usr/bin/mastfs-entrypoint

# The application runs as 1001.  Everything else is a variable as well: MASTFS_<OPTION>.
# Uploads end before an engine that grants 120 s kills: what is left waits in the volume.
ENV MASTFS_ALLOW_OTHER=yes MASTFS_UID=1001 MASTFS_GID=1001 MASTFS_UMASK=022 \
	MASTFS_CACHE_DIR=/var/cache/mastfs MASTFS_DRAIN=110s

# Cache and journal: a named volume here is what a new container goes on with.
VOLUME /var/cache/mastfs

# Ready within 2 s of the start: engines before 25 know no --start-interval, so the interval
# is what the first look waits for.  A look asks the daemon, and gives up by itself.  A start
# may have to wait for the last daemon's uploads: until then it is not called unhealthy.
HEALTHCHECK --interval=1s --timeout=20s --start-period=130s --retries=3 \
	CMD ["mastfs", "status", "--quiet"]

ENTRYPOINT ["mastfs"]
CMD ["mount", "-f"]
