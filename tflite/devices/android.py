"""Latency of TFLite models on a phone, measured by `benchmark_model` through `adb`.

The user provides the tool, of TensorFlow Lite or LiteRT (see tflite/README.md). Every
run is one process on the phone with one model, one delegate and one number of threads.
It gets a real image, and its output is compared with the output on this machine.
"""

import contextlib
import secrets
import shlex
import signal
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from tfsr import metrics
from tfsr.data import read_image
from tfsr.data.embedded import HELD_OUT, photographs
from tfsr.errors import InputError, NotFiniteError
from tfsr.tflite.benchmark.profiling import summarize
from tfsr.tflite.devices import tool_log
from tfsr.tflite.devices.adb import Adb, AdbError, AdbTimeoutError
from tfsr.tflite.devices.phone import (
    check_program,
    cpu_mask,
    describe,
    phone_facts,
    thermal_status,
)
from tfsr.tflite.devices.phone_delegates import PhoneDelegate
from tfsr.tflite.runtime import TFLiteUpscaler, metadata_of
from tfsr.upscaling.upscalers import from_uint8, to_uint8

ROOT = "/data/local/tmp"  # where the shell's user may run programs
CLEAN_UP_S = 20
THERMAL_POLL_S = 5
TIMINGS = (
    "load_ms",
    "first_ms",
    "runs",
    "median_ms",
    "p95_ms",
    "min_ms",
    "mean_ms",
    "std_ms",
    "peak_memory_mb",
)


class RunError(Exception):
    """One run failed, for the reason in the message; others may succeed."""


@dataclass
class Options:
    """What to measure, and how.

    Args:
        tool: The `benchmark_model` for the phone.
        threads: Numbers of CPU threads to try; other delegates get the largest.
        delegates: The delegates to run the models on.
        runs: Timed runs; the tool may do more or fewer.
        warmup: Runs before the timed ones.
        size: Height and width of the input of dynamic models.
        image: The image to run on; a photograph of scikit-image by default.
        timeout_s: Time limit of one process of the tool.
        cool_s: How long to wait at most for a warm phone before each process.
        profile: Whether to profile operators, in processes of their own.
    """

    tool: str | Path
    threads: list[int]
    delegates: list[PhoneDelegate]
    runs: int = 30
    warmup: int = 3
    size: tuple[int, int] | None = None
    image: str | Path | None = None
    timeout_s: float = 600
    cool_s: float = 120
    profile: bool = False


def benchmark(
    files: list[str | Path], options: Options, report: dict, serial: str | None = None
) -> None:
    """Fills `report` with the measurements of `tfsr benchmark --android`.

    After an exception or Ctrl-C, `report` has what was measured before. Nothing is left
    on the phone.

    Args:
        files: `.tflite` files.
        options: What to measure.
        report: A dictionary, which gets `device`; `android`, facts about the phone;
            `results` with the keys of `tfsr.tflite.benchmark.timing` and `delegated`,
            `delegated_operators`, `operators`, `psnr_db` between the phone's output and
            this machine's, `cpu_mask`, `thermal_status` before and after; `failures`,
            the runs without a result, with their `error`; `profiles`, if asked for.
        serial: The phone's serial number, if there are several phones.

    Raises:
        InputError: If a file or the tool cannot be used.
        AdbError: If the phone cannot be reached.
    """
    models = [_Model(file, options) for file in files]
    if not Path(options.tool).is_file():
        raise InputError(f"{options.tool}: no such file; --tool names benchmark_model.")
    adb = Adb(serial)
    facts = phone_facts(adb)
    check_program(options.tool, facts["abis"])
    report["device"] = describe(facts)
    report["android"] = facts
    report["results"], report["failures"] = [], []
    if options.profile:
        report["profiles"] = []
    with _folder(adb) as folder:
        bench = _Bench(adb, folder, facts, options)
        bench.send(models)
        matrix = [
            (model, delegate, threads)
            for delegate in options.delegates
            for threads in (
                options.threads if delegate.flag is None else [max(options.threads)]
            )
            for model in models
        ]
        for model, delegate, threads in tqdm(matrix, desc=adb.serial, disable=None):
            run = {"file": model.file, "threads": threads, "delegate": delegate.name}
            try:
                result = bench.measure(model, delegate, threads)
                report["results"].append(result)
                if options.profile:
                    whole_ms = result["median_ms"] or result["mean_ms"]
                    report["profiles"].append(
                        bench.profile(model, delegate, threads, whole_ms)
                    )
            except RunError as error:
                report["failures"].append({**run, "error": str(error)})


