# splnode in a container: built in one stage, run in another, as a user of its own.
#     docker build --tag splnode . && docker run --rm splnode version
ARG PYTHON=python:3.11-slim

FROM ${PYTHON} AS build
# The native engines want a compiler and Python's headers; the official image has the headers, a plain Debian has not.
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && { python -c 'import os, sysconfig; open(os.path.join(sysconfig.get_path("include"), "Python.h")).close()' \
    || apt-get install --yes --no-install-recommends python3-dev; } \
    && rm -rf /var/lib/apt/lists/*
RUN python -m venv /opt/splnode
COPY . /src
RUN /opt/splnode/bin/pip install --no-cache-dir '/src[tls]' \
    && /opt/splnode/bin/python -c 'from splnode.avro.codec import engines; assert "native" in engines(), engines()' \
    && /opt/splnode/bin/pip uninstall --yes pip setuptools

FROM ${PYTHON}
RUN useradd --system --uid 10001 --home-dir /var/lib/splnode --create-home --shell /usr/sbin/nologin splnode
COPY --from=build /opt/splnode /opt/splnode
ENV PATH=/opt/splnode/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER splnode
WORKDIR /var/lib/splnode
VOLUME /var/lib/splnode
EXPOSE 9090
# Within the container the node is found by its Unix socket, whatever else it listens on.
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s --retries=3 CMD ["splnode", "health"]
# A node stops within 30 seconds of SIGTERM: give it those (docker stop --time 30, stop_grace_period).
STOPSIGNAL SIGTERM
ENTRYPOINT ["splnode"]
CMD ["serve"]
