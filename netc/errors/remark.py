"""What a remark is."""

from __future__ import annotations

from dataclasses import dataclass

from netc.errors import Place, printable_lines


@dataclass(frozen=True, slots=True)
class Advice:
    """A remark: its code (of section A), what was found, where, and what could be done."""

    code: str
    message: str
    place: Place
    hint: str | None = None

    def __str__(self) -> str:
        lines = [f"{self.place}: warning[{self.code}]: {printable_lines(self.message)}", self.place.excerpt()]
        lines += [f"  help: {printable_lines(self.hint)}"] if self.hint else []
        return "\n".join(line for line in lines if line)


def listed(names: list[str], most: int = 4) -> str:
    """ "conv1, conv2", or the ends of a long list: "conv1, conv2 … fc8"."""
    if len(names) <= most:
        return ", ".join(names)
    return f"{', '.join(names[: most - 2])} … {names[-1]}"
