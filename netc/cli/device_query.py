"""`netc device_query`: what this machine has to compute with (Caffe's `caffe device_query`, for CPUs too)."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import click

from netc.cli._options import gpus_of, json_option, json_text
from netc.errors.words import in_bytes
from netc.runtime.net.cores import usable_cores


@click.command("device_query")
@click.option(
    "--gpu", "wanted", metavar="LIST", default="all", show_default=True, help='Which GPUs: "0", "0,1" or "all".'
)
@json_option
def command(wanted: str, as_json: bool) -> None:
    """List the processors and GPUs that netc can use.

    A GPU's number is what `--gpu` of the other commands takes.
    """
    import torch

    numbers = gpus_of(wanted, torch.cuda.device_count())
    gpus = [gpu(number, torch.cuda.get_device_properties(number)) for number in numbers]
    found = {"cpu": cpu(torch.get_num_threads()), "torch": torch.__version__, "gpus": gpus}
    click.echo(json_text(found) if as_json else "\n".join(lines(found)))


def cpu(threads: int) -> dict[str, Any]:
    """Name, physical cores, usable hardware threads, torch's threads and memory in bytes."""
    usable = usable_cores()
    info = _cpu_info()
    cores = {(x.get("physical id"), x.get("core id")) for x in info if "core id" in x}
    return {
        "name": info[0].get("model name", platform.processor()) if info else platform.processor(),
        "cores": len(cores) or usable,
        "hardware_threads": usable,
        "torch_threads": threads,
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
    }


def _cpu_info() -> list[dict[str, str]]:
    """Linux's list of processors, one a hardware thread; empty on a system without it."""
    path = Path("/proc/cpuinfo")
    blocks = path.read_text(errors="replace").strip().split("\n\n") if path.exists() else []
    rows = [[line.partition(":") for line in block.splitlines()] for block in blocks]
    return [{key.strip(): value.strip() for key, _, value in row} for row in rows]


def gpu(number: int, found: Any) -> dict[str, Any]:
    """The same of one GPU, from torch's properties of it."""
    return {
        "number": number,
        "name": found.name,
        "compute_capability": f"{found.major}.{found.minor}",
        "memory_bytes": found.total_memory,
        "multiprocessors": found.multi_processor_count,
    }


def lines(found: dict[str, Any]) -> list[str]:
    """The same for a reader."""
    c = found["cpu"]
    head = f"CPU    {c['name'] or 'unknown'}: {c['cores']} cores, {c['hardware_threads']} threads usable, "
    rows = [f"{head}{c['torch_threads']} used by torch, {in_bytes(c['memory_bytes'])} of memory"]
    for g in found["gpus"]:
        rows.append(
            f"GPU {g['number']}  {g['name']}: compute capability {g['compute_capability']}, "
            f"{g['multiprocessors']} multiprocessors, {in_bytes(g['memory_bytes'])} of memory"
        )
    return rows if found["gpus"] else [*rows, f"GPU    none that torch {found['torch']} can use"]
