"""Measures whether a profile taken from a device predicts whole prefills on it, and whether the plan
made with it is the fastest: profile, plans by chunk length and by strategy, prefills with each of
them in turn, first and second start. Prints tables; every time in them is measured, every
prediction modelled with the profile that was measured just before.

    NPUMOE_OPENVINO_THREADS=1 NPUMOE_OPENVINO_CORE=1 \\
        .venv/bin/python tools/profile_check.py /tmp/check --device openvino:CPU --processors 0 1
"""

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STRATEGIES = ("cpu", "base", "tiers", "tiers+groups", "paper", "optimal")


def bind(process, engine_processor, device_processor):
    """Our main thread to one processor, every other thread of the process to the other one: left
    alone, the system lets both share one for seconds, and both take twice as long."""
    for task in map(int, os.listdir(f"/proc/{process}/task")):
        os.sched_setaffinity(task, {engine_processor if task == process else device_processor})


class Npumoe:
    def __init__(self, program, processors):
        self.program, self.processors = program, processors

    def __call__(self, *arguments, timed=False):
        command = [self.program, *map(str, arguments)]
        print("+", *map(shlex.quote, command), file=sys.stderr, flush=True)
        with tempfile.TemporaryFile("w+") as output:  # a pipe that nobody reads would fill up
            process = subprocess.Popen(command, stdout=output, stderr=subprocess.PIPE, text=True)
            for line in process.stderr:
                # From the first progress of the measurement on, all threads are there.
                if timed and self.processors and line.startswith(("benchmark:", "launching:", "CPU:")):
                    bind(process.pid, *self.processors)
                print(line, end="", file=sys.stderr, flush=True)
            if process.wait() != 0:
                sys.exit(f"exit code {process.returncode}")
            output.seek(0)
            return output.read()


def table(header, rows):
    rows = [header, *[[str(cell) for cell in row] for row in rows]]
    widths = [max(len(row[i]) for row in rows) for i in range(len(header))]
    for row in rows:
        cells = [row[0].ljust(widths[0])] + [c.rjust(w) for c, w in zip(row[1:], widths[1:])]
        print("  ".join(cells).rstrip())
    print(flush=True)


def spread(times):
    low, _, high = statistics.quantiles(times, n=4, method="inclusive")
    return (high - low) / 2 / statistics.median(times)


