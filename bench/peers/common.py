"""What the PyTorch scripts share: timing on the GPU, and rows in the JSON of `spatialstack bench --json`, so that `--compare` lines them up."""
import datetime
import json
import os
import statistics
import subprocess
import sys
import time


def import_torch():
    """PyTorch with a CUDA card, or a sentence and the end of the script."""
    try:
        import torch
    except ImportError as error:
        sys.exit(f"PyTorch is needed: {error}.")
    if not torch.cuda.is_available():
        sys.exit(f"PyTorch {torch.__version__} finds no CUDA card.")
    return torch


def driver() -> str:
    try:
        query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        return subprocess.run(query, capture_output=True, text=True, check=True).stdout.split("\n")[0].strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


class Report:
    """Rows as they are measured: printed at once, written at the end."""

    def __init__(self, kind: str, engine: str, **about: str):
        torch = import_torch()
        self.head = dict(kind=kind, engine=engine, card=torch.cuda.get_device_name(), driver=driver(),
                         date=datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"), **about)
        self.rows: list[dict] = []
        print(f"{engine} on {self.head['card']}", file=sys.stderr)

    def add(self, name: str, variant: str, shape: str, milliseconds: float | None = None, flops: float = 0, bytes: float = 0, note: str = "", **more) -> None:
        row: dict = dict(name=name, variant=variant, shape=shape)
        if milliseconds is not None:
            row["milliseconds"] = milliseconds
            if flops:
                row["tflops"] = flops / milliseconds / 1e9
            if bytes:
                row["gbps"] = bytes / milliseconds / 1e6
        row |= {key: value for key, value in more.items() if value is not None}
        if note:
            row["note"] = note
        self.rows.append(row)
        figures = f"{milliseconds:10.4f} ms" if milliseconds is not None else " " * 13
        print(f"{name:16} {variant:28} {shape:40} {figures} {note}", file=sys.stderr)

    def attempt(self, name: str, variant: str, shape: str, measure, **more) -> None:
        """Adds a row whose measuring may fail; then it says why."""
        torch = import_torch()
        try:
            self.add(name, variant, shape, measure(), **more)
        except Exception as error:  # any failure of one row must not cost the others
            self.add(name, variant, shape, note=f"failed: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")
            torch.cuda.empty_cache()

    def write(self, path: str | None) -> None:
        text = json.dumps({**self.head, "rows": self.rows}, indent=1) + "\n"
        if path is None or path == "-":
            sys.stdout.write(text)
            return
        temporary = f"{path}.tmp"
        with open(temporary, "w") as file:
            file.write(text)
        os.replace(temporary, path)


_scrubbed = None


def kernel_time(run, seconds: float = 1.0) -> float:
    """Median milliseconds of GPU time of one run, caches emptied before each by reading 256 MiB, as src/bench/measure.ts does."""
    global _scrubbed
    torch = import_torch()
    if _scrubbed is None:
        _scrubbed = torch.zeros(64 * 2**20, dtype=torch.int32, device="cuda")

    def sample(count: int) -> list[float]:
        events = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(count)]
        for begin, end in events:
            _scrubbed.max()  # also hides the launch: the GPU is still reading when the work arrives
            begin.record()
            run()
            end.record()
        torch.cuda.synchronize()
        return [begin.elapsed_time(end) for begin, end in events]

    started = time.perf_counter()
    runs = 0
    while time.perf_counter() - started < 0.05 or runs < 3:  # the card idles down between benchmarks
        sample(3)
        runs += 3
    each = (time.perf_counter() - started) / runs
    return statistics.median(sample(max(3, min(500, int(seconds / each)))))


def wall_time(run, runs: int = 3) -> float:
    """Shortest milliseconds by the clock of a few runs, the GPU idle before and after, one more run before them not counted."""
    torch = import_torch()
    times = []
    for _ in range(runs + 1):
        torch.cuda.synchronize()
        start = time.perf_counter()
        run()
        torch.cuda.synchronize()
        times.append((time.perf_counter() - start) * 1000)
    return min(times[1:])
