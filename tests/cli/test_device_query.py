"""`netc device_query`: the machine as it is, for a reader and for a program."""

from __future__ import annotations

import json
import os
from types import SimpleNamespace

import pytest
import torch

from netc.cli._main import run
from netc.cli.device_query import gpu, lines

GPU = {"number": 0, "name": "A100", "compute_capability": "8.0", "memory_bytes": 80 * 2**30, "multiprocessors": 108}
CPU = {"name": "", "cores": 3, "hardware_threads": 6, "torch_threads": 2, "memory_bytes": 2**34}


def test_json_tells_this_machine(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["device-query", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["cpu"]["hardware_threads"] == len(os.sched_getaffinity(0))
    assert found["cpu"]["memory_bytes"] > 2**28
    assert found["torch"] == torch.__version__
    assert [gpu["number"] for gpu in found["gpus"]] == list(range(torch.cuda.device_count()))


def test_a_gpu_that_is_not_there_is_bad_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["device_query", "-gpu", "99"]) == 2
    assert "error[C201]: this machine has no GPU 99" in capsys.readouterr().err


def test_lines_for_a_reader() -> None:
    assert lines({"cpu": CPU, "torch": "2.13", "gpus": [GPU]}) == [
        "CPU    unknown: 3 cores, 6 threads usable, 2 used by torch, 16.0 GiB of memory",
        "GPU 0  A100: compute capability 8.0, 108 multiprocessors, 80.0 GiB of memory",
    ]
    assert lines({"cpu": CPU, "torch": "2.13", "gpus": []})[1] == "GPU    none that torch 2.13 can use"


def test_a_gpu_is_described_by_what_torch_says() -> None:
    found = SimpleNamespace(name="A100", major=8, minor=0, total_memory=80 * 2**30, multi_processor_count=108)
    assert gpu(0, found) == GPU
