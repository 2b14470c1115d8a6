"""The files in models/ are what the table of configurations gives."""

from __future__ import annotations

import pytest

from tools.models.__main__ import FOLDER, files
from tools.models.table import CONFIGS


@pytest.mark.parametrize("path", sorted(files()))
def test_file_is_as_generated(path):
    assert (FOLDER / path).read_text() == files()[path], "run: python -m tools.models"


def test_no_other_folders():
    folders = {path.name for path in FOLDER.iterdir() if path.is_dir() and path.name.startswith(("vgg", "mini_vgg"))}
    assert folders == {config.name for config in CONFIGS}
