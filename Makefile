# Two commands matter: `make run` (a CC-Tuned model answers on http://127.0.0.1:8000) and `make test`.
# docs/contributing.md lists all of them.

PYTHON ?= python3
PORT ?= 8000
BIN := .venv/bin
INSTALLED := .venv/installed
# The fast tests, in one process for each core, which takes tests from another's share when its own are done. Each has one
# thread: more threads than cores slow one another down. None needs schemathesis, which takes a second to import.
PYTEST_FAST := OMP_NUM_THREADS=1 $(BIN)/pytest -m fast -p no:schemathesis \
    --numprocesses logical --maxprocesses 8 --dist worksteal
# The others, in two processes: an engine or a training of a tiny model keeps one core busy. A file's tests stay in one
# process, since they share engines and servers.
IN_TWO := --numprocesses 2 --dist loadfile --no-loadscope-reorder
PYTEST_SLOW := OMP_NUM_THREADS=1 $(BIN)/pytest -m "not fast" $(IN_TWO)
TRITON := .tools/triton/triton
LOCKS := $(addprefix requirements/,cpu.lock dev.lock docs.lock load.lock)

.PHONY: install run test test-fast lint format wheel-test docs notebook lock loadtest soak clients deploy-tools browser redis \
    deepspeed trackers triton test-v2 families image-test audit-vllm clean

# Make the environment in .venv. The other targets do so when a lock has changed.
install: $(INSTALLED)

# This file is newer than the locks if what they list is installed. --no-deps: see the locks' first lines.
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

# Build the wheel, install it beside what serve.lock lists and nothing else, and run its commands.
wheel-test: $(INSTALLED)
	$(BIN)/python -m tools.wheel_test

# Build the documentation in build/site; a broken link fails it.
docs: $(INSTALLED)
	NO_MKDOCS_2_WARNING=true $(BIN)/python -m mkdocs build --quiet
	@echo "build/site/index.html"

# Run the notebook with the real base model; the tests run it with a tiny one.
notebook: $(INSTALLED)
	@test -d models/gemma3-270m || $(BIN)/cc-train base --output models/gemma3-270m
	$(BIN)/python -m tools.notebook

# Resolve the locks again; run the tests before you commit them. `tools/lock.py --keep` keeps the versions.
lock: $(INSTALLED)
	$(BIN)/python tools/lock.py

# Send half a minute of chat to a running server; LOADTEST takes locust's options and those of docs/loadtests.md.
HOST ?= http://127.0.0.1:8000
LOADTEST ?= -u 4 -r 4 -t 30s --most-first-token-ms 2500
loadtest: $(INSTALLED)
	@mkdir -p outputs/loadtest
	$(BIN)/locust -f loadtests/locustfile.py --headless --only-summary --host $(HOST) $(LOADTEST) \
	    --html outputs/loadtest/report.html --csv outputs/loadtest/run

# Send mixed traffic to two replicas with a store, and kill and restart them: 20 minutes, or make soak SECONDS=120. `make
# redis` installs the store.
SECONDS ?= 1200
soak: $(INSTALLED)
	OMP_NUM_THREADS=1 VLLM_CPU_OMP_THREADS_BIND=nobind VLLM_CPU_KVCACHE_SPACE=1 \
	    $(BIN)/python -m loadtests.fleet_soak --seconds $(SECONDS)

# Try clients of OpenAI's and Anthropic's APIs against a running server that serves German; CLIENTS names some of them.
clients: $(INSTALLED)
	@$(BIN)/python -m tools.clients --host $(HOST) $(CLIENTS)

# Fetch the programs that the tests of deployment run; without them, these tests are skipped.
deploy-tools:
	bash tools/deploy_tools.sh

# Install the browser that the tests of the playground run; without it, they are skipped. As root on Debian. The fonts are
# for screenshots.
browser:
	apt-get update -qq
	apt-get install -y -qq --no-install-recommends chromium-headless-shell fonts-noto-core fonts-noto-cjk

# Install the store that the tests of shared limits run; without it, they are skipped. As root on Debian.
redis:
	apt-get update -qq
	apt-get install -y -qq --no-install-recommends redis-server

# Build what the test of the DeepSpeed recipe runs, against the torch that is installed; without it, the test is skipped.
# It is apart from .venv, because transformers and accelerate behave differently where they find it.
deepspeed: $(INSTALLED)
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --upgrade --target .tools/deepspeed deepspeed==0.19.8 hjson==3.1.0

# Fetch what the tests of `--report-to trackio` and `wandb` run; without it, they are skipped. It is apart from .venv, whose
# pillow is newer than Trackio allows, and works all the same.
trackers: $(INSTALLED)
	$(BIN)/pip install --quiet --no-deps --upgrade --target .tools/trackers trackio==0.43.0 gradio_client==2.7.2 wandb==0.31.0

# Fetch what the tests of vLLM's V2 model runner need on a CPU. It is apart from .venv, because other packages behave
# differently where they find it.
triton: $(INSTALLED)
	$(BIN)/pip install --quiet --no-deps --upgrade --target .tools/triton triton==3.8.0

# Run the engine's tests under vLLM's V2 model runner; TESTS names some of them. They have one thread: models are tiny, and
# most of the time Triton interprets kernels in Python.
test-v2: $(INSTALLED)
	@test -d $(TRITON) || { echo "Triton is missing: make triton"; exit 1; }
	OMP_NUM_THREADS=1 VLLM_CPU_OMP_THREADS_BIND=nobind VLLM_USE_V2_MODEL_RUNNER=1 \
	    $(BIN)/pytest $(IN_TWO) $(or $(TESTS),tests/cc_serve/engine)

# Run the tests that the table of model families is made of, under both model runners, and record what they compare.
families: $(INSTALLED)
	@test -d $(TRITON) || { echo "Triton is missing: make triton"; exit 1; }
	RECORD_FAMILIES=1 OMP_NUM_THREADS=1 $(BIN)/pytest -m shows $(IN_TWO) tests/cc_train tests/cc_serve/engine
	RECORD_FAMILIES=1 $(MAKE) --no-print-directory test-v2 TESTS="-m shows tests/cc_serve/engine"

# Build an image and run it; as root on Debian 12, without a daemon. TARGET=cuda builds the one for GPUs, 10 GB, and runs it
# as far as it goes without one.
image-test: $(INSTALLED)
	PYTHON=$(BIN)/python bash tools/image_test.sh

# Say which symbols that we use another vLLM release has moved: make audit-vllm VERSION=0.33.0. It fetches the wheel once.
audit-vllm: $(INSTALLED)
	@$(BIN)/python -m tools.audit_vllm $(VERSION)

# Everything that `make` wrote; models/ and outputs/ are made again by `make run`.
clean:
	rm -rf .venv .tools build dist *.egg-info models outputs .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
