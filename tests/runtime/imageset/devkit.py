"""A devkit of three classes, as ImageNet's: its numbers go another way than the sorted synsets.

The file was written by scipy.io.savemat, whose compressed and plain forms are both here: an array of structs with the
fields of ILSVRC2012's meta.mat, numbers of several types, a class that is not one of the leaves.
"""

from __future__ import annotations

import base64
import zlib
from pathlib import Path

META = base64.b64decode(
    "TUFUTEFCIDUuMCBNQVQtZmlsZSBQbGF0Zm9ybTogcG9zaXgsIENyZWF0ZWQgb246IFNhdCBOb3YgMjggMTY6NTY6NTQgMjAyNgAAAAAAAAAA"
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAABSU0PAAAAhwEAAHic3VTNSsNAEN7atDYooYKHHvMAHjY1mvZk"
    "QAUL4kGhHkto13Qx2Uh2S+0b6XP4Qj6Cu22i2zFtJJ50YNjMZL9vfj4SCyH0sotQU54t6TtoZY0sNqTXMpfXEF8wTgSX7w10kOXn0gfXd8Pb"
    "8y52uqPBhSK4v1mdnzZP0gnXE2GU8LUEm8Wj8ZRGk5SwZWItyG+INKBsROMgJBJtySxGX/2boP+a5mg5X205o8L5Gs4owJkarp3FDHcdjL3j"
    "kyz/Ex4L8Kj4koUR5VNbLlOQ9PsckCc3nSev39NwVsn8+4AP1m2W1DU34PZK6hpy64eNanrlO/S37GebXk7f6/W1vq9KeDqAR8WPVNgPyfOR"
    "PZxFT4TbcTBOE0F5Vf15HESRHaZkoWj/po56v7AexJlrfbT86no6rou9U1frv1fC0wA8KhaEjacF8//n7666Xu1f6CXN8Vy8YW9FPE3Ao2LC"
    "BBWLcr3gHG05/9trdb3qWt/6f6Nof3Wwvw6C9n6WPfhVdFT2AZKrTtg="
)

PLAIN_META = META[:128] + zlib.decompress(META[136:])
"""The same without compression."""

IDS = {1: "n02119789", 2: "n02100735", 3: "n01440764"}
SYNSETS = sorted(IDS.values())


def write_devkit(folder: Path, truth: list[int]) -> None:
    """`folder`/data with the ground truth and meta.mat."""
    (folder / "data").mkdir(parents=True)
    (folder / "data/meta.mat").write_bytes(META)
    lines = "".join(f"{number}\n" for number in truth)
    (folder / "data/ILSVRC2012_validation_ground_truth.txt").write_text(lines)
