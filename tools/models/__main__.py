"""Write the folders of models/: `python -m tools.models`."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from tools.models.nets import deploy, train_val
from tools.models.solvers import solver
from tools.models.table import CONFIGS

FOLDER = Path(__file__).resolve().parents[2] / "models"


@cache
def files() -> dict[str, str]:
    """Path inside models/ → text, for every net."""
    found = {}
    for config in CONFIGS:
        found[f"{config.name}/train_val.prototxt"] = train_val(config)
        found[f"{config.name}/deploy.prototxt"] = deploy(config)
        found[f"{config.name}/solver.prototxt"] = solver(config)
    return found


def main() -> None:
    for path, text in files().items():
        target = FOLDER / path
        target.parent.mkdir(exist_ok=True)
        target.write_text(text)


if __name__ == "__main__":
    main()
