"""What a user or a file names is opened by `netc.files.opening`, which refuses pipes, devices and folders and bounds
sizes. Every other call that opens a file stands here with its reason."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]

OPENING = {
    *("open", "read_bytes", "read_text", "File", "memmap", "fromfile", "load", "loadtxt", "genfromtxt", "imread"),
    *("copy", "copyfile", "copy2", "getline", "getlines", "run_path", "cmp"),
}
"""Names of functions and methods that open what they are given (those of copy and load: of these modules)."""

MODULES = {"copy": {"shutil"}, "load": {"np", "torch", "json", "pickle", "lmdb", "onnx"}}

ALLOWED = {
    "netc/files/opening.py": {"os.open": "this is the function"},
    "netc/files/durable.py": {"os.open": "creates with O_EXCL; reads what netc has just written, and its folder"},
    "netc/weights/chunks.py": {"Path(sink).open": "writes"},
    "netc/weights/convert.py": {"path.open": "writes, and reads again, the file that is being made"},
    "netc/weights/formats/hdf5.py": {
        "h5py.File": "a regular file that is open already (netc.weights.files), or its bytes",
        "h5py_module('').File": "writes",
    },
    "netc/weights/formats/npz.py": {"archive.open": "a member of an archive whose bytes are here"},
    "runtime/transfer/files.py": {
        "archive.open": "a member of the archive that is being written",
        "safetensors.read_text": "of bytes that are here",
        "h5py_module('').File": "writes",
        "h5py.File": "bytes that are here",
    },
    "netc/errors/foreign.py": {"linecache.getline": "a line of the user's code, which has just run"},
    "netc/look/emit/functions.py": {"path.read_text": "netc's own source"},
    "netc/check/explanations/__init__.py": {"(FOLDER / f'{letter}.md').read_text": "netc's own pages"},
    "netc/prototxt/grammar.py": {"resources.files('netc.prototxt').joinpath('prototxt.lark').read_text": "netc's own"},
    "netc/cli/_python2.py": {"linecache.getline": "a line of the user's program, which was to be run"},
    "netc/cli/run.py": {"runpy.run_path": "the user's program"},
    "netc/pycaffe/io.py": {"Image.open": "a file that open_regular has opened"},
    "runtime/pycaffe/draw.py": {"Image.open": "a picture that was just drawn"},
    "netc/cli/device_query.py": {"path.read_text": "/proc/cpuinfo"},
    "netc/cli/_report.py": {"open": "/dev/null"},
    "runtime/export/torchvision.py": {
        "path.open": "writes",
        "torch.load": "the file that was just written, read again as a proof",
    },
    "netc/weights/reader.py": {"FORMATS[format_of(buffer)].read_text": "of bytes that are here"},
    "runtime/data/decoding.py": {"Image.open": "bytes that are here"},
    "runtime/data/hdf5_rows.py": {"h5py.File": "a file that open_regular has opened"},
    "netc/files/sink.py": {"open": "writes a new file"},
    "runtime/demo/steps.py": {
        "os.open": "writes the demo's own log",
        "open": "the same",
        "(FOLDER / NET / name).read_bytes": "a net that comes with netc",
    },
    "runtime/reproduce/mini.py": {"os.open": "writes the miniature's own log", "open": "the same"},
    "runtime/export/onnx.py": {"onnx.load": "the file that was just written, read again as a proof"},
    "runtime/parallel/launch.py": {
        "status.read_text": "what a worker of ours has left in our own folder",
        "path.read_text": "the same",
    },
    "runtime/parallel/watch.py": {"open": "what the kernel says of a process"},
    "runtime/parallel/measure.py": {"Path(path).read_text": "the task that prove has written"},
    "runtime/parallel/prove.py": {
        "result.read_text": "what a worker of ours has left in our own folder",
        "np.load": "the same",
    },
    "runtime/imageset/writer.py": {"lmdb.open": "the database that is being made"},
    "runtime/imageset/claim.py": {"os.open": "the lock of a database that is being made; follows no link"},
    "runtime/data/hdf5_output.py": {"os.open": "the first bytes of what it may write over; follows no link"},
    "netc/files/owned.py": {"os.open": "a file that netc appends to; follows no link, waits for no pipe"},
    "netc/errors/terminal.py": {"os.open": "/dev/null", "open": "a standard stream"},
    "netc/solver/plans.py": {"filecmp.cmp": "two regular files, if they are no longer than a prototxt may be"},
    "runtime/engines/table.py": {"open": "/proc/self/statm"},
    "runtime/engines/cache.py": {"open": "/proc/cpuinfo"},
    "runtime/engines/backends.py": {
        "made.read_bytes": "the model that was just made in our own folder",
        "onnx.load": "the same",
    },
    "runtime/evaluate/memory.py": {"Path(path).read_text": "what the kernel says of memory"},
    "runtime/export/optimise.py": {"(staging.folder / weights.name).open": "the file that is being written"},
    "netc/cli/new.py": {"source.read_text": "a net that comes with netc"},
    "proto/__init__.py": {"resources.files(__name__).joinpath(file_name).read_bytes": "netc's own"},
    "runtime/data/record_feed.py": {"self.open": "not a file but a feed"},
}
"""File → call → why it need not go through netc.files.opening."""


def calls(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and (name := _opens(node.func)):
            yield node.lineno, name


def _opens(function: ast.expr) -> str | None:
    if isinstance(function, ast.Name):
        return function.id if function.id == "open" else None
    if not isinstance(function, ast.Attribute) or function.attr not in OPENING:
        return None
    owners = MODULES.get(function.attr)
    return ast.unparse(function) if owners is None or ast.unparse(function.value) in owners else None


def sources() -> Iterator[Path]:
    for room in ("netc", "runtime", "proto"):
        yield from (path for path in sorted((ROOT / room).rglob("*.py")) if not _linked(path))


def _linked(path: Path) -> bool:
    return path.resolve() != path


def test_files_are_opened_in_one_place() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in sources()
        for line, name in calls(path)
        if name not in ALLOWED.get(str(path.relative_to(ROOT)), {})
    ]
    assert not found, "use netc.files.opening, or say here why not:\n" + "\n".join(found)


def test_what_is_allowed_is_there() -> None:
    made = {str(path.relative_to(ROOT)): {name for _, name in calls(path)} for path in sources()}
    gone = [(file, name) for file, names in ALLOWED.items() for name in names if name not in made.get(file, ())]
    assert not gone


def test_every_way_is_seen(tmp_path: Path) -> None:
    lines = [
        "open(path)",
        "path.open()",
        "os.open(path, 0)",
        "Path(path).read_bytes()",
        "path.read_text()",
        "h5py.File(path)",
        "np.load(path)",
        "np.fromfile(path)",
        "torch.load(path)",
        "Image.open(path)",
        "json.load(path)",
        "shutil.copy(path, there)",
    ]
    (tmp_path / "a.py").write_text("\n".join([*lines, "json.loads(text)", "data.copy()", "read_bytes(path, 3)"]))
    assert [line for line, _ in calls(tmp_path / "a.py")] == [*range(1, len(lines) + 1)]
