# mastfs in the application's own image, where there is to be one container only.
#
#   docker build -t mastfs .
#   docker build --build-arg APPLICATION=processing-engine -f dist/one-container.Dockerfile .
#
# The application's image must be of Debian 13 (trixie), or have these libraries otherwise.
ARG APPLICATION
FROM ${APPLICATION}
USER root
RUN apt-get update && apt-get install -y --no-install-recommends \
	ca-certificates libcfitsio10t64 libcurl4t64 libexpat1 libfuse3-4 libjansson4 \
	libsqlite3-0 && rm -rf /var/lib/apt/lists/* && install -d /app/data/mast
COPY --from=mastfs /usr/bin/mastfs /usr/bin/mastfs-entrypoint /usr/bin/
ENV MASTFS_ALLOW_OTHER=yes MASTFS_UID=1001 MASTFS_GID=1001 MASTFS_DRAIN=110s
VOLUME /var/cache/mastfs
# This takes the place of the application's ENTRYPOINT, and its CMD is forgotten: say here
# what is to run, as in  CMD ["python3", "-m", "app"]  or give it to "docker run".
ENTRYPOINT ["mastfs-entrypoint"]
