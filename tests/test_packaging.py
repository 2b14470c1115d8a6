"""The wheel: built from a source archive, installed in an empty venv, run outside the checkout."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("netc", "runtime", "proto", "models")

pytestmark = pytest.mark.slow


def run(*command: object, cwd: Path) -> str:
    done = subprocess.run([str(word) for word in command], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def tracked() -> list[str]:
    """The checkout's own files, new ones too; links are listed as themselves."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT)
    return [name for name in listed.split("\0") if name and (ROOT / name).exists()]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as a release is: a source archive from a clean copy of the checkout, the wheel from that archive."""
    source = tmp_path_factory.mktemp("source")
    for name in tracked():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, source / name, follow_symlinks=False)
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, cwd=source)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of a fresh venv that holds netc alone and borrows the dependencies of this one."""
    home = tmp_path_factory.mktemp("venv")
    venv.create(home, with_pip=False, symlinks=True)
    python = home / "bin" / "python"
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=home).strip())
    pip = (sys.executable, "-m", "pip", "--python", python)
    run(*pip, "install", "--no-deps", "--no-index", wheel, cwd=home)
    borrowed = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (site / "borrowed.pth").write_text("\n".join(sorted(borrowed)) + "\n")
    return home / "bin"


def test_the_wheel_holds_every_file_once_and_no_other(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    expected = [
        name if name.startswith("netc/") else f"netc/{name}"
        for name in tracked()
        if name.split("/")[0] in FOLDERS and not (ROOT / name).is_symlink()
    ]
    assert sorted(name for name in names if ".dist-info/" not in name) == sorted(expected)


def test_netc_is_the_only_name_at_the_top(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"netc"}
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_it_runs_outside_the_checkout(installed: Path, tmp_path: Path) -> None:
    assert run(installed / "netc", "--version", cwd=tmp_path).startswith("netc 0.")
    assert "Usage: netc" in run(installed / "netc", "--help", cwd=tmp_path)
    assert "CPU" in run(installed / "python", "-m", "netc", "device_query", cwd=tmp_path)


def test_schema_models_and_machine_come_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    code = """
import netc, netc.proto, netc.runtime.net.module
from pathlib import Path
home = Path(netc.__file__).parent
assert Path(netc.runtime.net.module.__file__).is_relative_to(home)
assert netc.proto.NetParameter(name="a").name == "a"
print(home)
for path in sorted((home / "models").glob("*/deploy.prototxt")):
    netc.compile_net(str(path), phase="TEST")
    print(path.parent.name)
"""
    home, *models = run(installed / "python", "-c", code, cwd=tmp_path).split()
    assert Path(home).is_relative_to(installed.parent)
    assert models == sorted(path.parent.name for path in (ROOT / "models").glob("*/deploy.prototxt"))