class _Model:
    """One model with its input, and its output on this machine."""

    def __init__(self, file, options):
        self.file = str(file)
        self.size_bytes = Path(file).stat().st_size if Path(file).is_file() else 0
        self.upscaler = TFLiteUpscaler(_plain(file), size=options.size)
        height, width = self.upscaler.size
        self.shape = f"1,{height},{width},{self.upscaler.channels}"
        self.facts = {
            "file": self.file,
            "format": self.upscaler.metadata["format"],
            "size": f"{height}x{width}",
        }
        image = options.image or photographs(HELD_OUT)[0]
        pixels = read_image(image, self.upscaler.channels)
        lr = from_uint8(_fit(pixels, height, width))
        self.input_bytes = self.upscaler.input_array(lr).tobytes()
        self.sr = to_uint8(self.upscaler(lr))

    def psnr(self, output):
        """Returns the PSNR in dB of the tool's output to this machine's, both uint8."""
        try:
            sr = to_uint8(self.upscaler.from_bytes(output))
        except NotFiniteError:
            raise RunError("its output is NaN or infinite") from None
        except ValueError:
            raise RunError("its output has another size than the model's") from None
        return metrics.psnr(sr, self.sr)


def _plain(file):
    """Returns the file that a compiled file was made from, else the file itself."""
    compiled = metadata_of(file).get("compiled")
    if compiled is None:
        return file
    _, _, option = compiled.partition(":")
    plain = Path(file).with_stem(Path(file).stem.removesuffix(f"_{option}"))
    if not plain.is_file() or plain == Path(file):
        raise InputError(
            f"{file}: the file it was compiled from must lie beside it, without "
            f"_{option}, to compare the output with."
        )
    return plain


