"""What an old program calls that its libraries no longer have, or that is not installed: a word about each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES: dict[str, Any] = {"bool": bool, "int": int, "float": float, "complex": complex, "object": object, "str": str}
"""What numpy had under these names until 1.24: Python's own types."""

_PACKAGES = {
    "cv2": "opencv-python-headless",
    "distutils": "setuptools",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "yaml": "PyYAML",
    "Crypto": "pycryptodome",
    "matplotlib": "'netc[notebooks]'",
    "pylab": "'netc[notebooks]'",
    "Cython": "cython",
    "h5py": "'netc[hdf5]'",
}
"""Module → what pip calls it, of those that programs for Caffe import and whose name is another."""

_SAME = """
pandas scipy six flask werkzeug tornado easydict pydot networkx seaborn tables leveldb setproctitle tqdm joblib requests
progressbar docopt pycocotools nose unittest2 IPython jupyter
"""
"""More of them, under their own names."""

_GONE = {
    "numpy": {
        "asscalar": "a.item()",
        "product": "np.prod",
        "cumproduct": "np.cumprod",
        "in1d": "np.isin",
        "trapz": "np.trapezoid",
        "rank": "np.ndim",
        "alen": "len",
        "unicode": "str",
    },
    "time": {"clock": "time.perf_counter"},
    "collections": {name: f"collections.abc.{name}" for name in ["Mapping", "MutableMapping", "Sequence", "Iterable"]},
    "scipy.misc": {
        "imread": "caffe.io.load_image, or np.asarray(PIL.Image.open(path))",
        "imsave": "PIL.Image.fromarray(a).save(path)",
        "imresize": "caffe.io.resize_image, or PIL.Image.fromarray(a).resize((width, height))",
        "toimage": "PIL.Image.fromarray",
    },
    "PIL.Image": {"ANTIALIAS": "Image.Resampling.LANCZOS"},
}
"""Module → {what it no longer has: what does the same}, where its own message does not say so."""


def remark(error: BaseException) -> str:
    """What to add to an exception of an old program's; "" for all others."""
    if isinstance(error, ModuleNotFoundError):
        return _missing(error.name or "")
    if isinstance(error, ImportError):
        found = re.match(r"cannot import name '(\w+)'", str(error))
        return _replaced(error.name or "", found[1] if found else "")
    if isinstance(error, AttributeError):
        return _replaced(getattr(error.obj, "__name__", ""), error.name or "")
    if isinstance(error, TypeError) and "required positional argument: 'Loader'" in str(error):
        return "yaml.load wants a Loader since PyYAML 6: yaml.safe_load(file) reads settings"
    if _is_notebooks(error):
        return "jupyter runs it, a notebook, with `import netc.pycaffe; netc.pycaffe.install()` in its first cell"
    if isinstance(error, TypeError) and "only 0-dimensional arrays" in str(error):
        return "numpy takes an array of one value for a number no longer, as in float(a) and '%f' % a: a.item() is one"
    return ""


def _is_notebooks(error: BaseException) -> bool:
    """Whether IPython alone knows what failed: `%` and `!` lines, and what they become in an exported notebook."""
    if isinstance(error, SyntaxError):
        return (error.text or "").lstrip().startswith(("%", "!"))
    return isinstance(error, NameError) and error.name == "get_ipython"


def _replaced(module: str, name: str) -> str:
    instead = _GONE.get(module, {}).get(name)
    return f"{module}.{name} is no longer there; {instead} does the same" if instead else ""


def _missing(name: str) -> str:
    top = name.partition(".")[0]
    package = top if top in _SAME.split() else _PACKAGES.get(top)
    if package is not None:
        return f"the program needs {top}, which netc does not: pip install {package}"
    if _GONE.get(name):
        first, instead = next(iter(_GONE[name].items()))
        return f"{name} is no longer there; for {first}: {instead}"
    return ""


def is_unbuilt(error: BaseException, folders: list[str]) -> bool:
    """Whether a module is missing because it lies on the path as Cython (.pyx), and was never built."""
    if not isinstance(error, ModuleNotFoundError) or not error.name:
        return False
    part = Path(*error.name.split("."))
    return any(Path(folder, part).with_suffix(".pyx").is_file() for folder in folders)


@contextmanager
def numpys_old_names() -> Iterator[None]:
    """np.float, np.int and their like are there again, as Python's own types, for the time of a program."""
    import numpy

    added = [name for name in NAMES if name not in vars(numpy)]
    for name in added:
        setattr(numpy, name, NAMES[name])
    try:
        yield
    finally:
        for name in added:
            delattr(numpy, name)
