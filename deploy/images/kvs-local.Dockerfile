# KVS on localhost, with its page. From the root of the repository: docker build -f deploy/images/kvs-local.Dockerfile .
ARG BUILDER=docker.io/library/rust:1.95-trixie
ARG NODE=docker.io/library/node:22-trixie-slim
ARG BASE=scratch

FROM ${NODE} AS page
WORKDIR /src
COPY crates/local/web .
# A page that was built before may be mounted at /page.
RUN if [ -e /page/index.html ]; then cp -r /page /web; \
    else npm ci --no-audit --no-fund && npm run build -- --outdir /web; fi

FROM ${BUILDER} AS build
ARG PROFILE=release
ARG CARGO_TARGET_DIR=/target
WORKDIR /src
COPY xtask/packages.txt xtask/
COPY deploy/images/packages.sh deploy/images/
RUN deploy/images/packages.sh kvs-local
COPY . .
RUN cargo build --locked --profile ${PROFILE} --package kvs-local \
    && deploy/images/rootfs.sh ${CARGO_TARGET_DIR}/${PROFILE}/kvs-local \
    && install -d -o 65532 -g 65532 /rootfs/data

FROM ${BASE}
LABEL org.opencontainers.image.title="kvs-local" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /rootfs/ /
COPY --from=page /web/ /usr/share/kvs-local/web/
USER 65532:65532
EXPOSE 8440
VOLUME /data
ENTRYPOINT ["/usr/local/bin/kvs-local", "--data=/data", "--web=/usr/share/kvs-local/web"]
# The page and /_kvs/ answer to the container itself alone; behind a published port everybody is somebody else. For a container of
# your own: `docker run -p 127.0.0.1:8440:8440 … --listen=0.0.0.0:8440 --console-public` (docs/kvs-local.md).
CMD ["--listen=0.0.0.0:8440"]
