# The proxy's image: one static binary, the roots that https collectors are checked against, and nothing else.
#
#   docker build -t lw-inference-proxy .          where a registry can be reached
#   make docker                                   also where none can: see deploy/build-image.sh
#
# It builds with the classic builder and with BuildKit, for amd64 and arm64 (each compiles for itself).
ARG BUILDER=rust:1.95-slim-trixie

FROM ${BUILDER} AS build
# The allocator's own build needs make, which slim images lack.
RUN command -v make >/dev/null || { apt-get update && apt-get install --yes --no-install-recommends make; }
WORKDIR /src
COPY . .
RUN deploy/build-static.sh /out

FROM scratch
COPY --from=build /out/ /
ARG VERSION=unknown
ARG REVISION=unknown
ARG SOURCE=""
LABEL org.opencontainers.image.title="lw-inference-proxy" \
      org.opencontainers.image.description="One endpoint for the inference servers of a Docker host, routed by model" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
EXPOSE 8080
# The engine's socket belongs to root and to a group whose number differs from host to host, so the image cannot know
# a user that may open it, and access to it is as good as root on the host anyway. To run as another user, give the
# group of the socket: `user: "65532:65532"` and `group_add: ["<gid of /var/run/docker.sock>"]`; with a socket proxy
# over TCP, `user: "65532:65532"` is enough.
USER 0:0
HEALTHCHECK --interval=5s --timeout=3s --retries=3 CMD ["/lw-inference-proxy", "healthcheck"]
ENTRYPOINT ["/lw-inference-proxy"]
