"""Options that several commands share, and what their values mean."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from netc.errors import NetcError, printable

if TYPE_CHECKING:
    from netc.check.probe import Told

Decorated = TypeVar("Decorated", bound="Callable[..., Any]")

json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")


MOST_THREADS = 4096
INT_MAX = 2**31 - 1


class Whole(click.IntRange):
    """A whole number from `min` to `most`; one of hundreds of digits is not repeated in the message."""

    def __init__(self, min: int | None = None, most: int = INT_MAX) -> None:
        super().__init__(min)
        self.most = most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        _refuse_long(self, value, param, ctx)
        number = super().convert(value, param, ctx)
        if number > self.most:
            self.fail(f"{number} is more than {self.most}", param, ctx)
        return number


class Real(click.FloatRange):
    """A number, which "nan" is not."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        _refuse_long(self, value, param, ctx)
        number = super().convert(value, param, ctx)
        if number != number:
            self.fail(f'"{value}" is not a number', param, ctx)
        return number


def _refuse_long(kind: click.ParamType[Any], value: Any, *context: Any) -> None:
    if len(text := str(value)) > 60:
        kind.fail(f'"{printable(text[:20])}…" of {len(text):,} characters is not a number of a sensible size', *context)


def json_text(found: object, ascii: bool = True) -> str:
    """What `--json` prints. (json is imported only then.)"""
    import json

    text = json.dumps(found, indent=2, ensure_ascii=ascii)
    if not ascii:
        text = re.sub(r"[^\n -~]", lambda c: c[0] if c[0].isprintable() else json.dumps(c[0])[1:-1], text)
    return text


def output_option(metavar: str, help: str) -> Callable[[Decorated], Decorated]:
    """`-o`, of every command that writes one file; all of them take both long names."""
    return click.option("-o", "--output", "--out", "output", metavar=metavar, help=help)


force_option = click.option("--force", is_flag=True, help="Replace files that are there already.")
"""Of every command that writes files under names that are given to it (`netc.files.durable.refuse_existing`)."""


def net_options(
    purpose: str, phase: str, phases: tuple[str, ...] = ("TRAIN", "TEST"), default: str | None = None
) -> Callable[[Decorated], Decorated]:
    """`--phase`, `--level`, `--stage` and `--shape`, of the commands that look at a net; in their help, what they do
    with it ("draw") and which phase is meant. The stages come as a list."""
    options = (
        click.option(
            "--phase",
            type=click.Choice(phases, case_sensitive=False),
            default=default,
            show_default=default is not None,
            help=phase,
        ),
        click.option("--level", type=Whole(-INT_MAX), default=0, metavar="N", help=f"The level to {purpose}."),
        click.option(
            "--stage",
            "stages",
            multiple=True,
            metavar="NAMES",
            callback=lambda ctx, param, given: split(",".join(given)),
            help=f"Stages to {purpose}, with commas or repeated.",
        ),
        shape_option(),
    )

    def decorated(command: Decorated) -> Decorated:
        for option in reversed(options):
            command = option(command)
        return command

    return decorated


def shape_option() -> Callable[[Decorated], Decorated]:
    """`--shape`, a `Told`; what nothing was found for is said at the end."""
    return click.option(
        "--shape",
        "told",
        metavar="C,H,W",
        multiple=True,
        callback=_told,
        help="The images' channels, height and width, where a data layer's source is not here (TOP=… for one top).",
    )


def _told(ctx: click.Context, param: click.Parameter, given: tuple[str, ...]) -> Told:
    from netc.check.probe import Told

    told = Told()
    for text in given:
        top, _, numbers = text.rpartition("=")
        shape = shape_of(numbers)
        if not shape or (not top and len(shape) != 3):
            raise click.BadParameter(f'"{printable(text)}" is not a shape; 1,28,28 or data=3,32,48 is one', ctx, param)
        told.shapes[top] = shape
    if given:
        ctx.call_on_close(lambda: None if told.used else click.echo(UNUSED, err=True))
    return told


UNUSED = "note: --shape was not needed: no layer here reads data of unknown size"


def shape_of(text: str) -> tuple[int, ...]:
    """ "1,28,28", or with × or x between the numbers, as a shape; () for anything else."""
    parts = text.replace("×", ",").replace("x", ",").split(",")
    try:
        shape = tuple(map(int, parts))
    except ValueError:
        return ()
    return shape if all(0 < size < 2**31 for size in shape) else ()


def split(names: str) -> list[str]:
    """Names with commas between them."""
    return [name.strip() for name in names.split(",") if name.strip()]


def gpus_of(text: str, count: int) -> list[int]:
    """The GPU numbers that `--gpu` asks for on a machine with `count` of them ("0,1", or "all", which may be none).

    Raises C201 where a number is not one of this machine's, C202 where the text is not a list of numbers.
    """
    if text.strip().lower() == "all":
        return list(range(count))
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        raise NetcError("C202", f'--gpu takes numbers such as 0,1 or the word all, not "{text}"') from None
    for number in numbers:
        if not 0 <= number < count:
            has = f"it has {count}, numbered from 0" if count else "torch sees none here"
            raise NetcError("C201", f"this machine has no GPU {number}: {has}", hint="netc device_query lists them")
    return list(dict.fromkeys(numbers))


def allow_python_layers() -> click.Option:
    """`--allow-python-layers`, in force until the command ends."""
    return click.Option(
        ["--allow-python-layers"],
        metavar="MODULES",
        multiple=True,
        expose_value=False,
        callback=_allow,
        help="Python modules whose layers may run (several: commas between them, or repeated).",
    )


def _allow(ctx: click.Context, param: click.Parameter, given: tuple[str, ...]) -> None:
    if given:
        from netc.errors.foreign import allowing

        ctx.with_resource(allowing(split(",".join(given))))


def trust_net() -> click.Option:
    """`--trust-net`, in force until the command ends."""
    return click.Option(
        ["--trust-net"],
        is_flag=True,
        expose_value=False,
        callback=_trust,
        help="Let a net that comes out of a weight file open the files it names.",
    )


def _trust(ctx: click.Context, param: click.Parameter, given: bool) -> None:
    if given:
        from netc.files.consent import trusting

        ctx.with_resource(trusting())


def plugin() -> click.Option:
    """`--plugin`; the types stay known to the process."""
    return click.Option(
        ["--plugin"],
        metavar="FILE",
        multiple=True,
        expose_value=False,
        callback=_load,
        help="A Python file that defines further layer types (repeatable).",
    )


def _load(ctx: click.Context, param: click.Parameter, files: tuple[str, ...]) -> None:
    if files:
        from netc.plugin import load_plugin

        for file in files:
            load_plugin(file)