class Check:
    def __init__(self, options):
        self.options = options
        self.folder = options.folder
        self.npumoe = Npumoe(options.npumoe, options.processors)
        self.profile = self.folder / "measured.toml"
        self.calibration = self.folder / "calibration.json"
        self.model = options.model or self.folder / "synthetic"

    def prepare(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.model / "config.json").exists():
            subprocess.run([sys.executable, ROOT / "tools/make_synthetic_model.py", self.model,
                            "--layers", "2"], check=True)
        if not self.calibration.exists():
            self.npumoe("calibrate", self.model, "--ids-file", self.model / "random.ids",
                        "--max-tokens", self.options.calibration_tokens, "-o", self.calibration)

    def measure_profile(self):
        if self.options.keep_profile and self.profile.exists():
            return
        config = json.loads((self.model / "config.json").read_text())
        print(self.npumoe("profile", "--device", self.options.device, "-t", self.options.threads,
                          "--hidden", config["hidden_size"], "--intermediate",
                          config["moe_intermediate_size"], "-o", self.profile, timed=True))

    def plan(self, name, *arguments):
        path = self.folder / f"{name}.plan.json"
        self.npumoe("plan", self.model, "--calibration", self.calibration, "--chip", self.profile,
                    "--prompt-tokens", self.options.prompt, *arguments, "-o", path)
        self.npumoe("compile", self.model, "--plan", path, "--cache", self.folder / "cache")
        return path

    def bench(self, plan, repetitions):
        return json.loads(self.npumoe(
            "bench", self.model, "--plan", plan, "--device", self.options.device, "-t",
            self.options.threads, "--cache", self.folder / "cache", "-p", self.options.prompt, "-r",
            repetitions, "--json", timed=True))

    def check_chunks(self):
        rows, errors, starts = [], [], []
        for chunk in self.options.chunks:
            plan = self.plan(f"chunk-{chunk}", "--chunk", chunk, "--min-npu-share",
                             self.options.min_npu_share)
            first = self.bench(plan, 1)
            report = self.bench(plan, self.options.repetitions)
            starts.append((chunk, f"{first['open_ms']:.0f} ms", f"{report['open_ms']:.0f} ms"))
            time, predicted = report["prefill"]["time_ms"], report["prefill"]["predicted_ms"]
            errors.append(abs(predicted / time - 1))
            rows.append((chunk, f"{time:.1f} ms", f"{100 * report['prefill']['spread']:.1f}%",
                         f"{predicted:.1f} ms", f"{100 * (predicted / time - 1):+.1f}%",
                         f"{100 * report['filled_rows'] / report['assignments']:.0f}%",
                         report["dropped_rows"]))
            for name, stage in report["stages"].items():
                rows.append((f"  {name}", f"{stage['time_ms']:.1f} ms", f"{100 * stage['spread']:.1f}%",
                             f"{stage['predicted_ms']:.1f} ms", "", "", ""))
        print(f"Prefill of {self.options.prompt} tokens, plan optimal, by chunk length\n")
        table(["chunk", "measured", "spread", "predicted", "error", "rows on NPU", "dropped"], rows)
        print(f"median error {100 * statistics.median(errors):.1f}%\n")
        table(["chunk", "first start", "second start"], starts)

    def check_strategies(self):
        plans = {name: self.plan(f"s-{name}", "--strategy", name, "--overflow", "spill")
                 for name in STRATEGIES}
        times, reports = {name: [] for name in plans}, {}
        for _ in range(self.options.rounds):
            for name, plan in plans.items():
                reports[name] = self.bench(plan, self.options.repetitions)
                times[name] += reports[name]["times_ms"]
        rows = [(name, reports[name]["chunk_tokens"], reports[name]["programs"],
                 f"{100 * reports[name]['filled_rows'] / reports[name]['assignments']:.0f}%",
                 f"{statistics.median(t):.1f} ms", f"{100 * spread(t):.1f}%",
                 f"{reports[name]['prefill']['predicted_ms']:.1f} ms") for name, t in times.items()]
        print(f"Prefill of {self.options.prompt} tokens by strategy, {self.options.rounds} rounds of "
              f"{self.options.repetitions} in turn\n")
        table(["strategy", "chunk", "programs", "rows on NPU", "measured", "spread", "predicted"], rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path, help="for model, profile, plans and packages (20 GB)")
    parser.add_argument("--device", default="openvino:CPU")
    parser.add_argument("--model", type=Path, help="with random.ids in it; default: a synthetic one")
    parser.add_argument("--npumoe", default=os.environ.get("NPUMOE", str(ROOT / "build/release/npumoe")))
    parser.add_argument("--processors", type=int, nargs=2, metavar=("ENGINE", "DEVICE"),
                        help="bind npumoe's main thread and all other threads (with -t 1: the device's)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--prompt", type=int, default=1024)
    parser.add_argument("--chunks", type=int, nargs="+", default=[128, 256, 512, 1024])
    parser.add_argument("--min-npu-share", type=float, default=0.5)
    parser.add_argument("--calibration-tokens", type=int, default=8192)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keep-profile", action="store_true", help="use FOLDER/measured.toml if it is there")
    parser.add_argument("--only", choices=["profile", "chunks", "strategies"], nargs="+",
                        default=["profile", "chunks", "strategies"])
    check = Check(parser.parse_args())
    check.prepare()
    if "profile" in check.options.only:
        check.measure_profile()
    if "chunks" in check.options.only:
        check.check_chunks()
    if "strategies" in check.options.only:
        check.check_strategies()


if __name__ == "__main__":
    main()
