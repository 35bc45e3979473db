# Each target sets up what it needs in .venv, with the pinned packages of constraints.txt.
# Another interpreter: make PYTHON=python3.12 demo
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --constraint constraints.txt --editable
# Each of the two workers has one core; more threads would compete for it.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

SUPPORTED := import sys; v = sys.version_info[:2]; (3, 10) <= v <= (3, 13) or sys.exit( \
	"Python 3.10 to 3.13 is needed, $(PYTHON) is %d.%d; choose one: make PYTHON=python3.12" % v)
FIND_PHOTO := import importlib.resources as r; print(r.files("skimage") / "data" / "astronaut.png")

# oneDNN, ATen and OpenBLAS choose their kernels by processor: once those for AVX2 alone, once the
# best that this processor has.
ISA_VARIABLES := -u ONEDNN_MAX_CPU_ISA -u ATEN_CPU_CAPABILITY -u OPENBLAS_CORETYPE
ISA_AVX2 := ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 OPENBLAS_CORETYPE=HASWELL
ISA_BEST := ONEDNN_MAX_CPU_ISA=DEFAULT

# The web page. Another browser for its tests: make CHROMIUM=/path test-web
NPM := npm --prefix web
CHROMIUM ?= $(shell command -v chromium || command -v chromium-browser || command -v google-chrome)
WEB_DATA := $(abspath $(VENV)/web-test-data)
WEB_DATA_SOURCES := tests/support/web_test_data.py $(wildcard src/trg/bundles/*) $(shell find src/trg/geometry src/trg/inference -name '*.py')
NODE_NEEDED := node -e 'process.exit(process.versions.node.split(".")[0] >= 20 ? 0 : 1)'

RELEASE_TOOLS := $(VENV)/release-tools
SCHEMA := $(BIN)/check-jsonschema --quiet --builtin-schema vendor

.PHONY: demo picture docs kernels test test-slow test-all test-isa test-cluster test-installs release web test-web lint format clean

# pip is the last thing that venv installs.
$(BIN)/pip:
	@$(PYTHON) -c '$(SUPPORTED)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml constraints.txt | $(BIN)/pip
	$(INSTALL) ".[train,test,dev]"
	touch $@

$(VENV)/installed-demo: pyproject.toml constraints.txt | $(BIN)/pip
	$(INSTALL) ".[demo]"
	touch $@

# From nothing to a head pose: out/astronaut.jpg and out/astronaut.jsonl.
demo: $(VENV)/installed-demo
	$(BIN)/trg predict "$$($(BIN)/python -c '$(FIND_PHOTO)')" -o out --draw

# The image in docs/ of what `make demo` draws, made again after the weights have changed.
picture: demo
	mkdir -p docs/images
	cp out/astronaut.jpg docs/images/astronaut.jpg

$(VENV)/installed-docs: pyproject.toml constraints.txt | $(BIN)/pip
	$(INSTALL) ".[docs]"
	touch $@

# The documentation site, in build/site; a broken link or a missing docstring is an error. To read it:
# python3 -m http.server --directory build/site
docs: $(VENV)/installed-docs
	$(BIN)/python -m scripts.build_docs

# Compiles the renderer once, not once in each process of the tests; quick when that is done.
kernels: $(VENV)/installed
	$(BIN)/trg synth --sheet $(VENV)/kernels.png --count 8

test: lint kernels
	$(PYTEST)

test-slow: kernels
	$(PYTEST) -m slow

test-all: test test-slow

# Tests that compare floating-point results, with the code for other processors.
test-isa: kernels
	env $(ISA_VARIABLES) $(ISA_AVX2) $(PYTEST) -m "numeric and not slow"
	env $(ISA_VARIABLES) $(ISA_BEST) $(PYTEST) -m "numeric and not slow"

# The product with the newest and the lowest dependencies it allows, on several Pythons.
# Some of them: make test-installs INSTALLS="3.12 lowest-3.10"
test-installs:
	$(PYTHON) .ci/installs.py $(INSTALLS)

$(RELEASE_TOOLS)/installed: .ci/release-tools.txt
	$(PYTHON) -m venv --clear $(RELEASE_TOOLS)
	$(RELEASE_TOOLS)/bin/python -m pip install --quiet --requirement $<
	touch $@

# Wheel, sdist, SBOM, notes and checksums of the last commit, in dist/: see CONTRIBUTING.md.
# Of a tagged commit: make release TAG=v0.1.0. Before the version is ready: make release DRY_RUN=1
release: $(RELEASE_TOOLS)/installed
	$(RELEASE_TOOLS)/bin/python .ci/release.py $(if $(TAG),--tag $(TAG)) $(if $(DRY_RUN),--dry-run)

web/node_modules/.package-lock.json: web/package.json web/package-lock.json
	@$(NODE_NEEDED) || { echo "Node.js 20 or later is needed, with npm"; exit 1; }
	$(NPM) ci
	touch $@

# The page that `trg web` serves, in src/trg/web_page; wheels that are built afterwards carry it.
web: web/node_modules/.package-lock.json
	$(NPM) run build

# Pictures and numbers that the tests of the page compare with: some minutes, once.
$(WEB_DATA)/pictures.json: $(WEB_DATA_SOURCES) | kernels
	rm -rf $(WEB_DATA)
	$(BIN)/python -m tests.support.web_test_data $(WEB_DATA)

# The package for browsers in Node.js, then the page in Chromium.
test-web: web $(WEB_DATA)/pictures.json
	@test -x "$(CHROMIUM)" || { echo "Chromium is needed: apt-get install chromium, or CHROMIUM=/path"; exit 1; }
	$(NPM) run check
	TRG_WEB_TEST_DATA=$(WEB_DATA) $(NPM) test
	TRG_WEB_TEST_DATA=$(WEB_DATA) CHROMIUM="$(CHROMIUM)" PYTHON=$(abspath $(BIN)/python) $(NPM) run test:browser

# `trg label` on a Ray cluster of three raylets on this machine.
test-cluster: $(VENV)/installed
	$(INSTALL) ".[test,ray]"
	$(BIN)/python -m pytest -n 0 -m slow tests/trg/app/test_label.py tests/trg/app/test_label_ray.py

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(SCHEMA).github-workflows .github/workflows/*.yml
	$(SCHEMA).dependabot .github/dependabot.yml
	$(SCHEMA).github-issue-forms .github/ISSUE_TEMPLATE/*.yml
	$(SCHEMA).citation-file-format CITATION.cff
	$(BIN)/zizmor --quiet --offline .github
	! command -v actionlint >/dev/null || actionlint

format: $(VENV)/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist web/node_modules web/packages/*/dist src/trg/web_page
