# zeropoold and zeropoolctl on Debian 12.
#
#   docker build -t zeropool --build-arg REVISION=$(git rev-parse --short HEAD) .
#   docker run -d --name zeropoold --memory 5g -v zeropool:/run/zeropool -v ./zeropoold.yaml:/etc/zeropool/zeropoold.yaml:ro zeropool
#   docker run --rm -v zeropool:/run/zeropool --entrypoint zeropoolctl zeropool status
#
# Clients in other containers need the folder of the socket, /run/zeropool, as the same volume (not the socket itself: a new
# daemon binds a new one), and to be let in: as members of the group 10001 (`--group-add 10001`), or by `socket.mode` and `access` of the
# configuration. They need no hugepage limit of their own: the daemon's container pays for the memory, so its --memory
# must exceed the budget, and the budget should be given in bytes (in percent it is of the machine).
#
# Without a configuration /metrics listens on the container's loopback. With Prometheus and Grafana: deploy/docker.
# What a container does to crash safety, NUMA and hugepages: docs/operations.md, "Containers".
#
# Tried by tests/image: built by buildah without a daemon, on a base made by debootstrap; its daemon run as PID 1 in namespaces of
# its own, under the user, environment, entry point and health check that the image names, with a read-only root and without
# capabilities. Not tried, for want of a container runtime: Docker's own builder and runtime, its filter of system calls, limits
# of memory and of hugepages, and its restarts.
FROM debian:12-slim AS build
WORKDIR /src
COPY scripts/packages scripts/packages
RUN scripts/packages --install build --yes
COPY . .
ARG REVISION=
RUN scripts/build release --yes --target zeropoold --target zeropoolctl -- -DBUILD_TESTING=OFF -DZEROPOOL_BUILD_EXAMPLES=OFF \
      -DZEROPOOL_BUILD_BENCH=OFF -DZEROPOOL_HEADER_CHECK=OFF -DCMAKE_CXX_FLAGS_RELEASE="-O2 -DNDEBUG" \
      -DZEROPOOL_REVISION="$REVISION" \
 && install -D --strip build/release/bin/zeropoold /installed/usr/sbin/zeropoold \
 && install -D --strip build/release/bin/zeropoolctl /installed/usr/bin/zeropoolctl

FROM debian:12-slim
COPY --from=build /src/scripts/packages /tmp/packages
# The numbers of user and group are part of the image's interface: folders of the host, and other images, name them.
RUN /tmp/packages --install runtime --yes \
 && rm -rf /tmp/packages /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/log/apt /var/log/dpkg.log \
 && groupadd --system --gid 10001 zeropool \
 && useradd --system --uid 10001 --gid 10001 --home-dir /run/zeropool --shell /usr/sbin/nologin zeropool \
 && install -d -o zeropool -g zeropool -m 755 /run/zeropool
COPY --from=build /installed/ /
USER 10001:10001
ENV ZEROPOOL_SOCKET=/run/zeropool/zeropoold.sock XDG_RUNTIME_DIR=/run
VOLUME /run/zeropool
EXPOSE 9977
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["zeropoolctl", "status"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["zeropoold", "--foreground"]
