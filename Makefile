# Two commands matter: `make run` (a CC-Tuned model answers on http://127.0.0.1:8000) and `make test`.
# docs/contributing.md lists all of them.

PYTHON ?= python3
PORT ?= 8000
BIN := .venv/bin
INSTALLED := .venv/installed
# The fast tests, a process on each core with one thread: more threads than cores stand in one another's way.
PYTEST_FAST := OMP_NUM_THREADS=1 $(BIN)/pytest -m fast --numprocesses logical --maxprocesses 8
# The others: engines and trainings of tiny models keep one core busy each. A file's tests stay in one process, since
# they share engines and servers.
IN_TWO := --numprocesses 2 --dist loadfile --no-loadscope-reorder
PYTEST_SLOW := OMP_NUM_THREADS=1 $(BIN)/pytest -m "not fast" $(IN_TWO)
TRITON := .tools/triton/triton
LOCKS := $(addprefix requirements/,cpu.lock dev.lock docs.lock load.lock)

.PHONY: install run test test-fast lint format wheel-test docs notebook lock loadtest deploy-tools browser redis deepspeed trackers \
    triton test-v2 families image-test clean

# The environment in .venv; by itself again when a lock has changed.
install: $(INSTALLED)

# The mark is newer than the locks when they are what is installed. --no-deps: see the locks' first lines.
$(INSTALLED): $(LOCKS) pyproject.toml
	@echo "1/4 Installing into .venv (minutes the first time; pip keeps what it downloads)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { \
	    echo "The locks are for Python 3.11, and $(PYTHON) is another: make install PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --no-deps $(addprefix -r ,$(LOCKS)) || { \
	    echo "If pip found no torch with '+cpu' in its version, see 'The CPU build of torch' in docs/contributing.md."; exit 1; }
	@$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

# Train once, and serve.
run: $(INSTALLED)
	@$(BIN)/python tools/demo.py --port $(PORT)

# All tests. The fast ones come first and print how much of the code they run; coverage would slow the others by half.
# After `make triton`, the engine's main tests run once more under vLLM's V2 model runner.
# Some of them: `make test TESTS=tests/cc_train`.
V2_TESTS := tests/cc_serve/engine/test_exactness.py tests/cc_serve/engine/test_schedules.py \
    tests/cc_serve/engine/test_async.py tests/cc_serve/engine/test_features.py
test: $(INSTALLED)
ifdef TESTS
	$(BIN)/pytest $(TESTS)
else
	@test -d $(TRITON) || echo "NOTHING RUNS UNDER VLLM'S V2 MODEL RUNNER, since Triton is missing: make triton"
	$(PYTEST_FAST) --cov --cov-report=
	$(PYTEST_SLOW)
	@test ! -d $(TRITON) || $(MAKE) --no-print-directory test-v2 TESTS="$(V2_TESTS)"
endif

# The tests that need no engine, no server, no training and no other program; tests/conftest.py says which do.
test-fast: $(INSTALLED)
	$(PYTEST_FAST) $(TESTS)

# Format, style, spelling, types, and which package may import which.
lint: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/codespell . .github
	$(BIN)/mypy
	@mkdir -p build
	@$(BIN)/lint-imports --no-cache >build/imports.txt || { grep -E '^- | not allowed ' build/imports.txt; exit 1; }

