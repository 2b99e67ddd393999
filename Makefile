# Two commands on a fresh checkout: `make demo` and `make test`.

PYTHON ?= $(firstword $(foreach v,3.12 3.11 3.13 3.14,$(if $(shell python$(v) --version 2>/dev/null),python$(v))) python3)
VENV   := .venv
BIN    := $(VENV)/bin

.PHONY: demo test lint types docs dist examples figures benchmarks long cuts fuzz coverage eva tools clean

demo: $(VENV)/.demo
	$(BIN)/scpo-ctrl demo --out runs/demo

# Tests start many processes that import the package: it is compiled to bytecode once.
test: $(VENV)/.test tools
	env -u PYTHONDONTWRITEBYTECODE OPENBLAS_NUM_THREADS=1 $(BIN)/pytest -n 2

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo

# As an editor sees the package: from a folder that has nothing of it, through the installation.
types: $(VENV)/.test
	mkdir -p build/empty
	cd build/empty && ../../$(BIN)/mypy --config-file ../../pyproject.toml -p scpo_ctrl
	$(BIN)/pyright

# The site, build/docs/index.html: warnings are errors, and nothing is asked of the network once the tools are there.
docs: $(VENV)/.docs
	OPENBLAS_NUM_THREADS=1 $(BIN)/sphinx-build -q -W --keep-going -j 2 -b html docs build/docs

# Wheel and source distribution, build/dist. The wheel is for every CPython from 3.11 on (stable ABI) and, on Linux, carries the
# oldest manylinux tag that its symbols allow. It is then installed where no compiler is, and used (tests/test_installation.py);
# there it finds its dependencies in .venv. `make dist FRESH=1` installs them anew and runs all of `demo`, which takes minutes.
dist: $(VENV)/.dist
	rm -rf build/raw build/dist build/installed
	mkdir -p build/raw build/dist
	$(BIN)/python -m build --no-isolation --outdir build/raw . >build/dist.log 2>&1 || { cat build/dist.log >&2; exit 1; }
	mv build/raw/*.tar.gz build/dist
	if [ "$$(uname)" = Linux ]; then PATH="$(abspath $(BIN)):$$PATH" $(BIN)/auditwheel repair --wheel-dir build/dist build/raw/*.whl; \
		else mv build/raw/*.whl build/dist; fi
	$(BIN)/twine check --strict build/dist/*
	$(BIN)/abi3audit --strict --summary build/dist/*.whl
	$(BIN)/python -m venv --without-pip build/installed
	$(BIN)/pip --python build/installed/bin/python install --quiet --disable-pip-version-check $(if $(FRESH),,--no-deps) build/dist/*.whl
	$(if $(FRESH),,$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
		>"$$(echo build/installed/lib/python3*/site-packages)/borrowed.pth")
	$(if $(FRESH),SCPO_LONG=1 )SCPO_INSTALLED=build/installed/bin $(BIN)/pytest -q tests/test_installation.py

examples: $(VENV)/.test
	set -e; for script in examples/*.py; do echo "== $$script"; $(BIN)/python $$script; done

benchmarks: $(VENV)/.test tools
	$(BIN)/pip install --quiet --disable-pip-version-check -e ".[benchmarks]"
	set -e; for script in reference_problems python_against_c rollout_peak laws_against_network projection_against_solvers projection_in_the_loop \
		projection_instructions projection_on_targets projection_against_generated adaptation scaling nonlinear_reference paper_experiments; \
		do echo "== $$script"; $(BIN)/python examples/benchmarks/$$script.py; done

# The pictures in docs/figures, each with the table beside it; the last two take long, and scaling wants an idle machine.
figures: $(VENV)/.test
	$(BIN)/python examples/r1_regression.py --figure docs/figures/r1_regression.png
	$(BIN)/python examples/r2_malicious_expert.py --figure docs/figures/r2_malicious_expert.png
	$(BIN)/python examples/r3_double_integrator.py --figure docs/figures/phase_portrait.png
	$(BIN)/python examples/online.py --figure docs/figures/online.png
	$(BIN)/python examples/gallery.py
	for loop in heater afti_16; do cp runs/gallery/$$loop.png docs/figures/gallery_$$loop.png; done
	$(BIN)/python examples/benchmarks/adaptation.py --seeds 4 --figure docs/figures/adaptation.png
	$(BIN)/python examples/benchmarks/scaling.py --figure docs/figures/scaling.png
	$(BIN)/python examples/benchmarks/paper_experiments.py
	for problem in r1 r2; do cp runs/paper_experiments/$$problem.png docs/figures/baselines_$$problem.png; done
	$(BIN)/scpo-ctrl demo --out runs/demo
	$(BIN)/python tests/page_pictures.py runs/demo/report.html docs/figures report

# Millions of power cuts while parameters are saved, the readers of foreign bytes fuzzed: docs/device.md has the counts.
cuts: $(VENV)/.test
	SCPO_CUTS=1 $(BIN)/pytest -q -s tests/device/test_power_cuts.py

# Half an hour: analysers over all of the adaptation's C, 10^8 calls of its functions, 80 million bytes over its serial line,
# 10^6 commands from an interrupt, other rounding modes: docs/misra.md.
fuzz: $(VENV)/.test tools
	SCPO_FUZZ=1 $(BIN)/pytest -q -s tests/device/test_c_quality.py tests/device/test_interrupts.py tests/codegen/test_rounding_modes.py

# A minute: which branches of the runtime the tests' C programs take: docs/misra.md.
coverage: $(VENV)/.test tools
	SCPO_COVERAGE=1 $(BIN)/pytest -q -s tests/device/test_coverage.py

# Minutes: Frama-C's EVA over the C of an adaptation, with drivers for any input: docs/misra.md has the alarms.
eva: $(VENV)/.test tools
	@command -v frama-c >/dev/null || { [ "$$(id -u)" = 0 ] && apt-get install -y -qq --no-install-recommends frama-c-base >/dev/null; } || \
		{ echo "not installed: sudo apt-get install --no-install-recommends frama-c-base" >&2; exit 1; }
	SCPO_EVA=1 $(BIN)/pytest -q -s tests/device/test_eva.py

# The suite with all cases of its large tables, an hour or so.
long: $(VENV)/.test tools
	SCPO_LONG=1 OPENBLAS_NUM_THREADS=1 $(BIN)/pytest -n 2

# Cross compilers, emulators and sanitizers, by apt as root; otherwise what to install is printed and tests that need them skip.
tools:
	@sh .ci/tools

$(VENV)/.venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "scpo-ctrl needs Python 3.11 or newer; call make with PYTHON=/path/to/python3.x" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "no venv module: install it (Debian: apt-get install python3-venv)" >&2; exit 1; }
	@touch $@

$(VENV)/.demo: $(VENV)/.venv pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/.test: $(VENV)/.venv pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check -e ".[test,ecos]"
	@touch $@ $(VENV)/.demo

$(VENV)/.dist: $(VENV)/.test
	$(BIN)/pip install --quiet --disable-pip-version-check -e ".[dist]"
	@touch $@

$(VENV)/.docs: $(VENV)/.venv pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check -e ".[docs]"
	@touch $@

clean:
	rm -rf $(VENV) build runs *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
