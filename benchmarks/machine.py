"""What a benchmark ran on, beside its figures in a JSON file."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path
from typing import Any

import torch

from vtclip.files import write_json
from vtclip.precision import bf16_is_fast

RESULTS = Path(__file__).resolve().parent / "results"
# a folder in place of RESULTS, for figures of a few repetitions
ELSEWHERE = "VTCLIP_BENCHMARK_RESULTS"


def machine() -> dict[str, Any]:
    """Describe processor, memory, software and how busy the machine is."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        model = names[0].partition(":")[2].strip() if names else model
    pages, page = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": model,
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "memory_gib": round(pages * page / 2**30, 1),
        "load_average": round(os.getloadavg()[0], 2),
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def precisions() -> tuple[str, ...]:
    """Return the arithmetic worth measuring on this CPU.

    Emulated bf16 is slower than fp32, and no run uses it.
    """
    return ("fp32", "bf16") if bf16_is_fast("cpu") else ("fp32",)


def memory_mib(field: str) -> float:
    """Return a figure of this process's memory in MiB (Linux).

    Args:
        field: "VmHWM", the largest resident memory so far; "VmRSS", the resident memory now;
            "RssAnon", the same without mapped pages of files.
    """
    # getrusage's peak would start at that of the process that started this one
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) / 1024


def write_results(name: str, started: float, results: Any) -> Path:
    """Write `results` with the machine's description to results/<name>.json, or :data:`ELSEWHERE`.

    Args:
        started: `time.perf_counter()` of the start.
    """
    path = Path(os.environ.get(ELSEWHERE) or RESULTS) / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    seconds = round(time.perf_counter() - started, 1)
    write_json(path, {"machine": machine(), "run_seconds": seconds, "results": results})
    print(f"wrote {path.name} after {seconds} s")
    return path
