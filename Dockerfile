# Two stages: the first builds the environment, the second carries only that and the code's owner, who is not root.
# CUDA comes with PyPI's torch; the host needs the NVIDIA driver and `docker run --gpus all`.
FROM python:3.11-slim-bookworm AS build

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build
RUN python -m venv /opt/venv
COPY constraints.txt ./
# A layer of its own: torch is by far the largest part and changes least.
RUN /opt/venv/bin/pip install -c constraints.txt torch
COPY pyproject.toml README.md LICENSE config.toml ./
COPY src ./src
# `--build-arg EXTRAS=nvidia,matting,otel,redis,s3,cluster` for a pool of engines in Ray.
ARG EXTRAS=nvidia,matting,otel,redis,s3
RUN /opt/venv/bin/pip install -c constraints.txt ".[${EXTRAS}]"

FROM python:3.11-slim-bookworm

# torch and Triton compile with it where engine.compiled_sizes asks for that; any of Debian's versions will do.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends g++ && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 10001 gateway \
    && install -d -o gateway -g gateway /srv/gateway/data /srv/gateway/loras /srv/gateway/checkpoints
COPY --from=build /opt/venv /opt/venv
WORKDIR /srv/gateway
COPY config.toml ./
USER 10001:10001
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    SDXL_GATEWAY__SERVER__HOST=0.0.0.0 \
    SDXL_GATEWAY__TELEMETRY__LOG_FORMAT=json
VOLUME ["/srv/gateway/data", "/srv/gateway/loras", "/srv/gateway/checkpoints"]
EXPOSE 8000
# Alive is enough here: /readyz is for a load balancer, and a model may load for minutes.
HEALTHCHECK --interval=15s --timeout=3s --start-period=30s --retries=4 \
    CMD ["python", "-c", "import httpx; httpx.get('http://127.0.0.1:8000/healthz', timeout=2).raise_for_status()"]
ENTRYPOINT ["sdxl-gateway"]
CMD ["serve"]
