"""`netc run`: run a program written for pycaffe, with netc as its caffe."""

from __future__ import annotations

import os
import runpy
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import click

from netc.cli._status import DONE, FAILED
from netc.errors import NetcError, Place
from netc.files.opening import open_regular

_NETC = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "")


class _Program(click.Command):
    """A command whose words after the program's name are the program's, whatever they look like."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, _divided(args, self.params))


def _divided(args: Sequence[str], params: Sequence[click.Parameter]) -> list[str]:
    """The words with "--" where those of the program begin."""
    taking = {name for p in params if isinstance(p, click.Option) and not p.is_flag for name in p.opts} - {"-m"}
    index = 0
    while index < len(args):
        word = args[index]
        if word == "--":
            return list(args)
        if word == "-m" or not word.startswith("-"):
            break
        index += 2 if word.replace("_", "-") in taking else 1
    cut = index + 2 if args[index : index + 1] == ["-m"] else index
    return [*args[:cut], "--", *args[cut:]]


@click.command(
    "run",
    cls=_Program,
    context_settings={"allow_interspersed_args": False},
    options_metavar="[OPTIONS]",
)
@click.option("-m", "module", metavar="MODULE", help="Run this module as a program, as python -m does.")
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="SCRIPT.py [ARGS]...")
def command(module: str | None, words: tuple[str, ...]) -> int:
    """Run a Python program written for pycaffe. In it `import caffe` finds netc, whatever Caffe lies on its path.

    The words after SCRIPT.py, or after -m MODULE, are the program's own. Its exit status is netc's.
    """
    if module is None and not words:
        raise click.UsageError("name a program: netc run SCRIPT.py, or netc run -m MODULE")
    script = None if module is not None else words[0]
    if script is not None and not os.path.exists(script):
        raise NetcError("F120", "there is no such program", Place(script))
    if script is not None:
        open_regular(script).close()
        _refuse_notebook(script)
    argv = [module or "", *words] if module is not None else list(words)
    with _as_the_program(argv, os.getcwd() if script is None else os.path.dirname(os.path.abspath(script))):
        return _run(script, module)


def _refuse_notebook(script: str) -> None:
    if script.lower().endswith(".ipynb"):
        hint = f"jupyter lab {script}, with `import netc.pycaffe; netc.pycaffe.install()` in its first cell"
        raise NetcError("C254", "this is a notebook, not a program", Place(script), hint)


def _run(script: str | None, module: str | None) -> int:
    try:
        if module is not None:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        else:
            assert script is not None
            runpy.run_path(script, run_name="__main__")
    except (SystemExit, KeyboardInterrupt, BrokenPipeError, click.ClickException):
        raise
    except BaseException as error:
        return _failed(error)
    return DONE


def _failed(error: BaseException) -> int:
    """The traceback of the program, as Python prints it, and a word where its age is the cause."""
    from netc.cli._python2 import as_python2

    old = as_python2(error)
    if old is not None:
        raise old from None
    if hint := _hint(error):
        error.add_note(f"netc: {hint}")
    told = traceback.TracebackException(type(error), error, _own(error.__traceback__))
    if isinstance(error, NetcError):  # it says what to do; where in netc it was found does not help
        while len(told.stack) > 1 and told.stack[-1].filename.startswith(_NETC):
            told.stack.pop()
    told.print(file=sys.stderr)
    return error.exit_status if isinstance(error, NetcError) else FAILED


def _hint(error: BaseException) -> str:
    from netc.cli import _old_libraries, _python2

    if _old_libraries.is_unbuilt(error, sys.path):
        return "it lies there as Cython (.pyx) and was never built: python setup.py build_ext --inplace in its folder"
    return _python2.remark(error) or _old_libraries.remark(error)


def _own(frames: TracebackType | None) -> TracebackType | None:
    """The frames from the program on."""
    while frames is not None and frames.tb_frame.f_globals.get("__name__") in (__name__, "runpy"):
        frames = frames.tb_next
    return frames


@contextmanager
def _as_the_program(argv: list[str], folder: str) -> Iterator[None]:
    """What a program finds when Python runs it: its own words, its folder first on the path, and caffe. numpy has the
    names that old programs use (np.float), for the same time."""
    from netc.cli._old_libraries import numpys_old_names
    from netc.pycaffe import doors

    kept: Any = (sys.argv[:], sys.path[:], doors.is_installed())
    if os.path.realpath(sys.path[0]) == os.path.dirname(os.path.realpath(sys.argv[0])):
        del sys.path[0]  # the folder of netc's own script
    sys.argv[:] = argv
    sys.path.insert(0, folder)
    doors.install()
    try:
        with numpys_old_names():
            yield
    finally:
        sys.argv[:], sys.path[:] = kept[0], kept[1]
        if not kept[2]:
            doors.uninstall()
