"""`netc time`: how long each layer of a net takes (Caffe's `caffe time`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from netc.cli._options import Whole, json_option, json_text, split
from netc.cli._run import device_options, one_device, precision_option
from netc.errors import printable

if TYPE_CHECKING:
    from netc.runtime.report.timing import Timing


@click.command("time")
@click.argument("model_path", metavar="[MODEL]", required=False)
@click.option("--model", metavar="FILE", help="The net; the same as the argument MODEL.")
@click.option("--weights", metavar="FILES", help="Its weights (several: commas between them); the time is the same.")
@click.option("--iterations", metavar="N", type=Whole(1), default=50, show_default=True, help="Passes to measure.")
@click.option(
    "--phase",
    type=click.Choice(["TRAIN", "TEST"], case_sensitive=False),
    default="TRAIN",
    show_default=True,
    help="The phase.",
)
@click.option("--profile", metavar="FILE", help="Write each pass of each layer, for Perfetto or chrome://tracing.")
@click.option("--engines", is_flag=True, help="Measure the forward pass of the TEST phase by each engine instead.")
@click.option("--batch", metavar="N", type=Whole(1), help="Of the inputs, with --engines (default: the net's own).")
@device_options
@precision_option("tf32")
@json_option
def command(model_path: str | None, model: str | None, as_json: bool, engines: bool, **options: Any) -> None:
    """Measure a net, forward and backward: a file, a folder with a train_val.prototxt, or a net that comes with netc.

    The log goes to stderr in Caffe's form, a table of the layers to stdout. Inputs hold random numbers; data layers
    read their data, and where these are not here, hold random numbers too. --engines shows what each engine that is
    installed makes of the net: milliseconds and images a second, the largest difference from torch's exact walk,
    memory, and the time until its first pass is done.
    """
    if (model_path is None) == (model is None):
        raise click.UsageError("give the net once: netc time MODEL, or --model=MODEL")
    if engines:
        _time_engines(str(model_path or model), options, as_json)
        return
    timing = _measured(str(model_path or model), options)
    if options["profile"]:
        _write_profile(options["profile"], timing)
    click.echo(json_text(_facts(timing)) if as_json else "\n".join(_lines(timing)))


def _time_engines(source: str, options: dict[str, Any], as_json: bool) -> None:
    from functools import partial

    import torch

    from netc.cli._engine import say
    from netc.files.shipped import locate
    from netc.runtime.engines import table
    from netc.runtime.engines.net import EngineNet
    from netc.runtime.net.load import load_net
    from netc.runtime.net.numerics import settle
    from netc.runtime.solver.log import stderr

    device = one_device(options["gpu"], stderr())
    settle(options["threads"])
    net = load_net(
        locate(source, "deploy.prototxt"),
        "TEST",
        options["weights"],
        options["level"],
        split(",".join(options["stage"])),
        device,
        workers=options["workers"],
        make=partial(EngineNet, engine="auto", say=say),
    )
    assert isinstance(net, EngineNet)
    try:
        tops = dict(net.feeding.next(net.route_of_outputs().needed)) if not net.feeding.unfed else {}
    finally:
        net.feeding.close()
    random = torch.Generator().manual_seed(0)
    for name in net.route_of_outputs().needed:
        if name not in tops:
            shape = net.graph.shapes[name]
            shape = (options["batch"], *shape[1:]) if options["batch"] and shape else shape
            tops[name] = torch.rand(shape, generator=random).to(device)
    click.echo("" if as_json else table.lines([])[0], nl=not as_json)
    found = table.rows(net, tops, lambda row: None if as_json else click.echo(table.line(row)))
    if as_json:
        click.echo(json_text({"rows": [row.as_dict() for row in found]}))


def _measured(source: str, options: dict[str, Any]) -> Timing:
    from netc.files.shipped import locate
    from netc.runtime.net.load import load_net
    from netc.runtime.net.numerics import settle
    from netc.runtime.pycaffe import machine
    from netc.runtime.pycaffe.net import Net
    from netc.runtime.report.timing import measure
    from netc.runtime.solver.log import stderr

    log = stderr()
    device = one_device(options["gpu"], log)
    machine.use(device)
    module = load_net(
        locate(source, "train_val.prototxt"),
        options["phase"],
        level=options["level"],
        stages=split(",".join(options["stage"])),
        device=device,
        workers=options["workers"],
        output_dir=options["output_dir"],
    )
    settle(options["threads"], options["precision"])
    net = Net.of(module)
    if options["weights"]:
        net.copy_from(options["weights"])
    log.info("caffe.cpp:365", "*** Benchmark begins ***")
    log.info("caffe.cpp:366", f"Testing for {options['iterations']} iterations.")

    def each(number: int, seconds: float) -> None:
        log.info("caffe.cpp:394", f"Iteration: {number + 1} forward-backward time: {1000 * seconds:g} ms.")

    try:
        timing = measure(net, options["iterations"], each)
    finally:
        module.feeding.close()
    for name in timing.stand_ins:
        log.warn("caffe.cpp:367", f'the data of layer "{printable(name)}" are not here: random numbers stand for them')
    _log(log, timing)
    return timing


def _log(log: Any, timing: Timing) -> None:
    from netc.runtime.report.timing import table

    log.info("caffe.cpp:397", "Average time per layer: ")
    for row in table(timing):
        for line, kind in ((400, "forward"), (403, "backward")):
            log.info(f"caffe.cpp:{line}", f"{row['name']:>10}\t{kind}: {row[f'{kind}_ms']:g} ms.")
    totals = timing.totals()
    log.info("caffe.cpp:408", f"Average Forward pass: {1000 * timing.mean('forward'):g} ms.")
    log.info("caffe.cpp:410", f"Average Backward pass: {1000 * timing.mean('backward'):g} ms.")
    log.info("caffe.cpp:412", f"Average Forward-Backward: {1000 * sum(totals) / len(totals):g} ms.")
    log.info("caffe.cpp:414", f"Total Time: {1000 * sum(totals):g} ms.")
    log.info("caffe.cpp:415", "*** Benchmark ends ***")


def _facts(timing: Timing) -> dict[str, Any]:
    from netc.runtime.report.timing import table

    totals = timing.totals()
    return {
        "iterations": len(totals),
        "stand_ins": timing.stand_ins,
        "layers": table(timing),
        "forward_ms": 1000 * timing.mean("forward"),
        "backward_ms": 1000 * timing.mean("backward"),
        "forward_backward_ms": 1000 * sum(totals) / len(totals),
    }


def _lines(timing: Timing) -> list[str]:
    facts = _facts(timing)
    width = max(5, *(len(row["name"]) for row in facts["layers"]))
    kinds = max(4, *(len(row["type"]) for row in facts["layers"]))
    lines = [f"{'layer':<{width}}  {'type':<{kinds}}  forward ms  backward ms"]
    lines += [
        f"{row['name']:<{width}}  {row['type']:<{kinds}}  {row['forward_ms']:>10.3f}  {row['backward_ms']:>11.3f}"
        for row in facts["layers"]
    ]
    total = f"{facts['forward_ms']:>10.3f}  {facts['backward_ms']:>11.3f}"
    return [*lines, f"{'all':<{width}}  {'':<{kinds}}  {total}"]


def _write_profile(path: str, timing: Timing) -> None:
    from netc.files.durable import write_whole
    from netc.runtime.report.timing import trace

    write_whole(path, [json_text(trace(timing)).encode()])
