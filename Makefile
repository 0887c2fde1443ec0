# Everything runs in a virtual environment of its own; `make VENV=path` uses another one.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
# of setup.py; `make EXTRAS=dev` leaves out what other models and export.py --onnx need, and with
# sweep as well the tests start a small Ray cluster
EXTRAS ?= dev,onnx,open-clip,hf
READY = $(VENV)/.vtclip-ready

.PHONY: setup demo test test-upstream fuzz faults lint type-check format bench bench-quick check-gpu docs dist clean

setup: $(READY)

# the real Dassl.pytorch, where it is installed, is left alone
$(READY): setup.py constraints.txt toolkit/pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[$(EXTRAS)]'
	$(BIN)/python -c 'import dassl' 2>/dev/null || \
		$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ./toolkit
	touch $@

demo: $(READY)
	PYTHON=$(abspath $(BIN)/python) bash scripts/demo.sh

# one thread a process: two processes that each use all cores wait for each other
test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto

# the same suite on a checkout of the real Dassl.pytorch, which imports wilds and pandas; what wilds
# itself asks for is not needed
test-upstream: $(READY)
	@test -d '$(DASSL)/dassl' || { echo 'usage: make test-upstream DASSL=path-to-a-checkout' >&2; exit 2; }
	$(BIN)/python -m pip install --quiet --constraint constraints.txt pandas pytz
	$(BIN)/python -m pip install --quiet --no-deps wilds==1.2.2
	PYTHONPATH='$(abspath $(DASSL))' OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto

# thousands of damaged and hostile inputs, where `make test` tries a hundred of each kind
fuzz: $(READY)
	VTCLIP_FUZZ=$(or $(VTCLIP_FUZZ),3000) OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto tests/fuzz

# kills and signals at random moments, of runs and of sweeps, two runs in one folder, three
# preparations at once, full disks
faults: $(READY)
	VTCLIP_FAULTS=$(or $(VTCLIP_FAULTS),10) OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto -m '' \
		tests/faults tests/sweep tests/datasets/test_prepare.py::test_three_processes_at_once

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

type-check: $(READY)
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(READY)
	$(BIN)/python -m benchmarks

# in three minutes, to see what a change does; docs/performance.md stays as it is
bench-quick: $(READY)
	$(BIN)/python -m benchmarks --quick

# on a machine with a GPU, in ten minutes; writes output/check_gpu
check-gpu: $(READY)
	$(BIN)/python -m benchmarks.check_gpu

# the site, in docs/_build/html
docs: $(READY)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	OMP_NUM_THREADS=1 $(BIN)/python -m sphinx -W -n -q -b html docs docs/_build/html

# from what is committed, so that nothing else gets in; a commit that has a tag is the version of it
dist: $(READY)
	@tag=$$(git tag --points-at HEAD 'v*'); version=v$$($(BIN)/python -c 'import vtclip; print(vtclip.__version__)'); \
		[ -z "$$tag" ] || [ "$$tag" = "$$version" ] || \
		{ echo "error: the tag is $$tag, but vtclip/__init__.py says $$version" >&2; exit 2; }
	rm -rf build/dist dist && mkdir -p build/dist
	git archive HEAD | tar -x -C build/dist
	$(BIN)/python -m build --outdir dist build/dist

clean:
	rm -rf $(VENV) output build dist
