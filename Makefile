# `make serve` and `make test` are all one needs; both make .venv on their first run.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/pip --disable-pip-version-check install -q -c constraints.txt

# Every pytest process and every engine it starts would otherwise take one OpenMP thread per core, and threads that
# outnumber free cores spin on each other: a step of the demo model then takes ten times as long.
TEST_ENV := OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1

PYTEST := $(TEST_ENV) $(BIN)/python -m pytest
# A process a core, each with whole files of tests, so that what a file's tests share is made once.
ALONGSIDE := -n auto --maxprocesses=8 --dist loadfile

.PHONY: serve quick test test-full test-topologies test-gpu coverage fuzz fuzz-api gallery screenshots docs check format wheel constraints
.PHONY: bench bench-full bench-refiner bench-upscale bench-compiled bench-controls bench-gpu bench-xinference bench-against bench-gate

serve: .venv/.installed
	$(BIN)/sdxl-gateway serve $(if $(MODEL),--model '$(MODEL)') $(if $(HOST),--host $(HOST)) $(if $(PORT),--port $(PORT)) \
		$(if $(LORAS),--loras '$(LORAS)')

# The loop one works in: all but servers and engines as they are run, what paints with real models, and what takes its time.
LIVE := tests/live tests/docs/test_readme_runs.py
SLOW := tests/engine tests/demo tests/benchmarks tests/decoding tests/backends/test_process.py tests/jobs/test_simulation.py \
	tests/admission/test_many_large_uploads.py tests/cli/test_pulling_file.py
quick: .venv/.installed-dev
	$(PYTEST) $(ALONGSIDE) $(LIVE:%=--ignore=%) $(SLOW:%=--ignore=%)

test: .venv/.installed-dev
	$(PYTEST) $(ALONGSIDE)

test-full: .venv/.installed-dev
	$(PYTEST) -m "full or not full"

# What clients rely on, in front of one engine process, of two, and of two gateways before two replicas in a Ray cluster.
SDK_TESTS := tests/live/test_openai_sdk.py tests/live/test_openai_suite.py tests/live/test_node_clients.py
test-topologies: .venv/.installed-dev
	$(PIP) -e '.[cluster]'
	for topology in one engines ray; do TEST_TOPOLOGY=$$topology $(PYTEST) -p no:randomly $(SDK_TESTS) || exit 1; done

# What paints, on a GPU: the tests of the engine that say what a picture is.
GPU_TESTS := tests/engine/test_parity.py tests/engine/test_blends.py tests/engine/test_engine.py tests/engine/test_few_steps.py \
	tests/engine/test_image_prompt.py tests/engine/test_inpaint_crop.py tests/engine/test_memory_modes.py \
	tests/engine/test_phases.py tests/engine/test_refiner.py tests/engine/parts tests/engine/stages tests/engine/models tests/engine/unet
GPU_LIVE := tests/live/test_engine_killed.py tests/live/test_budgets.py
test-gpu: .venv/.installed-dev
	TEST_DEVICE=cuda $(PYTEST) $(ALONGSIDE) $(GPU_TESTS)
	TEST_DEVICE=cuda $(PYTEST) -p no:randomly $(GPU_LIVE)

# Lines and branches that no test in this process runs; engines and servers of their own are not looked into.
coverage: .venv/.installed-dev
	$(PYTEST) $(ALONGSIDE) $(LIVE:%=--ignore=%) --cov --cov-report=term-missing:skip-covered

# Ten minutes for each parser that meets what strangers send; a crash leaves its input in fuzz/.
FUZZ_SECONDS ?= 600
FUZZ_TARGETS ?= json_body large_json form_body file_form lora_form compressed_body data_url model_name prompt batch_lines \
	lora_header lora_metadata side_car checkpoint_file picture_file written_recipe http_head header_fields
fuzz: .venv/.installed-dev
	$(PIP) -e '.[fuzz]'
	for target in $(FUZZ_TARGETS); do \
		$(TEST_ENV) $(BIN)/python -m tests.fuzz.run $$target -artifact_prefix=fuzz/ -max_total_time=$(FUZZ_SECONDS) \
			-timeout=20 -rss_limit_mb=3000 -max_len=65536 -print_final_stats=1 || exit 1; \
	done

# The server held to its own /openapi.json.
fuzz-api: .venv/.installed-dev
	$(PIP) -e '.[fuzz]'
	$(TEST_ENV) $(BIN)/python -m tests.fuzz.api --max-examples 100

# A picture for each feature, asked of a server on the demo model; look at them.
gallery: .venv/.installed-dev
	$(TEST_ENV) $(BIN)/python -m tools.gallery

# The page's views, on a server with the demo model, as docs/images/page*.png; look at them.
screenshots: .venv/.installed-dev
	$(TEST_ENV) $(BIN)/python -m tools.screenshots

# A site of all that is written here, in build/site; a link or an anchor that leads nowhere ends it.
docs: .venv/.installed
	$(PIP) -e '.[docs]'
	$(BIN)/python -m tools.site

check: .venv/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint Dockerfile

format: .venv/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Builds the wheel into dist/, then installs it into an empty environment and paints with it in an empty folder.
wheel: .venv/.installed
	rm -rf dist
	$(BIN)/pip --disable-pip-version-check wheel -q --no-deps -w dist .
	$(BIN)/python -m tools.try_wheel dist/*.whl

bench: .venv/.installed-dev
	$(BIN)/python -m benchmarks.run

bench-full: .venv/.installed-dev
	$(BIN)/python -m benchmarks.full

bench-refiner: .venv/.installed-dev
	$(BIN)/python -m benchmarks.refiner

bench-upscale: .venv/.installed-dev
	$(BIN)/python -m benchmarks.upscale

bench-compiled: .venv/.installed-dev
	$(BIN)/python -m benchmarks.compiled

bench-controls: .venv/.installed-dev
	$(BIN)/python -m benchmarks.controls

bench-gpu: .venv/.installed-dev
	$(BIN)/python -m benchmarks.gpu

# What comes before painting: requests that are turned away, and what it costs to be let in.
bench-gate: .venv/.installed-dev
	$(BIN)/python -m benchmarks.gate

bench-xinference: .venv/.installed-dev
	$(BIN)/python -m benchmarks.xinference --python '$(XINFERENCE)'

# This checkout against another one, such as a worktree of an older commit.
bench-against: .venv/.installed-dev
	$(BIN)/python -m benchmarks.against '$(OTHER)'

# torch goes first: constraints.txt then holds its version, and what follows finds it in place.
.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(PIP) torch
	$(PIP) -e .
	touch $@

.venv/.installed-dev: .venv/.installed
	$(PIP) -e '.[dev]'
	touch $@

# Resolves anew in a clean environment, then pins what came out; a local version such as +cpu is left off.
constraints:
	rm -rf .venv-constraints && $(PYTHON) -m venv .venv-constraints
	.venv-constraints/bin/pip install -q torch==2.13.0
	.venv-constraints/bin/pip install -q -e '.[dev,docs,fuzz]'
	head -2 constraints.txt > constraints.new
	.venv-constraints/bin/pip list --format=freeze --exclude-editable | grep -v '^pip==' | sed 's/+[a-z0-9.]*$$//' \
		>> constraints.new
	mv constraints.new constraints.txt
	rm -rf .venv-constraints
