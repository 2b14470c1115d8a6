"""Features of all pictures of a source, by one net or several with their descriptors side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from netc.errors import NetcError, Place
from netc.files.hashing import digest_of
from netc.runtime.evaluate.describe import Description
from netc.runtime.evaluate.sources import Record
from netc.runtime.evaluate.sweep import Broken, Looked, Member, Sweep
from netc.runtime.transfer.files import Features


@dataclass(frozen=True, slots=True)
class Extracted:
    features: Features
    broken: Sequence[Broken]


class Extraction(Sweep):
    """The members are Describers, whose looks `description` puts together, each over the scales of its own protocol.
    Each net's part has length 1 by itself."""

    description: Description

    def check(self) -> None:
        """Raises NetcError R736 for nets of different channels, and what `Classifier.check` raises."""
        first = self.members[0].classifier.input
        for member in self.members:
            if member.classifier.input.channels != first.channels:
                found = "one of the nets takes gray images, and another one colours"
                raise NetcError("R736", found, Place(member.classifier.graph.path), "give nets of the same channels")
        super().check()

    def row(self, record: Record, each: Sequence[Looked]) -> tuple[Any, ...]:
        parts = [self._of(member).of(found) for member, found in zip(self.members, each, strict=True)]
        return record.index, record.key, record.label, np.concatenate(parts).astype(np.float32)

    def _of(self, member: Member) -> Description:
        return replace(self.description, protocol=member.protocol)

    def extracted(self) -> Extracted:
        """Raises NetcError as `gathered`."""
        rows, broken = self.gathered()
        _, keys, labels, values = zip(*rows, strict=True)
        return Extracted(Features(np.stack(values), keys, labels, self._facts(broken)), broken)

    def _facts(self, broken: Sequence[Broken]) -> dict[str, Any]:
        given = self.description
        facts = {"scales": list(given.protocol.scales), "combine": given.combine, "flip": given.protocol.flip}
        facts |= {"normalise": given.normalise, "source": self.source.path}
        facts["unreadable"] = [self.source.key(one.index) for one in broken]
        return {**facts, "nets": [self._net(member) for member in self.members]}

    def _net(self, member: Member) -> dict[str, Any]:
        one = member.classifier
        about = {"net": member.net, "weights": member.weights, "sha256": _sha(member.weights), "blob": one.blob}
        return {**about, "dimensions": self._of(member).size(one.classes), "key": one.key, "input": asdict(one.input)}


def _sha(weights: str) -> str | None:
    """Of the file; None for what is no single file. What was computed with is in `key`."""
    path = Path(weights)
    return digest_of(path, path.stat().st_size).sha256 if path.is_file() else None
