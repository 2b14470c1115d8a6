"""`netc run`: programs for pycaffe, their words, their errors, and dead Caffes on their path."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import types
import venv
from pathlib import Path

import click
import numpy as np
import pytest

import netc.pycaffe
from netc.cli import main
from tests.runtime.pycaffe.nets import DEPLOY, written


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def program(text: str, name: str = "program.py") -> str:
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).write_text(text)
    return name


def dead_caffe() -> str:
    """A checkout that was never built: its own import fails."""

    Path("dead/caffe").mkdir(parents=True)
    Path("dead/caffe/__init__.py").write_text("from ._caffe import Net\n")
    Path("dead/caffe/draw.py").write_text("import pydot\n")
    return "dead"


def test_a_program_finds_its_caffe(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    dead_caffe()
    net = written(tmp_path, DEPLOY)
    text = f"""
import sys
sys.path.insert(0, "dead")
import caffe
import caffe.io, caffe.draw
from caffe import layers as L, params as P
from caffe.proto import caffe_pb2
from caffe.pycaffe import Net
from caffe.classifier import Classifier
import caffe._caffe
caffe.set_mode_cpu()
net = caffe.Net({net!r}, caffe.TEST)
assert isinstance(net, Net)
assert caffe.io.load_image is not None and caffe_pb2.TRAIN == caffe.TRAIN
print(sys.argv[1:], __name__, net.forward()["prob"].shape, caffe.__version__)
"""
    assert main(["run", program(text), "-q", "--gpu", "0", "--nogray"]) == 0
    assert capfd.readouterr().out == "['-q', '--gpu', '0', '--nogray'] __main__ (2, 5) 1.0.0\n"


def test_nothing_of_the_program_stays(capfd: pytest.CaptureFixture[str]) -> None:
    before = list(sys.path), list(sys.argv), list(sys.meta_path)
    assert main(["run", program("import caffe, caffe.io, sys; sys.path.append('x')")]) == 0
    assert (list(sys.path), list(sys.argv), list(sys.meta_path)) == before
    assert not [name for name in sys.modules if name.partition(".")[0] == "caffe"]


def test_modules_and_those_beside_a_program(capfd: pytest.CaptureFixture[str]) -> None:
    Path("package").mkdir()
    program("import caffe, sys\nprint('module', sys.argv[1:], caffe.TEST)", "package/tool.py")
    program("import helper\nprint(helper.x)", "inner/main.py")
    program("x = 5", "inner/helper.py")
    assert main(["run", "-m", "package.tool", "-m", "word"]) == 0
    assert main(["run", "inner/main.py"]) == 0
    assert capfd.readouterr().out == "module ['-m', 'word'] 1\n5\n"


def test_the_tests_of_a_dead_caffe_run(tmp_path: Path) -> None:
    """As BVLC's own: pytest over python/caffe/test, whose Python layers are in the tests' files."""
    dead_caffe()
    layers = """
import os, tempfile, unittest
import caffe

class SimpleLayer(caffe.Layer):
    def setup(self, bottom, top): pass
    def reshape(self, bottom, top): top[0].reshape(*bottom[0].data.shape)
    def forward(self, bottom, top): top[0].data[...] = 10 * bottom[0].data
    def backward(self, top, propagate_down, bottom): bottom[0].diff[...] = 10 * top[0].diff

class TestPythonLayer(unittest.TestCase):
    def test_forward(self):
        with tempfile.NamedTemporaryFile(mode='w+', delete=False) as f:
            f.write(\"\"\"name: 'pythonnet' force_backward: true
            input: 'data' input_shape { dim: 10 dim: 9 dim: 8 }
            layer { type: 'Python' name: 'one' bottom: 'data' top: 'one'
              python_param { module: 'test_python_layer' layer: 'SimpleLayer' } }\"\"\")
        net = caffe.Net(f.name, caffe.TRAIN)
        os.remove(f.name)
        net.blobs['data'].data[...] = 8
        net.forward()
        self.assertTrue((net.blobs['one'].data == 80).all())
"""
    Path("dead/caffe/test").mkdir()
    program(layers, "dead/caffe/test/test_python_layer.py")
    done = subprocess.run(
        [sys.executable, "-m", "netc", "run", "-m", "pytest", "-q", "-p", "no:cacheprovider", "caffe/test"],
        check=False,
        timeout=120,
        capture_output=True,
        text=True,
        cwd="dead",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


def test_the_path_is_what_python_gives_a_program(tmp_path: Path) -> None:
    """Its folder first, then PYTHONPATH; not the folder where netc was called, nor that of netc's script."""
    (tmp_path / "elsewhere").mkdir()
    text = "import sys; print(sys.path)"
    path = tmp_path / program(text, "inner/shows.py")
    env = os.environ | {"PYTHONPATH": f"{tmp_path / 'extra'}{os.pathsep}{Path(__file__).parents[2]}"}
    shown = [
        subprocess.run(
            [sys.executable, *words, str(path)],
            check=True,
            timeout=60,
            capture_output=True,
            text=True,
            env=env,
            cwd=tmp_path / "elsewhere",
        ).stdout
        for words in ([], ["-m", "netc", "run"])
    ]
    assert shown[0] == shown[1]


def test_the_exit_status_is_the_programs(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["run", program("import sys; sys.exit(7)")]) == 7
    assert main(["run", program("raise SystemExit")]) == 0
    assert main(["run", program("import sys; sys.exit('in words')")]) == 1
    assert "in words" in capfd.readouterr().err


def test_an_exception_shows_the_programs_own_lines(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["run", program("def f():\n    return {}['key']\nf()")]) == 1
    err = capfd.readouterr().err
    assert err.startswith("Traceback (most recent call last):\n")
    assert "KeyError: 'key'" in err
    assert "runpy" not in err
    assert "netc/cli" not in err
    net = written(tmp_path, 'layer { name: "x" type: "Nothing" }')
    assert main(["run", program(f"import caffe\ncaffe.Net({net!r}, 0)")]) == 65
    err = capfd.readouterr().err
    assert "unknown layer type" in err
    assert err.count("  File ") == 1, "of the program, not of netc"


PYTHON2 = [
    "import caffe\nprint 'loaded'\n",
    "try:\n    pass\nexcept ValueError, error:\n    pass\n",
    "raise ValueError, 'no'\n",
    "if 1 <> 2: pass\n",
    "x = 0777\n",
    "exec 'x = 1'\n",
    "sort(key=lambda (a, b): b)\n",
    "if True:\n\tx = 1\n        y = 2\n",
]


@pytest.mark.parametrize("text", PYTHON2)
def test_python_2_is_named(text: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["run", program(text)]) == 2
    err = capfd.readouterr().err
    assert "error[C220]" in err
    assert "2to3" in err


@pytest.mark.parametrize(
    "text",
    [
        "import cPickle",
        "import cPickle as pickle",
        "try:\n    import cPickle\nexcept ValueError:\n    pass",
        "range(3)\nxrange(3)",
        "unicode('x')",
        "{}.iteritems()",
        "{}.has_key(1)",
        "import helper2",
        "iter([]).next()",
        "{}.keys().sort()",
        "'x'.decode('utf-8')",
        "from itertools import izip",
        "import itertools\nitertools.imap",
        "import urllib\nurllib.urlopen('x')",
        "import sys\nsys.maxint",
        "{1: 2}.keys()[0]",
        "from collections import OrderedDict\nOrderedDict(a=1).values()[0]",
        "len(map(str, [1]))",
        "{1: 2}.items() + [1]",
        "range(3) + [4]",
        "range(7 / 2)",
        "import numpy as np\nnp.zeros(3)[: 4 / 2]",
        "import numpy as np\nnp.zeros(np.float64(7) / 2)",
        "open('out', 'wb').write('text')",
        "import pickle\npickle.load(open('old.pkl', 'rb'))",
        "import old.main",
    ],
)
def test_python_2_without_its_syntax(text: str, capfd: pytest.CaptureFixture[str]) -> None:
    program("import urllib2", "helper2.py")
    for name, words in (("__init__", ""), ("config", "x = 1"), ("main", "from config import x")):
        program(words, f"old/{name}.py")
    Path("old.pkl").write_bytes(b"S'\\xff\\xe9'\n.")  # a string of Python 2's that is not ASCII
    assert main(["run", program(text)]) == 1
    err = capfd.readouterr().err
    assert "netc: " in err
    assert "2to3" in err or "latin1" in err


@pytest.mark.parametrize(
    "text, told",
    [
        ("import skimage.io", "pip install scikit-image"),
        ("import cv2", "pip install opencv-python-headless"),
        ("from easydict import EasyDict", "pip install easydict"),
        ("import numpy as np\nnp.asscalar(np.zeros(1))", "a.item()"),
        ("import numpy as np\nnp.in1d([1], [1])", "np.isin"),
        ("import numpy as np\nfloat(np.zeros(1))", "a.item()"),
        ("import six", "pip install six"),
        ("%matplotlib inline", "jupyter runs it"),
        ("!ls", "jupyter runs it"),
        ("get_ipython().magic('matplotlib inline')", "jupyter runs it"),
        ("import time\ntime.clock()", "time.perf_counter"),
        ("from collections import Mapping", "collections.abc.Mapping"),
        ("def load(f, Loader): pass\nload('x')", "yaml.safe_load"),
        ("import scipy_misc_of_old", "scipy.misc.imresize"),
        ("from utils.boxes import overlaps", "setup.py build_ext --inplace"),
    ],
)
def test_what_libraries_no_longer_have(
    text: str, told: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("skimage", "cv2", "easydict", "six"):  # as where they are not installed
        monkeypatch.setitem(sys.modules, name, None)
    scipy = types.ModuleType("scipy.misc")
    monkeypatch.setitem(sys.modules, "scipy", types.ModuleType("scipy"))
    monkeypatch.setitem(sys.modules, "scipy.misc", scipy)
    program("from scipy.misc import imresize" if "scipy" in told else "", "scipy_misc_of_old.py")
    program("", "utils/__init__.py")
    program("", "utils/boxes.pyx")
    assert main(["run", program(text)]) == 1
    err = capfd.readouterr().err
    assert told.removeprefix("scipy.misc.imresize") in err.split("netc: ")[1]
    assert "2to3" not in err


def test_a_notebook_is_not_a_program(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["run", program('{"cells": []}', "look.ipynb")]) == 2
    told = capfd.readouterr().err
    assert "C254" in told
    assert "jupyter lab look.ipynb" in told


def test_numpys_old_names_are_there_for_a_program(capfd: pytest.CaptureFixture[str]) -> None:
    text = """import numpy as np
a = np.zeros(3, dtype=np.float)
print(a.dtype, a.astype(np.int).dtype, a.astype(np.bool).dtype, np.array(["x"], dtype=np.object).dtype, np.str("x"))"""
    assert main(["run", program(text)]) == 0
    assert capfd.readouterr().out == "float64 int64 bool object x\n"
    with pytest.raises(AttributeError):
        _ = np.float  # type: ignore[attr-defined]


def test_other_mistakes_are_not_blamed_on_python_2(capfd: pytest.CaptureFixture[str]) -> None:
    for text in ("def f(:\n    pass", "printer = 1 +", "import nothing_of_that_name", "undefined", "(1).real_part"):
        assert main(["run", program(text)]) == 1
        assert "2to3" not in capfd.readouterr().err


def test_what_is_no_program(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["run"]) == 2
    assert main(["run", "none.py"]) == 66
    assert main(["run", "--plugin", "none.py", program("")]) == 2
    assert main(["run", "--help"]) == 0


def test_modules_that_only_a_fork_has(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """SSD's caffe.model_libs: Python alone, and out of the checkout that was never built. All others stay netc's."""
    dead_caffe()
    program("raise ImportError('dead')", "dead/caffe/io.py")
    program(
        "from caffe import layers as L\nfrom .proto import caffe_pb2\ndef body(x): return L.ReLU(x)",
        "dead/caffe/libs.py",
    )
    Path("dead/caffe/more").mkdir()
    program("", "dead/caffe/more/__init__.py")
    program(
        "from .. import libs\nfrom caffe.libs import body as again\nassert again is libs.body", "dead/caffe/more/x.py"
    )
    text = """
import sys
sys.path.insert(0, "dead")
import caffe.io
from caffe.libs import *
import caffe.more.x
import google.protobuf as pb2
print(body(L.Input(shape=dict(dim=[1]))).to_proto().layer[1].type, pb2.text_format.Merge.__name__)
"""
    assert main(["run", program(text)]) == 0
    assert capfd.readouterr().out == "ReLU Merge\n"
    program("print 'two'", "dead/caffe/old.py")
    assert main(["run", program("import sys; sys.path.insert(0, 'dead'); import caffe.old")]) == 2
    assert "error[C220]" in capfd.readouterr().err


def test_a_module_that_caffe_has_not() -> None:
    with pytest.raises(ModuleNotFoundError, match="it has caffe"):
        netc.pycaffe.doors.Finder().find_spec("caffe.nothing", None)


def test_install_is_for_the_process() -> None:
    code = """
import sys
import netc.pycaffe
netc.pycaffe.install()
assert "torch" not in sys.modules
import caffe
from caffe import io
from caffe.proto import caffe_pb2
import google.protobuf
assert google.protobuf.text_format.Merge("item { label: 1 }", caffe_pb2.LabelMap()).item[0].label == 1
assert caffe is netc.pycaffe and io is netc.pycaffe.io and caffe.io.__name__ == "netc.pycaffe.io"
assert caffe.__spec__.name == "netc.pycaffe"
netc.pycaffe.uninstall()
try:
    import caffe
except ModuleNotFoundError:
    print("gone")
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, timeout=60, capture_output=True, text=True)
    assert done.stdout == "gone\n"


def test_the_line_of_a_pth_file(tmp_path: Path) -> None:
    """As docs/from_caffe.md gives it."""
    page = (Path(__file__).parents[2] / "docs" / "from_caffe.md").read_text()
    (line,) = [line for line in page.splitlines() if line.startswith("import netc.pycaffe;")]
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "caffe-is-netc.pth").write_text(f"{line}\n")
    code = f"import site; site.addsitedir({str(tmp_path / 'site')!r}); import caffe; print(caffe.__name__)"
    done = subprocess.run([sys.executable, "-c", code], check=True, timeout=60, capture_output=True, text=True)
    assert done.stdout == "netc.pycaffe\n"


@pytest.mark.parametrize(
    "typed, told",
    [
        ("compute_image_mean", "netc image-mean"),
        ("upgrade_net_proto_text.bin", "netc upgrade"),
        ("draw_net.py", "netc draw"),
        ("parse_log.py", "netc parse-log"),
        ("python/classify.py", "netc run classify.py"),
        ("build/tools/caffe", "netc train, netc test, netc time, netc device_query"),
        ("caffe train -solver 's a.prototxt' --gpu=all", "netc train -solver 's a.prototxt' --gpu=all"),
        ("caffe.bin device_query -gpu 0", "netc device_query -gpu 0"),
        ("caffe -solver s.prototxt", "netc train, netc test"),
        ("caffe banana", "netc train, netc test"),
        ("convert_imageset.bin", "netc convert-imageset"),
        ("upgrade_net_proto_binary", "netc convert-caffemodel"),
        ("upgrade_solver_proto_text", "netc upgrade"),
        ("tools/detect.py", "netc run detect.py"),
        ("extract_features.bin", "netc extract-features"),
        ("tools/extra/parse_log.sh", "netc parse-log"),
        ("extract_seconds.py", "netc parse-log"),
        ("plot_training_log.py.example", "netc plot-log"),
        ("plot_log.gnuplot.example", "netc plot-log"),
        ("summarize.py", "netc check"),
        ("launch_resize_and_crop_images.sh", "netc convert-imageset"),
        ("examples/imagenet/make_imagenet_mean.sh", "netc image-mean"),
        ("train_net.bin", "netc train"),
        ("finetune_net", "netc train"),
        ("test_net", "netc test"),
        ("net_speed_benchmark", "netc time"),
        ("build/examples/cpp_classification/classification.bin m.prototxt", "netc classify"),
        ("examples/web_demo/app.py -d", "netc run examples/web_demo/app.py -d"),
    ],
)
def test_caffes_programs_are_answered_by_their_names_here(
    typed: str, told: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(shlex.split(typed)) == 2
    assert told in capfd.readouterr().err


@pytest.mark.parametrize("flag", ["-logtostderr", "--logtostderr=1", "-alsologtostderr=true"])
def test_glogs_flags_ask_for_what_netc_does(flag: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model = written(tmp_path, DEPLOY)
    assert main(["time", flag, "-model", model, "-phase=TEST", "-iterations", "1", "-level=0", "-stage", ""]) == 0
    assert "Average Forward pass" in capfd.readouterr().err
    assert main(["time", "-logtostderr=0", "-model", model]) == 2
    assert main(["time", "-log_dir=x", "-model", model]) == 2
    assert "'--log-dir'" in capfd.readouterr().err


@pytest.mark.slow
def test_the_package_caffe_in_an_environment_of_its_own(tmp_path: Path) -> None:
    """As docs/from_caffe.md says: installed by pip, used by a plain Python, taken away again."""
    root = Path(__file__).parents[2]
    shutil.copytree(root / "tools" / "caffe_package", tmp_path / "package")
    venv.create(tmp_path / "env", with_pip=True, symlinks=True)
    python = str(tmp_path / "env" / "bin" / "python")
    (site,) = (tmp_path / "env" / "lib").glob("python*/site-packages")
    (site / "netc-is-here.pth").write_text(f"{root}\n{Path(click.__file__).parents[1]}\n")
    code = """import sys, caffe, caffe.io, caffe.draw
from caffe.proto import caffe_pb2
import netc.pycaffe
assert caffe is netc.pycaffe is sys.modules["caffe"]
print(caffe.Net(sys.argv[1], caffe.TEST).forward()["prob"].shape)"""
    net = written(tmp_path, DEPLOY)

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        return subprocess.run([python, *words], capture_output=True, text=True, timeout=300, env=env, cwd=tmp_path)

    assert run("-c", code, net).returncode == 1
    done = run("-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index", "./package")
    assert done.returncode == 0, done.stderr
    done = run("-c", code, net)
    assert (done.stdout, done.returncode) == ("(2, 5)\n", 0), done.stderr
    assert "netc" not in run("-c", "import sys; print([*sys.modules])").stdout.replace("netc-is", "")
    assert run("-m", "pip", "uninstall", "-q", "-y", "netc-caffe").returncode == 0
    assert run("-c", "import caffe").returncode == 1
