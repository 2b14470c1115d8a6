"""The frame of the command line: the table of commands, lazy loading, help, and one place for every error.

A new command is a file `netc/cli/<name>.py` with a click command called `command`, and a line in `COMMANDS`. Its line
of help stands there, so that `netc --help` imports no command.
"""

from __future__ import annotations

import importlib
import os
import shlex
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import click

from netc import __version__
from netc.cli._gflags import from_gflags, normal
from netc.cli._status import DONE, TERMINATED
from netc.errors import did_you_mean
from netc.errors.terminal import clean_streams
from netc.runtime.net.numerics import silence_pillow

COMMANDS: dict[str, dict[str, str]] = {
    "Begin": {
        "demo": "Draw pictures, train a small net on them, and test it.",
    },
    "Run": {
        "train": "Train a net by its solver.",
        "prove-parallel": "Show that several processes train as one does.",
        "test": "Score a net on its test data, or by the paper's protocols.",
        "classify": "Name what is on pictures, by a trained net.",
        "reproduce": "Measure the tables of the paper, or a miniature of them.",
        "localise": "Find objects on pictures, and draw their boxes.",
        "features": "Write features of pictures by a trained net.",
        "svm": "Train and test linear machines on features.",
        "time": "Measure how long each layer of a net takes.",
        "extract-features": "Write blobs of a net over its data into databases.",
        "run": "Run a Python program written for pycaffe.",
    },
    "Data": {
        "convert-imageset": "Make an LMDB of pictures.",
        "image-mean": "Compute the means and principal colours of a database.",
        "pack": "Make the pictures of a database smaller, once.",
    },
    "Look": {
        "check": "Check nets and solvers; show shapes, sizes and costs.",
        "draw": "Draw a net as SVG, DOT or Mermaid.",
        "diff": "Compare two nets or solvers by what they mean.",
        "parse-log": "Write the numbers of a training log as tables.",
        "plot-log": "Draw the curves of training logs.",
        "report": "Write runs and results as one HTML page.",
        "explain": "Explain an error or warning by its code.",
        "cache": "Show or clear what engines keep on the disk.",
        "device_query": "List the processors and GPUs that netc can use.",
    },
    "Edit": {
        "new": "Copy a net that comes with netc, to edit it.",
        "fmt": "Write prototxt files in canonical form.",
        "convolutional": "Write a classifier as a net for images of any size.",
        "upgrade": "Rewrite a net or solver of an older format in the current one.",
    },
    "Weights": {
        "weights": "Show what a weight file holds, or how two differ.",
        "convert-caffemodel": "Convert a weight file, and prove it.",
        "optimise": "Fold a net's fixed layers into its weights.",
        "emit": "Write a net as one file of PyTorch code.",
    },
}
"""Heading → command → its line of help, in the order `netc --help` shows them."""

MODULES = {normal(name): f"netc.cli.{name.replace('-', '_')}" for group in COMMANDS.values() for name in group}

CAFFES = {
    "compute-image-mean": "image-mean",
    "upgrade-net-proto-text": "upgrade",
    "upgrade-solver-proto-text": "upgrade",
    "upgrade-net-proto-binary": "convert-caffemodel",
    "draw-net": "draw",
    "extract-seconds": "parse-log",
    "plot-training-log": "plot-log",
    "plot-log.gnuplot": "plot-log",
    "summarize": "check",
    "resize-and-crop-images": "convert-imageset",
    "launch-resize-and-crop-images": "convert-imageset",
    "create-imagenet": "convert-imageset",
    "make-imagenet-mean": "image-mean",
    "train-caffenet": "train",
    "train-lenet": "train",
    "resume-training": "train",
    "train-net": "train",
    "finetune-net": "train",
    "test-net": "test",
    "net-speed-benchmark": "time",
    "optimize": "optimise",
    "classify": "run classify.py",
    "detect": "run detect.py",
    "classification": "classify",
    "cpp-classification": "classify",
}
"""Caffe's programs and scripts that have another name here → what to type behind netc."""

ENDINGS = (".example", ".exe", ".bin", ".py", ".sh")
"""Of the names of Caffe's programs."""

WITHOUT_NETS = frozenset(
    {
        "demo",
        "new",
        "convert-imageset",
        "image-mean",
        "pack",
        "explain",
        "device_query",
        "parse-log",
        "plot-log",
        "report",
        "cache",
        "svm",
    }
)
"""Commands that read no net, and so have no use for the user's own layers. All others take `user_code_options`."""

EPILOG = """\
\b
Exit status: 0 done, 1 failed, 2 wrong usage, 65 bad input data, 66 input missing,
73 cannot write, 74 I/O error, 75 stopped with a snapshot saved, 130 or 143 interrupted.
"""


@dataclass
class Frame:
    """What the whole process shares; it travels as the click context's `obj`."""

    debug: bool = False
    as_json: bool = False


