# Everything happens in .venv, made on first use from the hash-pinned lock files.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: run test soak lint bench peers calibrate backtest documents lock audit sbom licences \
	migrate clean

run: .venv/run.stamp
	$(BIN)/python -m service

migrate: .venv/run.stamp
	$(BIN)/python -m service migrate

test: .venv/test.stamp
	$(BIN)/python -m pytest

soak: .venv/test.stamp
	$(BIN)/python -m pytest -m soak

lint: .venv/test.stamp
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/hadolint Dockerfile

# Known vulnerabilities of what a server is installed with; says so where nobody can be asked.
audit: .venv/test.stamp
	$(BIN)/python -m tests.supply audit

# A CycloneDX bill of materials, and the list of licences.
sbom: .venv/test.stamp
	$(BIN)/python -m tests.supply sbom > sbom.json

licences: .venv/test.stamp
	$(BIN)/python -m tests.supply licences

# Measures on this machine and puts the figures that have an aim into the README.
bench: .venv/test.stamp
	$(BIN)/python -m tests.bench --write

# What the benchmarks compare with, each in an environment of its own.
peers: .venv/peers/llm_analysis/stamp .venv/peers/accelerate/stamp

.venv/peers/llm_analysis/stamp: PACKAGES := llm-analysis==0.2.2
.venv/peers/accelerate/stamp: PACKAGES := accelerate==1.15.0 transformers==5.23.0 torch==2.13.0
.venv/peers/%/stamp: | .venv/pyvenv.cfg
	$(PYTHON) -m venv .venv/peers/$*
	.venv/peers/$*/bin/python -m pip --disable-pip-version-check install --quiet $(PACKAGES)
	touch $@

# Fits every coefficient anew on the measured runs and prints how well each fit holds.
calibrate: .venv/test.stamp
	for fit in energy memory throughput serving serving_encoders; do \
		$(BIN)/python -m service.calibration.$$fit || exit 1; done

# Judges every fit on rows that it had not seen; takes some minutes.
backtest: .venv/test.stamp
	$(BIN)/python -m service.calibration.backtest

# What is made from the running code: the OpenAPI document, and the pages with answers and tables.
documents: .venv/test.stamp
	$(BIN)/python -m service openapi > service/api/openapi.json
	$(BIN)/python -m tests.documents
	$(BIN)/python -m tests.supply licences

# Hashes of every file of a release are kept, so one lock serves each Python and platform. No
# address of an index is written: pip's own configuration says where packages come from.
COMPILE := $(BIN)/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras \
	--no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-emit-options --no-header
lock: .venv/test.stamp
	$(COMPILE) $(UPGRADE) --build-deps-for wheel --build-deps-for editable \
		--output-file requirements.lock pyproject.toml
	$(COMPILE) $(UPGRADE) --extra test --build-deps-for wheel --build-deps-for editable \
		--constraint requirements.lock --output-file requirements-test.lock pyproject.toml
	! grep -n '://' requirements.lock requirements-test.lock

.venv/pyvenv.cfg:
	$(PYTHON) -m venv .venv

.venv/run.stamp: requirements.lock pyproject.toml | .venv/pyvenv.cfg
	$(PIP) install --quiet --require-hashes -r requirements.lock
	$(PIP) install --quiet --no-deps --no-build-isolation -e .
	touch $@

.venv/test.stamp: requirements-test.lock pyproject.toml | .venv/pyvenv.cfg
	$(PIP) install --quiet --require-hashes -r requirements-test.lock
	$(PIP) install --quiet --no-deps --no-build-isolation -e .
	touch $@ .venv/run.stamp

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis
