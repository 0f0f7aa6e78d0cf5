# Prognode on a machine with python3 (3.11 or newer) and make:
#   make demo     the main job, end to end, on synthetic data        make test     everything that CI checks
#   make lab      the laboratory's whole study on a synthetic cohort
#   make lint     style, types, import rules                         make bench    measured times beside their floors
#   make images   the services' images, built, run and tried together (as root; buildah)
#   make cluster  the Helm chart on a real API server
#   make lock     choose the newest allowed dependencies             make clean    back to a fresh checkout
#   make sbom     what the product is made of (CycloneDX)            make audit    known vulnerabilities of its dependencies
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# files of tests that run at one time, each with servers of its own
TEST_PROCESSES ?= 2
SHELL  := /bin/sh
.DELETE_ON_ERROR:
.PHONY: demo lab test lint lock bench images cluster clean components sbom audit

demo: $(VENV)/runtime.stamp
	@$(BIN)/prognode demo --out out/demo

# the study that the demonstration recipe comes from: training/demonstration_recipe.json is its recipe.json
lab: $(VENV)/runtime.stamp
	@$(BIN)/prognode weights random --out out/lab/resnet50-random.onnx
	@$(BIN)/prognode synth cohort --out out/lab/cohort
	@$(BIN)/prognode train out/lab/cohort/cohort.csv --out out/lab/study \
		--extractor out/lab/resnet50-random.onnx --name prognode-demonstration --version 2

test: components $(VENV)/dev.stamp lint
	@echo "== tests"
	@status=0; $(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS) \
		|| status=$$?; \
	tools/system_packages.sh report || status=1; exit $$status

lint: $(VENV)/dev.stamp
	@echo "== ruff"
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet .
	@echo "== mypy"
	@$(BIN)/mypy --no-error-summary
	@echo "== import rules"
	@$(BIN)/lint-imports --no-logo

bench: $(VENV)/dev.stamp
	@$(BIN)/python -m bench

# BASE=stand-in builds on a Debian made here, where no registry can be reached
images: components $(VENV)/dev.stamp
	@echo "== images"
	@tools/images.sh $(BASE)
	@tools/fetch_compose.sh
	@echo "== a node of containers"
	@CI=true $(BIN)/python -m pytest tests/images $(PYTEST_ARGS)

# minutes, the first time: kube-apiserver is built from its sources
cluster: $(VENV)/dev.stamp
	@tools/system_packages.sh install
	@tools/fetch_helm.sh
	@tools/fetch_cluster.sh
	@$(BIN)/python -m pytest tests/cluster

components:
	@echo "== components for the tests"
	@tools/system_packages.sh install
	@echo "== OHIF viewer"
	@tools/fetch_ohif.sh
	@echo "== Kafka broker"
	@tools/fetch_kafka.sh
	@echo "== S3 server"
	@tools/fetch_versitygw.sh
	@echo "== Triton server"
	@tools/fetch_triton.sh
	@echo "== hadolint"
	@tools/fetch_hadolint.sh
	@echo "== Helm"
	@tools/fetch_helm.sh

$(BIN)/python:
	@echo "== environment in $(VENV)"
	@tools/make_environment.sh $(VENV) $(PYTHON)

$(VENV)/runtime.stamp: requirements.lock pyproject.toml | $(BIN)/python
	@echo "== packages of requirements.lock"
	@tools/install_locked.sh $(VENV) requirements.lock
	@touch $@

# everything of requirements.lock in the same versions, and the tools
$(VENV)/dev.stamp: requirements-dev.lock pyproject.toml | $(BIN)/python
	@echo "== packages of requirements-dev.lock"
	@tools/install_locked.sh $(VENV) requirements-dev.lock
	@touch $@ $(VENV)/runtime.stamp

lock:
	@tools/lock.sh

sbom:
	@tools/supply_chain.sh sbom out/sbom.cdx.json

audit:
	@tools/supply_chain.sh audit

clean:
	rm -rf $(VENV) .cache out build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
