"""`netc extract-features`: blobs of a net over its data, as LMDBs (Caffe's extract_features)."""

from __future__ import annotations

from typing import Any

import click

from netc.cli._options import Whole
from netc.errors import NetcError


@click.command("extract-features")
@click.argument("weights", metavar="WEIGHTS")
@click.argument("net", metavar="NET")
@click.argument("blobs", metavar="BLOBS")
@click.argument("datasets", metavar="LMDBS")
@click.argument("batches", metavar="BATCHES", type=Whole(1))
@click.argument("db_type", metavar="[lmdb]", default="lmdb")
@click.argument("mode", metavar="[CPU|GPU]", type=click.Choice(["CPU", "GPU"], case_sensitive=False), default="CPU")
@click.argument("device_id", metavar="[N]", default="0")
def command(
    weights: str, net: str, blobs: str, datasets: str, batches: int, db_type: str, mode: str, device_id: str
) -> None:
    """Write blobs of a net in the TEST phase, over so many batches of its data, into databases of Datums.

    BLOBS and LMDBS are lists with commas, one database for each blob. The words are those of Caffe's extract_features;
    N may also be DEVICE_ID=N.
    """
    names, paths = blobs.split(","), datasets.split(",")
    if len(names) != len(paths):
        raise click.UsageError(f"{len(names)} blobs and {len(paths)} databases: give a database for each blob")
    if len(set(names)) < len(names) or len(set(paths)) < len(paths):
        raise click.UsageError("a blob or a database is named twice")
    if db_type.lower() != "lmdb":
        raise NetcError("C230", f"the database would be a {db_type}, and netc writes LMDB", None, "say lmdb")
    _extract(weights, net, dict(zip(names, paths)), batches, device_id if mode.upper() == "GPU" else None)


def _extract(weights: str, net: str, databases: dict[str, str], batches: int, gpu: str | None) -> None:
    from netc.cli._run import one_device
    from netc.runtime.net.load import load_net
    from netc.runtime.report.features import extract
    from netc.runtime.solver.log import stderr

    log = stderr()
    device = one_device(None if gpu is None else gpu.removeprefix("DEVICE_ID="), log)
    module: Any = load_net(net, "TEST", weights, device=device)
    log.info("extract_features.cpp:133", "Extracting Features")

    def say(count: int, blob: str) -> None:
        log.info("extract_features.cpp:176", f"Extracted features of {count} query images for feature blob {blob}")

    try:
        extract(module, databases, batches, say)
    finally:
        module.feeding.close()
