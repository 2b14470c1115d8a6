"""Which folder is which package; everything else about the build stands in pyproject.toml.

`netc/runtime`, `netc/proto` and `netc/models` are links for the checkout. The build goes by the folders they point
at, so that it is the same from a source archive or on a file system that has no links.
"""

from setuptools import find_packages, setup

LINKED = ("runtime", "proto", "models")
LINKS = [[folder] for folder in LINKED]


def packages() -> list[str]:
    own = [name for name in find_packages(include=["netc", "netc.*"]) if name.split(".")[1:2] not in LINKS]
    linked = [f"netc.{folder}" for folder in LINKED]
    nested = [f"netc.{folder}.{name}" for folder in LINKED for name in find_packages(folder)]
    return own + linked + nested


setup(packages=packages(), package_dir={"netc": "netc"} | {f"netc.{folder}": folder for folder in LINKED})
