# The agent, with the GStreamer plugins of its pipeline and the libraries that these load. From the root of the
# repository: docker build -f deploy/images/agent.Dockerfile .
ARG BUILDER=docker.io/library/rust:1.95-trixie
ARG BASE=scratch

FROM ${BUILDER} AS build
ARG PROFILE=release
ARG CARGO_TARGET_DIR=/target
WORKDIR /src
COPY xtask/packages.txt xtask/
COPY deploy/images/packages.sh deploy/images/
RUN deploy/images/packages.sh agent
COPY . .
RUN cargo build --locked --profile ${PROFILE} --package kvs-ingest-agent \
    && deploy/images/rootfs.sh ${CARGO_TARGET_DIR}/${PROFILE}/kvs-ingest-agent \
        coreelements app voaacenc

FROM ${BASE}
LABEL org.opencontainers.image.title="kvs-ingest agent" \
      org.opencontainers.image.licenses="Apache-2.0 AND LGPL-2.1-or-later"
COPY --from=build /rootfs/ /
# No scanner process, and the registry where a container may write whose root file system is read-only.
ENV GST_PLUGIN_SYSTEM_PATH_1_0=/usr/lib/gstreamer-1.0 \
    GST_REGISTRY_1_0=/dev/shm/gstreamer-registry.bin \
    GST_REGISTRY_FORK=no
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/kvs-ingest-agent"]