class _Bench:
    """A folder on the phone with the tool and the models in it."""

    def __init__(self, adb, folder, facts, options):
        self.adb, self.folder, self.facts, self.options = adb, folder, facts, options
        self.paths = {}  # of delegates on the phone

    def send(self, models):
        """Copies the tool, the models, their inputs and the delegates' libraries."""
        self.adb.push(self.options.tool, f"{self.folder}/benchmark_model")
        self.adb.shell(f"chmod 755 {self.folder}/benchmark_model")
        for i, model in enumerate(models):
            model.name = str(i)
            self.adb.push(model.file, f"{self.folder}/{i}.tflite")
            with tempfile.NamedTemporaryFile() as file:
                file.write(model.input_bytes)
                file.flush()
                self.adb.push(file.name, f"{self.folder}/{i}.input")
        for delegate in self.options.delegates:
            self.paths[delegate] = delegate.send(
                self.adb, self.folder, self.facts["abis"]
            )

    def measure(self, model, delegate, threads):
        """Returns one entry of `results`: a run's timings and what it ran on."""
        before = self._cool_down()
        log = self._run(
            model,
            delegate,
            threads,
            f"--input_layer_value_files=lr:{self.folder}/{model.name}.input",
            f"--output_filepath={self.folder}/output",
            f"--result_file_path={self.folder}/result",
        )
        output = self._fetch("output")
        return {
            **model.facts,
            "threads": threads,
            "delegate": delegate.name,
            **self._timings(log),
            "size_bytes": model.size_bytes,
            **tool_log.delegation(log, cpu=delegate.flag is None),
            "psnr_db": None if output is None else model.psnr(output),
            "cpu_mask": self._mask(threads),
            "thermal_status": [before, thermal_status(self.adb)],
        }

    def _timings(self, log):
        """Returns the timings of a run, read from its log and its result file."""
        found = dict.fromkeys(TIMINGS) | tool_log.timings(log)
        written = self._fetch("result")
        if written:  # the result file has percentiles, which many logs lack
            with contextlib.suppress(ValueError):
                found |= tool_log.result(written)
        if found["runs"] is None or found["mean_ms"] is None:
            raise RunError(f"the tool printed no timings: {_last_line(log)}")
        low, median, p95 = (found[key] for key in ("min_ms", "median_ms", "p95_ms"))
        known = median and p95 and low is not None
        return {**found, "spread": (p95 - low) / median if known else None}

    def profile(self, model, delegate, threads, whole_ms):
        """Returns a profile with the keys of `profiling.profile`, from the tool.

        Args:
            model: The `_Model`.
            delegate: The `PhoneDelegate` to run it on.
            threads: CPU threads.
            whole_ms: Latency of the run without profiling.
        """
        self._cool_down()
        log = self._run(
            model,
            delegate,
            threads,
            "--enable_op_profiling=true",
            "--op_profiling_output_mode=csv",
            f"--op_profiling_output_file={self.folder}/profile",
            f"--profiling_output_csv_file={self.folder}/profile",  # for older tools
        )
        written = self._fetch("profile")
        rows = tool_log.profile(written.decode(errors="replace") if written else "")
        rows = rows or tool_log.profile(log)
        if not rows:
            raise RunError("the tool gave no profile of operators")
        return {
            **model.facts,
            "threads": threads,
            "delegate": delegate.name,
            "whole_ms": whole_ms,
            **summarize([{**row, "detail": None, "mult_adds": None} for row in rows]),
        }

    def _run(self, model, delegate, threads, *more):
        """Returns the output of one process of the tool."""
        mask = self._mask(threads)
        arguments = [
            f"--graph={self.folder}/{model.name}.tflite",
            f"--num_threads={threads}",
            f"--warmup_runs={self.options.warmup}",
            f"--num_runs={self.options.runs}",
            "--input_layer=lr",
            f"--input_layer_shape={model.shape}",
            *delegate.arguments(self.paths[delegate]),
            *more,
        ]
        tool = [*(["taskset", mask] if mask else []), "./benchmark_model", *arguments]
        process = (
            f"echo $$ > pid; export LD_LIBRARY_PATH={self.folder} "
            f"ADSP_LIBRARY_PATH={self.folder}; "  # for what runs on Hexagon itself
            f"exec {shlex.join(tool)}"
        )
        command = (
            f"cd {self.folder} && rm -f result output profile && "
            f"sh -c {shlex.quote(process)}; code=$?; rm -f pid; exit $code"
        )
        try:
            code, log = self.adb.shell(command, self.options.timeout_s)
        except AdbTimeoutError:
            self.adb.shell(_kill(self.folder))
            raise RunError(f"no end within {self.options.timeout_s:g} s") from None
        self._check(code, log, delegate)
        return log

    def _check(self, code, log, delegate):
        """Raises an error with the reason if the exit code or log shows a failure."""
        reason = tool_log.refusal(log, delegate.flag)
        last = _last_line(log)
        if code in (126, 127) or "CANNOT LINK EXECUTABLE" in log:
            raise InputError(f"{self.options.tool}: the phone cannot run it ({last}).")
        if "No space left on device" in log:
            raise RunError("no space left on the phone")
        if code > 128:
            number = code - 128
            known = number in signal.valid_signals()
            name = signal.Signals(number).name if known else f"signal {number}"
            # The shell's own line, such as "Segmentation fault", says no more.
            said = log.replace(signal.strsignal(number) or "", "") if known else log
            raise RunError(f"the tool crashed ({name}) after: {_last_line(said)}")
        if reason and (code or delegate.flag):
            raise RunError(f"{delegate.name} refused the model: {reason}")
        if code:
            raise RunError(f"the tool failed (exit code {code}): {last}")

    def _fetch(self, name):
        """Returns the content of a file in the phone's folder, or None if missing."""
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / name
            if self.adb.pull(f"{self.folder}/{name}", target):
                return target.read_bytes()
        return None

    def _mask(self, threads):
        if not self.facts["taskset"]:
            return None
        return cpu_mask(self.facts["max_mhz"], threads)

    def _cool_down(self):
        """Waits up to `cool_s` while the phone is warm; returns its thermal status."""
        until = time.monotonic() + self.options.cool_s
        status = thermal_status(self.adb)
        while status and time.monotonic() < until:
            time.sleep(THERMAL_POLL_S)
            status = thermal_status(self.adb)
        return status


@contextlib.contextmanager
def _folder(adb: Adb) -> Iterator[str]:
    """Yields a new folder on the phone; then ends the tool in it and removes it."""
    folder = f"{ROOT}/tfsr-{secrets.token_hex(4)}"
    try:
        code, output = adb.shell(f"mkdir {folder}")
        if code:
            full = "No space left" in output
            reason = "no space left on the phone" if full else _last_line(output)
            raise AdbError(f"{adb.serial}: cannot make {folder} ({reason}).")
        yield folder
    finally:
        with contextlib.suppress(AdbError):  # the phone may be unreachable by now
            adb.shell(f"{_kill(folder)}; rm -rf {folder}", CLEAN_UP_S)


def _kill(folder):
    """Returns the shell command that ends the tool running in a folder, if any."""
    return f"test -f {folder}/pid && kill -9 $(cat {folder}/pid)"


def _fit(pixels, height, width):
    """Returns the middle `(height, width, C)` of an image, mirrored if too small."""
    missing = [
        max(0, n - m) for n, m in zip((height, width), pixels.shape, strict=False)
    ]
    pixels = np.pad(pixels, [(0, missing[0]), (0, missing[1]), (0, 0)], "symmetric")
    top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
    return pixels[top : top + height, left : left + width]


def _last_line(log):
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    return lines[-1] if lines else "it printed nothing"
