# zeropoold and zeropoolctl on Debian 12.
#
#   docker build -t zeropool .
#   docker run --rm -v /run/zeropool:/run/zeropool zeropool
#
# /metrics listens on the container's loopback until a configuration says otherwise: mount one, and add
# `--config FILE` to the command line.
#
# Clients in other containers mount /run/zeropool; they need no hugepage limit of their own, the daemon's container
# pays for the memory (--memory must allow for the budget).
FROM debian:12-slim AS build
WORKDIR /src
COPY scripts/packages scripts/packages
RUN scripts/packages --install build --yes
COPY . .
ARG REVISION=
RUN scripts/build release --yes -- -DBUILD_TESTING=OFF -DZEROPOOL_BUILD_EXAMPLES=OFF -DZEROPOOL_BUILD_BENCH=OFF \
      -DCMAKE_INSTALL_PREFIX=/usr -DZEROPOOL_REVISION="$REVISION" \
 && DESTDIR=/installed cmake --install build/release --strip

FROM debian:12-slim
COPY --from=build /src/scripts/packages /tmp/packages
RUN /tmp/packages --install runtime --yes \
 && rm -rf /tmp/packages /var/lib/apt/lists/* \
 && useradd --system --user-group --home-dir /run/zeropool --shell /usr/sbin/nologin zeropool \
 && install -d -o zeropool -g zeropool /run/zeropool
COPY --from=build /installed/usr/sbin/zeropoold /usr/sbin/
COPY --from=build /installed/usr/bin/zeropoolctl /usr/bin/
USER zeropool
ENV ZEROPOOL_SOCKET=/run/zeropool/zeropoold.sock XDG_RUNTIME_DIR=/run
VOLUME /run/zeropool
EXPOSE 9977
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["zeropoolctl", "status"]
ENTRYPOINT ["zeropoold", "--foreground"]