# Format the code, and correct what ruff can.
format: $(INSTALLED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Build the wheel, install it where nothing else is but what serve.lock lists, and run its commands.
wheel-test: $(INSTALLED)
	$(BIN)/python -m tools.wheel_test

# The documentation, in build/site; what does not fit together fails it.
docs: $(INSTALLED)
	NO_MKDOCS_2_WARNING=true $(BIN)/python -m mkdocs build --quiet
	@echo "build/site/index.html"

# The notebook with the real base model; the tests run it with a tiny one.
notebook: $(INSTALLED)
	@test -d models/gemma3-270m || $(BIN)/cc-train base --output models/gemma3-270m
	$(BIN)/python -m tools.notebook

# A fresh resolution; run the tests before you commit what it writes. `tools/lock.py --keep` only writes hashes.
lock: $(INSTALLED)
	$(BIN)/python tools/lock.py

# Half a minute of chat users against a running server; LOADTEST takes locust's options and those of docs/loadtests.md.
HOST ?= http://127.0.0.1:8000
LOADTEST ?= -u 4 -r 4 -t 30s --most-first-token-ms 2500
loadtest: $(INSTALLED)
	@mkdir -p outputs/loadtest
	$(BIN)/locust -f loadtests/locustfile.py --headless --only-summary --host $(HOST) $(LOADTEST) \
	    --html outputs/loadtest/report.html --csv outputs/loadtest/run

# Two replicas and a store under mixed traffic, with a kill and restarts: 20 minutes, or make soak SECONDS=120. As for
# `make test`, the store is what `make redis` installs.
.PHONY: soak
SECONDS ?= 1200
soak: $(INSTALLED)
	OMP_NUM_THREADS=1 VLLM_CPU_OMP_THREADS_BIND=nobind VLLM_CPU_KVCACHE_SPACE=1 \
	    $(BIN)/python -m loadtests.fleet_soak --seconds $(SECONDS)

# Real clients of OpenAI's and Anthropic's APIs against a running server that serves German; CLIENTS names some of them.
.PHONY: clients
clients: $(INSTALLED)
	@$(BIN)/python -m tools.clients --host $(HOST) $(CLIENTS)

# What the tests of deployment run beside Python packages; without it they are skipped.
deploy-tools:
	bash tools/deploy_tools.sh

# What the tests of the playground run; without it they are skipped. As root on Debian; the fonts are for its screenshots.
browser:
	apt-get update -qq
	apt-get install -y -qq --no-install-recommends chromium-headless-shell fonts-noto-core fonts-noto-cjk

# The store of the tests of shared limits; without it they are skipped. As root on Debian.
redis:
	apt-get update -qq
	apt-get install -y -qq --no-install-recommends redis-server

# What the test of the DeepSpeed recipe runs; without it, it is skipped. Apart from .venv: transformers and accelerate do
# otherwise where they find it. Built here, against the torch that is installed.
deepspeed: $(INSTALLED)
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --upgrade --target .tools/deepspeed deepspeed==0.19.8 hjson==3.1.0

# What the tests of `--report-to trackio` and `wandb` run; without it, they are skipped. Apart from .venv, whose pillow is newer
# than Trackio allows; it works with it.
trackers: $(INSTALLED)
	$(BIN)/pip install --quiet --no-deps --upgrade --target .tools/trackers trackio==0.43.0 gradio_client==2.7.2 wandb==0.31.0

# What the tests of vLLM's V2 model runner need on a CPU. Apart from .venv: other packages do otherwise where they find it.
triton: $(INSTALLED)
	$(BIN)/pip install --quiet --no-deps --upgrade --target .tools/triton triton==3.8.0

# The engine's tests again, under vLLM's V2 model runner; TESTS names some of them. One thread: models are tiny, and
# most of the time Triton interprets kernels in Python. A process for each of two files, as for the other slow tests.
test-v2: $(INSTALLED)
	@test -d $(TRITON) || { echo "Triton is missing: make triton"; exit 1; }
	OMP_NUM_THREADS=1 VLLM_CPU_OMP_THREADS_BIND=nobind VLLM_USE_V2_MODEL_RUNNER=1 \
	    $(BIN)/pytest $(IN_TWO) $(or $(TESTS),tests/cc_serve/engine)

# Run the tests that the table of model families is made of, under both model runners, and record what they compare.
families: $(INSTALLED)
	@test -d $(TRITON) || { echo "Triton is missing: make triton"; exit 1; }
	RECORD_FAMILIES=1 OMP_NUM_THREADS=1 $(BIN)/pytest -m shows $(IN_TWO) tests/cc_train tests/cc_serve/engine
	RECORD_FAMILIES=1 $(MAKE) --no-print-directory test-v2 TESTS="-m shows tests/cc_serve/engine"

# Build an image and run it; as root on Debian 12, without a daemon. TARGET=cuda: the one for GPUs, 10 GB, which is run
# as far as it goes without one.
image-test: $(INSTALLED)
	PYTHON=$(BIN)/python bash tools/image_test.sh

# What a vLLM release that is not installed moved of what we use: make audit-vllm VERSION=0.33.0. It fetches the wheel once.
.PHONY: audit-vllm
audit-vllm: $(INSTALLED)
	@$(BIN)/python -m tools.audit_vllm $(VERSION)

# Everything that `make` wrote; models/ and outputs/ are made again by `make run`.
clean:
	rm -rf .venv .tools build dist *.egg-info models outputs .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