class LazyGroup(click.Group):
    """The commands of `COMMANDS`, each imported when it is run; underscores and dashes in a name are the same."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for group in COMMANDS.values() for name in group]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return load(cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        command = load(args[0])
        if command is None:
            ctx.fail(f'there is no command "{args[0]}"{self._hint(ctx, *args)}')
        if not command.context_settings.get("allow_interspersed_args", True):
            return args[0], command, args[1:]  # words that are not netc's
        return args[0], command, from_gflags(args[1:], command.params)

    def _hint(self, ctx: click.Context, name: str, *words: str) -> str:
        caffes = normal(os.path.basename(name))
        for ending in ENDINGS:
            caffes = caffes.removesuffix(ending)
        if caffes == "caffe":
            return _of_caffe(words)
        if caffes in CAFFES or load(caffes) is not None:
            return f"; Caffe's is here: netc {CAFFES.get(caffes, caffes)}"
        if name.endswith(".py"):
            return f"; a program for pycaffe is run by: netc run {shlex.join([name, *words])}"
        if os.path.exists(name):
            return f"; netc check {name} looks at this file"
        return did_you_mean(name, self.list_commands(ctx)) or "; netc --help lists them"

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for heading, group in COMMANDS.items():
            with formatter.section(heading):
                formatter.write_dl(list(group.items()))


def _of_caffe(words: Sequence[str]) -> str:
    """What to type for `caffe COMMAND OPTIONS`: the same words behind netc."""
    commands = "netc train, netc test, netc time, netc device_query"
    if words and not words[0].startswith("-") and load(words[0]) is not None:
        return f"; Caffe's is here, with the same words: netc {shlex.join(words)}"
    return f"; Caffe's commands are here: {commands}"


def load(name: str) -> click.Command | None:
    """The command of that name with the frame's own option added, or None."""
    module = MODULES.get(normal(name))
    if module is None:
        return None
    command: click.Command = importlib.import_module(module).command
    if not any(param.name == "debug" for param in command.params):
        command.params += [*user_code_options(name), debug_option()]
    return command


def user_code_options(name: str) -> list[click.Parameter]:
    """The options that let code of the user's run, of every command that reads nets."""
    from netc.cli._options import allow_python_layers, plugin, trust_net

    return [] if normal(name) in map(normal, WITHOUT_NETS) else [plugin(), allow_python_layers(), trust_net()]


def debug_option() -> click.Option:
    return click.Option(
        ["--debug"],
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_remember_debug,
        help="Show the traceback of an error.",
    )


def _remember_debug(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and isinstance(ctx.obj, Frame):
        ctx.obj.debug = True


def _print_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        click.echo(version_line())
        ctx.exit(DONE)


def version_line() -> str:
    """ "netc 0.1.0 (Python 3.11.7, torch 2.13.0, …)", from the installed packages' metadata, nothing imported."""
    from importlib.metadata import PackageNotFoundError, version

    parts = [f"Python {sys.version.split()[0]}"]
    for package in ("torch", "protobuf", "lmdb"):
        try:
            parts.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            parts.append(f"{package} missing")
    return f"netc {__version__} ({', '.join(parts)})"


cli = LazyGroup(
    "netc",
    help="Read Caffe's .prototxt nets and solvers and run them on PyTorch, with Caffe's exact semantics.",
    epilog=EPILOG,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "token_normalize_func": normal,
        "max_content_width": 100,
    },
    params=[
        debug_option(),
        click.Option(
            ["--version"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_print_version,
            help="Show the versions of netc and of what it stands on.",
        ),
    ],
)


def run(args: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status; every error is reported here, and only here.

    A command's own return value is its exit status: an int, or None for 0.
    """
    words = sys.argv[1:] if args is None else list(args)
    frame = Frame(as_json=asks_for_json(words))
    silence_pillow()
    with clean_streams():
        return _run(words, frame)


def _run(words: list[str], frame: Frame) -> int:
    restore = _exit_on_sigterm()
    try:
        status = _invoke(words, frame)
        frame.as_json = False  # its document is written
        print(end="", flush=True)  # here, where a closed pipe or a full disk can still be reported
        return status
    except BaseException as error:
        from netc.cli._report import report

        return report(error, frame.debug, frame.as_json)
    finally:
        restore()


def asks_for_json(words: Sequence[str]) -> bool:
    """Whether `--json` is among the words, also where the command has no such option or is not known."""
    options = words[: words.index("--")] if "--" in words else words
    return "--json" in from_gflags(options, [click.Option(["--json"], is_flag=True)])


def _invoke(args: list[str], frame: Frame) -> int:
    if "_NETC_COMPLETE" in os.environ:
        cli.main(args, prog_name="netc")
    color = False if os.environ.get("NO_COLOR") else None
    try:
        with cli.make_context("netc", args, obj=frame, color=color) as ctx:
            result: Any = cli.invoke(ctx)
    except click.exceptions.Exit as end:
        return end.exit_code
    return result if isinstance(result, int) else DONE


def _exit_on_sigterm() -> Any:
    """SIGTERM unwinds the stack (so that temporary files go), unless somebody handles it already."""
    import threading

    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        return lambda: None
    signal.signal(signal.SIGTERM, _terminate)
    return lambda: signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _terminate(signum: int, stack: object) -> NoReturn:
    raise SystemExit(TERMINATED)
