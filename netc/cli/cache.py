"""`netc cache`: what engines keep on the disk."""

from __future__ import annotations

import click

from netc.cli._options import json_option, json_text


@click.command("cache")
@click.argument("action", type=click.Choice(["list", "size", "clear"]), default="list")
@json_option
def command(action: str, as_json: bool) -> None:
    """Show what engines keep on the disk, how much it is, or remove it all.

    It lies in $NETC_CACHE, else in $XDG_CACHE_HOME/netc, else in ~/.cache/netc. What was used longest ago goes where it
    is more than $NETC_CACHE_LIMIT (8G).
    """
    from netc.errors.words import in_bytes
    from netc.runtime.engines import cache

    limit, root = cache.limit(), str(cache.root())
    if action == "clear":
        freed = cache.clear()
        click.echo(json_text({"folder": root, "freed": freed}) if as_json else f"{in_bytes(freed)} removed from {root}")
        return
    entries = cache.entries()
    total = sum(entry.size for entry in entries)
    if as_json:
        rows = [{"name": entry.path.name, "bytes": entry.size, "used": entry.used} for entry in entries]
        click.echo(json_text({"folder": root, "bytes": total, "limit": limit, "entries": rows}))
        return
    if action == "list":
        from datetime import datetime

        for entry in entries:
            when = datetime.fromtimestamp(entry.used).isoformat(" ", "seconds")
            click.echo(f"{entry.path.name:<42} {in_bytes(entry.size):>10}  used {when}")
    click.echo(f"{in_bytes(total)} in {root}, of {in_bytes(limit)} at most")
