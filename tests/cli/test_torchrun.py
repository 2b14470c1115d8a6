"""`netc train` by several processes: torchrun, two machines on one, network namespaces; and what a user is told."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch

import netc
from netc.cli import main
from netc.cli._run import train_devices
from netc.errors import NetcError
from tests.cli.test_schedule import digests, write_schedule
from tests.runtime.solver.conftest import write_run

ROOT = Path(netc.__file__).parents[1]
TRAIN = ("-m", "netc", "train", "solver.prototxt", "--iterations", "4", "--shards", "4")
TORCHRUN = (sys.executable, "-m", "torch.distributed.run")


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_run(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def alone(tiny: Path) -> bytes:
    """The weights that one process learns."""
    threads = torch.get_num_threads()
    assert main(["train", "solver.prototxt", "--iterations", "4", "--shards", "4"]) == 0
    torch.set_num_threads(threads)
    for path in tiny.glob("tiny_iter_4.*"):
        path.rename(tiny / f"alone_{path.name}")
    return (tiny / "alone_tiny_iter_4.caffemodel").read_bytes()


def start(command: Sequence[str], **more: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **more}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def ended(*processes: subprocess.Popen[str], timeout: float = 300) -> str:
    said = []
    try:
        for process in processes:
            said.append(process.communicate(timeout=timeout)[0])
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0] * len(processes), "\n".join(said)
    return "\n".join(said)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def test_torchrun(alone: bytes, tiny: Path) -> None:
    """As the README says; one log, and the bits of one process."""
    log = ended(start([*TORCHRUN, "--nproc-per-node", "2", *TRAIN]))
    assert log.count("Optimization Done.") == 2
    assert log.count("Iteration 2, Testing net (#0)") == 1
    assert (tiny / "tiny_iter_4.caffemodel").read_bytes() == alone


def nodes(port: int, address: str = "localhost") -> list[list[str]]:
    """The command of each of two machines."""
    options = ["--nnodes=2", "--nproc-per-node", "1", "--rdzv-backend", "c10d", "--rdzv-id", "netc"]
    options += ["--rdzv-endpoint", f"{address}:{port}"]
    return [[*TORCHRUN, *options, "--rdzv-conf", f"is_host={int(first)}", *TRAIN] for first in (True, False)]


@pytest.mark.slow
def test_two_agents_on_one_machine(alone: bytes, tiny: Path) -> None:
    ended(*(start(command) for command in nodes(free_port())))
    assert (tiny / "tiny_iter_4.caffemodel").read_bytes() == alone


@pytest.mark.slow
def test_a_machine_is_lost_and_the_other_goes_on(tiny: Path) -> None:
    """One or two machines are enough: after one is killed the other goes on alone, to the bits of one process."""
    text = (tiny / "solver.prototxt").read_text()
    for name, value in {"max_iter": 400, "snapshot": 20, "test_interval": 100}.items():
        text = re.sub(rf"\b{name}: \d+", f"{name}: {value}", text)
    (tiny / "solver.prototxt").write_text(text)
    train = ["-m", "netc", "train", "solver.prototxt", "--shards", "4"]
    ended(start([sys.executable, *train]))
    expected = (tiny / "tiny_iter_400.caffemodel").read_bytes()
    for path in tiny.glob("tiny*"):
        path.unlink()
    options = ["--nnodes=1:2", "--nproc-per-node", "1", "--rdzv-backend", "c10d", "--rdzv-id", "netc"]
    options += ["--max-restarts=5", "--rdzv-endpoint", f"localhost:{free_port()}"]
    goes_on = [*train, "--timeout", "20", "--resume", "auto"]
    # the one that stays is where all meet
    stays, lost = (start([*TORCHRUN, *options, "--rdzv-conf", f"is_host={host}", *goes_on]) for host in (1, 0))
    deadline = time.monotonic() + 120
    while not list(tiny.glob("tiny_iter_*.manifest.json")) and time.monotonic() < deadline:
        time.sleep(0.1)
    lost.kill()
    lost.communicate()
    assert "Resuming from" in ended(stays)
    assert (tiny / "tiny_iter_400.caffemodel").read_bytes() == expected


@pytest.fixture
def namespaces() -> Iterator[list[list[str]]]:
    """Two network namespaces, joined by a cable: what to put before a command in each."""
    if shutil.which("ip") is None or os.geteuid() != 0:
        pytest.skip("two network namespaces need iproute2 and root")
    names = [f"netc{os.getpid() % 10000}{end}" for end in "ab"]
    links = [f"v{name}" for name in names]
    commands = [["netns", "add", name] for name in names]
    commands.append(["link", "add", links[0], "type", "veth", "peer", "name", links[1]])
    for number, (name, link) in enumerate(zip(names, links), 1):
        commands.append(["link", "set", link, "netns", name])
        inside = ["-n", name]
        commands.append([*inside, "addr", "add", f"10.99.0.{number}/24", "dev", link])
        commands += [[*inside, "link", "set", device, "up"] for device in ("lo", link)]
    try:
        for command in commands:
            done = subprocess.run(["ip", *command], capture_output=True, text=True, check=False)
            if done.returncode:
                pytest.skip(f"no network namespaces here: {done.stderr.strip()}")
        yield [["ip", "netns", "exec", name] for name in names]
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


@pytest.mark.slow
def test_two_machines(alone: bytes, tiny: Path, namespaces: list[list[str]]) -> None:
    """Two nodes that see each other over one cable alone."""
    port, processes = free_port(), []
    for number, (inside, command) in enumerate(zip(namespaces, nodes(port, "10.99.0.1")), 1):
        at = command.index("--rdzv-id")
        address = ["--local-addr", f"10.99.0.{number}"]
        name = f"v{inside[-1]}"
        processes.append(start([*inside, *command[:at], *address, *command[at:]], GLOO_SOCKET_IFNAME=name))
    ended(*processes)
    assert (tiny / "tiny_iter_4.caffemodel").read_bytes() == alone


# -- what is told, and what a batch is ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_without_shards_it_is_said_that_the_bits_are_not_those_of_one_process(tiny: Path) -> None:
    command = [sys.executable, "-m", "netc", "train", "solver.prototxt", "--nproc", "2", "--iterations", "2"]
    log = ended(start(command))
    assert log.count("2 processes without shards: the result equals that of one process up to rounding") == 1


@pytest.mark.slow
def test_caffes_batch(tiny: Path) -> None:
    """Two processes read a batch of five each: what one does that accumulates twice as many."""
    text = (tiny / "solver.prototxt").read_text().replace("iter_size: 2", "iter_size: 4").replace('"tiny"', '"twice"')
    (tiny / "twice.prototxt").write_text(text)
    command = [sys.executable, "-m", "netc", "train"]
    ended(start([*command, "solver.prototxt", "--nproc", "2", "--caffe-batch", "--iterations", "2"]))
    ended(start([*command, "twice.prototxt", "--shards", "1", "--iterations", "2"]))
    found, expected = ((tiny / f"{name}_iter_2.caffemodel").read_bytes() for name in ("tiny", "twice"))
    assert found == expected


class Solver:
    """As much of a solver as the choice of a device looks at."""

    device_id, solver_mode = 1, 1

    def HasField(self, name: str) -> bool:
        return name == "solver_mode"


@pytest.mark.parametrize(
    ("gpus", "gpu", "processes", "started", "found"),
    [
        (0, None, None, 0, ["cpu"]),
        (0, None, 3, 0, ["cpu"] * 3),
        (0, None, None, 2, ["cpu"]),
        (4, "0", None, 0, ["cuda:0"]),
        (4, "0,2", None, 0, ["cuda:0", "cuda:2"]),
        (4, "all", None, 0, [f"cuda:{n}" for n in range(4)]),
        (4, "0,2", 2, 0, ["cuda:0", "cuda:2"]),
        (4, None, None, 0, ["cuda:1"]),
        (4, None, 4, 0, [f"cuda:{n}" for n in range(4)]),
        (4, None, None, 2, [f"cuda:{n}" for n in range(4)]),
        (4, "all", None, 4, [f"cuda:{n}" for n in range(4)]),
        (4, "0", None, 1, ["cuda:0"]),
        (0, "0", None, 0, "C201"),
        (0, "all", None, 0, "C201"),
        (2, "0,2", None, 0, "C201"),
        (2, "x", None, 0, "C202"),
        (2, "0,1", 3, 0, "C203"),
        (2, "0", None, 2, "C203"),
    ],
)
def test_which_process_computes_where(
    gpus: int, gpu: str | None, processes: int | None, started: int, found: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A GPU for each process; `started`: by a launcher, on this machine."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    if isinstance(found, list):
        assert train_devices(gpu, processes, Solver(), started) == found
        return
    with pytest.raises(NetcError) as caught:
        train_devices(gpu, processes, Solver(), started)
    assert caught.value.code == found


@pytest.mark.slow
def test_a_schedule_by_several_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of its steps by the same processes, to the bits of one."""
    found = []
    for count in ("1", "2"):
        folder = tmp_path / count
        folder.mkdir()
        write_schedule(folder)
        monkeypatch.chdir(folder)
        command = [sys.executable, "-m", "netc", "train", "schedule.prototxt", "--shards", "2", "--nproc", count]
        log = ended(start(command))
        assert log.count('Step "') == 3
        found.append(digests(folder))
    assert found[0] == found[1]
