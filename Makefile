# Every target sets up what it needs in .venv; only Python 3.11+, make and git are required.

PYTHON ?= python3
VENV ?= .venv
CONSTRAINTS ?= constraints.txt
EXTRA ?= dev
BIN := $(VENV)/bin
PACKAGES := $(shell find models datasets strategies benchmark reports -type d -not -name __pycache__)
READY := $(VENV)/.ready

.PHONY: help demo test test-plain bench soak fuzz lint check slow wheel test-wheel test-lowest docs tables release clean
.PHONY: gpu gpu-checks gpu-bench gpu-runs gpu-miniature gpu-publish

help:
	@echo "make demo    train three strategies on built-in synthetic images and print their leaderboard"
	@echo "make test    run the tests"
	@echo "make bench   measure speed against goals, print the table and put it into docs/performance.md (25 minutes)"
	@echo "make gpu     prove a GPU: gpu-checks, gpu-bench and gpu-runs, in less than ten minutes; see docs/guides/gpu.md"
	@echo "make gpu-miniature   rehearse it on a CPU; gpu-publish puts results of a GPU into the documents"
	@echo "make lint    lint, format, import contracts, types"
	@echo "make check   lint and test"
	@echo "make soak    kill runs at random moments, and --force, migrate and publish at every step (minutes)"
	@echo "make fuzz    try 20,000 mutated inputs and command lines (minutes)"
	@echo "make slow    run the tests that take minutes"
	@echo "make docs    build the site into site/; links and references are checked"
	@echo "make wheel   build and check the wheel and the source distribution in dist/"
	@echo "make tables  check that published tables and generated pages are up to date"
	@echo "make test-wheel    install the wheel into a fresh environment and use it in an empty folder"
	@echo "make test-lowest   run the tests with the lowest versions that pyproject.toml allows"
	@echo "make release VERSION=0.2.0   see RELEASE.md"

# The folders are prerequisites, because a strict editable install links files one by one: a new file changes its
# folder's modification time, and has to be linked.
$(READY): pyproject.toml constraints.txt $(PACKAGES)
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c $(CONSTRAINTS) -e ".[$(EXTRA)]" --config-settings editable_mode=strict
	@touch $(READY)

demo: $(READY)
	$(BIN)/stampbench run --strategy standard,stamp,stamp_plus --dataset phantom2d --n-train 25 --folds 0 --protocol quick --runs demo-runs
	$(BIN)/stampbench leaderboard --runs demo-runs
	@echo
	@echo "Each row is a record in demo-runs/. Next steps:"
	@echo "  $(BIN)/stampbench list strategies"
	@echo "  $(BIN)/stampbench run --strategy stamp_plus --dataset FOLDER --folds 0 --protocol quick   # your own images"
	@echo "  $(BIN)/stampbench run --help"

test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal --ignore=tests/perf --durations 10 $(ARGS)

# The tests of everything that trains, with plain instead of fast kernels.
test-plain: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 tests/benchmark/training tests/benchmark/execution/test_runner.py tests/strategies \
		--kernels plain $(ARGS)

bench: $(READY)
	$(BIN)/pytest tests/perf -m "(slow or not slow) and not gpu" --benchmark-only --benchmark-quiet -p no:xdist \
		--write-table docs/performance.md $(ARGS)

# The machine of a GPU may have no network and a Python of its own, so that nothing is set up: a .venv is used if there
# is one, else the active Python, or what PYTHON names. COMMIT names the commit of a copy without git.
GPU_PYTHON := $(if $(filter file,$(origin PYTHON)),$(firstword $(wildcard $(BIN)/python) $(PYTHON)),$(PYTHON))
DEVICE ?= cuda
GPU_OUTPUT ?= build/gpu
PROVE = @$(GPU_PYTHON) tools/gpu.py --device $(DEVICE) --output $(GPU_OUTPUT) $(if $(COMMIT),--commit $(COMMIT))

gpu:
	$(PROVE) checks bench runs

gpu-checks gpu-bench gpu-runs:
	$(PROVE) $(@:gpu-%=%)

gpu-miniature:
	@$(GPU_PYTHON) tools/gpu.py --device cpu --output build/gpu-miniature checks bench runs

gpu-publish:
	@$(GPU_PYTHON) tools/gpu.py --output $(GPU_OUTPUT) publish

slow: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/pytest -m slow --ignore=tests/perf $(ARGS)

# Kill runs at random moments, twenty times for each kind of strategy; kill --force, migrate and publish before every
# step; check that whatever `submit check` accepts can be published.
soak: $(READY)
	SOAK_ROUNDS=20 OMP_NUM_THREADS=1 $(BIN)/pytest tests/benchmark/execution/test_soak.py \
		tests/benchmark/records -k "soak or killed or whatever_is_accepted" $(ARGS)

# Try mutated inputs of every kind; a failing example is printed with the decisions that made it.
fuzz: $(READY)
	FUZZ_EXAMPLES=$${FUZZ_EXAMPLES:-1650} OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 tests/fuzz $(ARGS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/codespell

check: lint test test-plain

# The wheel is built from the source distribution, so that nothing else gets into it.
wheel: $(READY)
	rm -rf dist
	$(BIN)/python -m build --outdir dist .
	$(BIN)/twine check --strict dist/*

test-wheel: $(READY)
	$(BIN)/pytest tests/test_distribution.py -m "slow or not slow" $(ARGS)

# In an environment of its own, without linters, which need newer versions. The lowest PyTorch comes without CUDA from PyTorch's index, if pip is set up to use it.
test-lowest:
	mkdir -p build
	$(PYTHON) tools/lowest_versions.py > build/lowest.txt
	$(MAKE) test VENV=.venv-lowest CONSTRAINTS=build/lowest.txt EXTRA=test

docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	$(BIN)/pytest tests/test_site.py -m "slow or not slow" $(ARGS)

tables: $(READY)
	$(BIN)/stampbench render --check README.md docs/networks.md leaderboards/*.md
	$(BIN)/stampbench store schema | diff docs/records.md -
	$(BIN)/pytest -q tests/test_published_documents.py tests/benchmark/records/test_publish.py \
		tests/benchmark/records/test_documents.py tests/benchmark/cli/test_datasets.py $(ARGS)

# Hashes of all packages but PyTorch, whose builds with and without CUDA come from different indexes.
constraints-hashed.txt: constraints.txt $(READY)
	$(BIN)/pip install --quiet --disable-pip-version-check uv
	{ echo "# Generated by 'make constraints-hashed.txt' from constraints.txt, without PyTorch."; grep -v '^torch==' constraints.txt | \
		$(BIN)/uv pip compile --quiet --no-deps --generate-hashes --universal --python-version 3.11.9 --no-header --no-annotate -; \
	} > $@.new
	mv $@.new $@

release: $(READY)
	$(BIN)/python tools/release.py $(VERSION)

clean:
	rm -rf $(VENV) .venv-lowest build dist site *.egg-info demo-runs
