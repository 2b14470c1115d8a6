"""Caffe's way of writing options, turned into click's.

gflags takes `-solver S`, `--solver=S`, `--gray=true`, `--nogray`; click takes `--solver S`, `--gray`. Only options
that the command declares are touched, so a value that begins with a dash is left as it is. Underscores and dashes
inside a name are the same (`normal`), which click itself applies to declarations and to what the user wrote. glog's
`-logtostderr` and `-alsologtostderr` ask for what netc does anyway, and are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import click

TRUE = frozenset({"true", "t", "yes", "y", "1"})
GLOGS = frozenset({"logtostderr", "alsologtostderr"})
FALSE = frozenset({"false", "f", "no", "n", "0"})


def normal(name: str) -> str:
    return name.replace("_", "-")


def from_gflags(args: Sequence[str], params: Sequence[click.Parameter]) -> list[str]:
    """`args` as click wants them for a command with `params`."""
    options = {
        normal(name.lstrip("-")): p for p in params if isinstance(p, click.Option) for name in p.opts if _long(name)
    }
    letters = {"h", *(name[1:2] for p in params if isinstance(p, click.Option) for name in p.opts if not _long(name))}
    return list(_rewritten(iter(args), options, letters))


def _long(name: str) -> bool:
    return name.startswith("--")


def _whole(arg: str, letters: set[str]) -> str:
    """An unknown `-log_dir` as `--log_dir`, so that click names it and not its first letter."""
    unknown = len(arg) > 2 and arg[0] == "-" and arg[1].isalpha() and arg[1] not in letters
    return f"-{arg}" if unknown else arg


def _rewritten(args: Iterator[str], options: dict[str, click.Option], letters: set[str]) -> Iterator[str]:
    for arg in args:
        if arg == "--":
            yield from (arg, *args)
            return
        name, equals, value = arg.lstrip("-").partition("=")
        option = options.get(normal(name)) if arg.startswith("-") else None
        if option is None and arg.startswith("-") and name in GLOGS and (not equals or value.lower() in TRUE):
            continue
        if option is None:
            yield from _negated(_whole(arg, letters), options)
        elif option.is_flag:
            yield from _flag(f"--{name}", option, equals + value)
        else:
            yield f"--{name}{equals}{value}"
            if not equals:  # the next word is this option's value, whatever it looks like
                yield from (word for word in (next(args, None),) if word is not None)


def _flag(name: str, option: click.Option, value: str) -> Iterator[str]:
    if value[1:].lower() in FALSE:
        yield from option.secondary_opts[:1]
    else:
        yield name if value[1:].lower() in TRUE or not value else name + value


def _negated(arg: str, options: dict[str, click.Option]) -> Iterator[str]:
    """`--nogray` is `--gray=false`; any other word is passed on."""
    name = normal(arg.lstrip("-"))
    option = options.get(name[2:]) if arg.startswith("-") and name.startswith("no") else None
    if option is not None and option.is_flag:
        yield from option.secondary_opts[:1]
    else:
        yield arg
