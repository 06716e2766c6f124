# The application's stand-in: what its image has that matters here.
FROM debian:trixie-slim
RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
	python3-astropy && rm -rf /var/lib/apt/lists/*
