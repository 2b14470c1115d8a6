"""Options that several commands share, and what their values mean."""

from __future__ import annotations

import click

from netc.errors import NetcError

json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")


def split(names: str) -> list[str]:
    """Names with commas between them."""
    return [name.strip() for name in names.split(",") if name.strip()]


def gpus_of(text: str, count: int) -> list[int]:
    """The GPU numbers that `--gpu` asks for on a machine with `count` of them ("0,1", or "all", which may be none).

    Raises C201 where a number is not one of this machine's, C202 where the text is no list of numbers.
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
        from netc.foreign import allowing

        ctx.with_resource(allowing(split(",".join(given))))


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
