"""How long until netc answers: --help, `netc check` on each full net, and the start of training vgg_E. Medians.

    python tools/bench_start.py --runs 7
    python tools/bench_start.py --computing --runs 5 --vgg19 VGG19.caffemodel

Whole processes, from start to end; for training, from the start of the process to the log line that precedes the first
iteration (nets compiled, 143,667,240 parameters filled, database opened and the first batches being decoded).

--computing: commands that compute, in turn with `python -c "import torch"`, which each of them has to wait for.
Seconds, processor seconds, and both as ratios to the import, which say more on a machine that others share.

    onnx      netc convert-caffemodel --to onnx of SqueezeNet v1.1 with random weights, proved and run
    test      netc test of vgg_E on one image, from --vgg19 (tools/make_vgg.py makes such a file)
    classify  netc classify of one picture by GoogLeNet
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # for `python tools/bench_start.py`
from tools.timing import ENVIRONMENT, NETC, ROOT, in_turn, medians, process, spread, timed

FULL = ("vgg_A", "vgg_A_LRN", "vgg_B", "vgg_C", "vgg_D", "vgg_E", "vgg_B_5x5")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--computing", action="store_true")
    parser.add_argument("--vgg19", type=Path)
    options = parser.parse_args()
    if options.computing:
        _computing(options.runs, options.vgg19)
        return
    runs = options.runs
    report = {"--help": _median(timed(partial(_run, ["--help"])), runs)}
    for name in FULL:
        check = partial(_run, ["check", f"models/{name}/train_val.prototxt"])
        report[f"check {name}"] = _median(timed(check), runs)
    with tempfile.TemporaryDirectory() as folder:
        _prepare(Path(folder))
        report["train vgg_E, to the first iteration"] = _median(lambda: _until_solving(Path(folder)), min(runs, 3))
    print(json.dumps(report, indent=1))


def _median(run: Callable[[], float], runs: int) -> float:
    return round(statistics.median(run() for _ in range(runs)), 3)


def _run(arguments: list[str], folder: Path = ROOT) -> None:
    subprocess.run([*NETC, *arguments], cwd=folder, env=ENVIRONMENT, check=True, capture_output=True)


def _prepare(folder: Path) -> None:
    """A few gray pictures as both databases, and vgg_E's files with a batch a small machine can hold."""
    pictures = folder / "pictures" / "class0"
    pictures.mkdir(parents=True)
    for number in range(4):
        Image.new("RGB", (300, 260), (number * 40,) * 3).save(pictures / f"{number}.jpg")
    for name in ("ilsvrc12_train_lmdb", "ilsvrc12_val_lmdb"):
        _run(["convert-imageset", "pictures", name], folder)
    net = (ROOT / "models/vgg_E/train_val.prototxt").read_text().replace("batch_size: 256", "batch_size: 2")
    (folder / "train_val.prototxt").write_text(net)
    solver = (ROOT / "models/vgg_E/solver.prototxt").read_text()
    (folder / "solver.prototxt").write_text(solver[: solver.index("transplant_param {")])


def _until_solving(folder: Path) -> float:
    start = time.perf_counter()
    command = [*NETC, "train", "solver.prototxt"]
    with subprocess.Popen(command, cwd=folder, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        seen = []
        for line in process.stderr:
            seen.append(line)
            if "Solving" in line:
                took = time.perf_counter() - start
                process.kill()
                return took
    raise SystemExit("training did not start:\n" + "".join(seen))


# -- commands that compute ---------------------------------------------------------------------------------------------


def _computing(pairs: int, vgg19: Path | None) -> None:
    torch = [sys.executable, "-c", "import torch"]
    with tempfile.TemporaryDirectory() as folder:
        for name, command in _commands(Path(folder), vgg19).items():
            process(command), process(torch)  # modules are compiled, files are in the page cache
            runs = in_turn(partial(process, command), partial(process, torch), pairs)
            clocks = {"": 0, "cpu_": 1}
            report: dict[str, object] = {"what": name}
            for clock, place in clocks.items():
                both = [(ours[place], theirs[place]) for ours, theirs in runs]
                ours, theirs, ratio = medians(both)
                report |= {f"{clock}seconds": round(ours, 2), f"{clock}import_torch": round(theirs, 2)}
                report |= {f"{clock}times_import": round(ratio, 2), f"{clock}times_from_to": spread(both)}
            print(json.dumps(report), flush=True)


def _commands(folder: Path, vgg19: Path | None) -> dict[str, list[str]]:
    from tools.bench_inference import files

    net, weights = files("squeezenet", 1, folder)
    onnx = ["convert-caffemodel", str(weights), "--net", str(net), "-o", str(folder / "x.onnx"), "--force"]
    commands = {"onnx": onnx}
    if vgg19 is not None:
        _prepare(folder)
        one = (folder / "train_val.prototxt").read_text().replace("batch_size: 50", "batch_size: 1")
        (folder / "one.prototxt").write_text(one.replace('source: "', f'source: "{folder}/'))
        commands["test"] = ["test", str(folder / "one.prototxt"), "--weights", str(vgg19), "--iterations", "1"]
    Image.new("RGB", (300, 260), (90, 120, 40)).save(folder / "picture.jpg")
    net, weights = files("googlenet", 1, folder)
    mean = ["--mean", "104,117,123"]
    commands["classify"] = [
        "classify",
        str(folder / "picture.jpg"),
        "--weights",
        str(weights),
        "--net",
        str(net),
        *mean,
    ]
    return {name: [*NETC, *words] for name, words in commands.items()}


if __name__ == "__main__":
    main()
