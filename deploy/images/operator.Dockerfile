# The operator. From the root of the repository: docker build -f deploy/images/operator.Dockerfile .
ARG BUILDER=docker.io/library/rust:1.95-trixie
ARG BASE=scratch

FROM ${BUILDER} AS build
ARG PROFILE=release
ARG CARGO_TARGET_DIR=/target
WORKDIR /src
COPY xtask/packages.txt xtask/
COPY deploy/images/packages.sh deploy/images/
RUN deploy/images/packages.sh operator
COPY . .
RUN cargo build --locked --profile ${PROFILE} --package kvs-ingest-operator \
    && deploy/images/rootfs.sh ${CARGO_TARGET_DIR}/${PROFILE}/kvs-ingest-operator

FROM ${BASE}
LABEL org.opencontainers.image.title="kvs-ingest operator" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /rootfs/ /
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/kvs-ingest-operator"]
