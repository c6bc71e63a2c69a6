# The relay's image on a base that somebody else keeps up to date, for machines that reach a registry.
# `provision image` needs none and makes a smaller image; a test sees that both behave the same.
#
#   cargo build --profile dist --locked -p relay --bin relay
#   install -D -s target/dist/relay image/relay
#   install -D -m 644 /etc/ssl/certs/ca-certificates.crt image/ca-certificates.crt && mkdir -p image/data
#   docker build -f provision/assets/relay.Dockerfile image
#
# The base needs the C library of the machine that built the relay, or a newer one, and libgcc.
ARG BASE=debian:bookworm-slim
FROM ${BASE}
COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY relay /usr/local/bin/relay
COPY --chown=10001:10001 data /data
ENV RELAY_DATA_DIR=/data RELAY_API_BIND=:2470 RELAY_METRICS_LISTEN=:2471 RELAY_ADMIN_BIND=:2472
USER 10001:10001
WORKDIR /data
VOLUME ["/data"]
EXPOSE 2470
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["/usr/local/bin/relay", "health"]
ENTRYPOINT ["/usr/local/bin/relay"]
CMD ["serve"]
