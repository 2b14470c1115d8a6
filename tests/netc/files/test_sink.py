"""Writers that cannot bear an error, on a disk that is full: the error is told, and the process lives."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]

LIMITED = """
import resource, signal, sys
import numpy as np
from netc.errors import NetcError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
def limited(make):
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
    try: make()
    except (OSError, NetcError) as error: print(getattr(error, "code", None) or error.errno)
"""

HDF5 = "from netc.weights import write_hdf5\n" + (
    "limited(lambda: write_hdf5('out.h5', {f'l{k}': [np.ones(60_000, 'f4')] for k in range(9)}))"
)
CONVERTED = """
from netc.runtime.export.convert import Options, convert
net = 'layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 1 dim: 600 } } } ' \\
  'layer { name: "fc" type: "InnerProduct" bottom: "x" top: "y" inner_product_param { num_output: 600 } }'
open("n.prototxt", "w").write(net)
from netc.weights import write_hdf5
write_hdf5("w.caffemodel.h5", {"fc": [np.ones((600, 600), "f4"), np.ones(600, "f4")]})
limited(lambda: convert("w.caffemodel.h5", "out.pt2", Options(net="n.prototxt")))
"""


@pytest.mark.parametrize(
    "code, says",
    [(HDF5, "27"), pytest.param(CONVERTED, "X166", marks=pytest.mark.slow)],
    ids=["hdf5", "pt2"],
)
def test_a_full_disk_is_an_error_and_not_the_end_of_the_process(tmp_path: Path, code: str, says: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", LIMITED + code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stdout) == (0, f"{says}\n"), done.stderr
    assert not list(tmp_path.glob("out.pt2"))
