# Commands for people. CMake builds; this file only says in which order things run.
# Nothing has to be installed by hand: `setup` comes first and is quick when all is there.

# Which unit tests `make test` repeats with sanitizers: ROOM or ROOM:FILTER. `make test-long`
# runs all of them. tsan is for the parts that have threads. A launch that never ends keeps its
# buffers, which counts as a leak.
ASAN_TESTS ?= base model graph npu:-ModuleLibrary* calibrate plan:PlanFile*:Lowering*:DensePrograms*:Schedule* \
  runtime:*Faults*:NpuAttention*:Conformance*:PackageCompiler*:KvCache*-*ALaunchThatDoesNotEnd*
TSAN_TESTS ?= base:ThreadPool*:ParallelRanges* npu:LaunchQueue*:EmulatorRequests*:DeviceRegistry*:RequestQueue*:CoremlDevice*:ProgramLoader*
ROOMS = $(foreach dir,$(wildcard src/*),$(if $(shell find $(dir) -name '*_test.cc'),$(notdir $(dir))))

PYTEST := .venv/bin/python -m pytest -q

.PHONY: help setup build environment demo test test-long test-peer check-peer test-release test-python bench profile-check compile-check fuzz format lint clean
.DEFAULT_GOAL := help
.NOTPARALLEL:  # the programs that they call run in parallel themselves

help:
	@echo "make setup      install what is missing (tools/packages.txt says what and why)"
	@echo "make build      build build/release/npumoe"
	@echo "make demo       calibrate, plan, compile and run the demo model"
	@echo "make test       unit tests, a subset with sanitizers, fuzz corpora, Python tests"
	@echo "make test-long  everything with every sanitizer"
	@echo "make test-peer  perplexity against another engine (NPUMOE_PEER=path of llama-perplexity)"
	@echo "make bench      all benchmarks (BENCH_FILTER=regex)"
	@echo "make compile-check  memory and write rate of \`npumoe compile\` on a large synthetic model"
	@echo "make profile-check  a profile of openvino:CPU against whole prefills (CHECK_ARGS)"
	@echo "make fuzz       ten minutes for each reader (FUZZ_SECONDS=600, FUZZ_TARGETS='gguf ...')"
	@echo "make format     lay the code out;  make lint  check layout and run clang-tidy"
	@echo "make clean      remove build/ and .venv/"

setup:
	@tools/setup.sh build

build: setup
	cmake --preset release > /dev/null
	cmake --build --preset release --target npumoe

demo: build
	tools/demo.sh

# Before the build, which finds the OpenVINO library in it.
environment: setup
	tools/python_env.sh

test-release: environment build
	cmake --build --preset release --target tests
	ctest --test-dir build/release --output-on-failure --no-tests=error \
	  --parallel "$$(getconf _NPROCESSORS_ONLN)"

test-python: environment build
	$(PYTEST) tests

test: test-release
	tools/sanitize.sh asan $(foreach t,$(ASAN_TESTS),'$(t)')
	tools/sanitize.sh tsan $(foreach t,$(TSAN_TESTS),'$(t)')
	tools/fuzz.sh replay
	$(MAKE) --no-print-directory test-python

test-long: export NPUMOE_LONG_TESTS = 1
test-long: test-release
	tools/sanitize.sh asan $(ROOMS:runtime='runtime:-*ALaunchThatDoesNotEnd*')
	tools/sanitize.sh tsan $(ROOMS)
	tools/fuzz.sh replay
	cmake --build --preset asan --target npumoe
	NPUMOE=build/asan/npumoe $(PYTEST) tests/bad_input_test.py
	$(MAKE) --no-print-directory test-python

# With CI=true missing data is a failure: who asks for this comparison wants it made.
test-peer: check-peer build
	tools/python_env.sh
	CI=true NPUMOE_PEER='$(abspath $(NPUMOE_PEER))' $(PYTEST) tests/quantized_model_test.py -k peer

check-peer:
	@test -x "$(NPUMOE_PEER)" || { echo "make test-peer needs NPUMOE_PEER=path of llama-perplexity;" \
	  "CONTRIBUTING.md says how to get one" >&2; exit 2; }

# FOLDER keeps model, plans and packages (20 GB); CHECK_ARGS as tools/profile_check.py --help says.
profile-check: environment build
	.venv/bin/python tools/profile_check.py "$(or $(FOLDER),build/profile-check)" $(CHECK_ARGS)

bench: setup
	cmake --preset release > /dev/null
	cmake --build --preset release --target benchmarks npumoe
	tools/bench.sh

# COMPILE_CHECK_ARGS='--layers 2 --folder DIR'; needs 10 GB in the folder for temporary files.
compile-check: environment build
	.venv/bin/python tools/compile_check.py $(COMPILE_CHECK_ARGS)

# FUZZ_SECONDS for each target, FUZZ_JOBS at a time; see CONTRIBUTING.md.
fuzz:
	@tools/setup.sh build fuzz
	tools/fuzz.sh run $(FUZZ_TARGETS)

format:
	@tools/setup.sh build lint
	tools/lint.sh --fix

lint:
	@tools/setup.sh build lint
	cmake --preset release > /dev/null
	cmake --build --preset release --target npumoe_coreml_proto
	tools/lint.sh $(LINT_FILES)

clean:
	rm -rf build .venv
