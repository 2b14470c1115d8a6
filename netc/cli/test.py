"""`netc test`: score a net on its test data (Caffe's `caffe test`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from netc.cli._engine import calibrate_option, engine_options, net_maker
from netc.cli._evaluate import INPUT, PROTOCOL, evaluate, given, with_options
from netc.cli._localise import localisation_options, report
from netc.cli._options import Whole, json_option, json_text, shape_option, split
from netc.cli._run import device_options, one_device
from netc.cli._status import DONE
from netc.errors import NetcError, Place

if TYPE_CHECKING:
    from netc.runtime.net.module import Net
    from netc.runtime.solver.tester import Result


@click.command("test")
@click.argument("model_path", metavar="[MODEL]", required=False)
@click.option("--model", metavar="FILE", help="The net; the same as the argument MODEL.")
@click.option("--weights", metavar="FILES", help="Its weights (several: commas between them).")
@click.option("--iterations", metavar="N", type=Whole(1), help="Batches to test on (default: the whole set).")
@click.option("--localisation", is_flag=True, help="The net predicts boxes: ILSVRC's errors of localisation.")
@localisation_options
@with_options(PROTOCOL, INPUT)
@shape_option()
@engine_options
@calibrate_option
@device_options
@json_option
def command(model_path: str | None, model: str | None, weights: str | None, as_json: bool, **options: Any) -> int:
    """Score a net on its test data: a file, a folder with a train_val.prototxt, or a net that comes with netc.

    A .caffemodel given as the net brings its own weights. Layers that the weights lack are named in a warning.
    Without --iterations every record counts exactly once (Caffe tests on 50 batches then). The log goes to stderr in
    Caffe's form, the means to stdout. In int8 those of fp32 stand beside them.

    With --data, --scales or --view it is tested by the paper's protocols instead (docs/evaluation.md): on whole
    pictures or crops of them, at several sizes, with other nets; the errors are printed with their 95 % intervals.

    With --localisation the net is one that predicts boxes, and its test data have some (docs/localisation.md): with
    --view centre, the default, the box of the true class on the central crop counts, with --view dense the boxes of all
    places; the --classifier names five classes and rates the boxes.
    """
    if (model_path is None) == (model is None):
        raise click.UsageError("give the net once: netc test MODEL, or --model=MODEL")
    if options["localisation"]:
        if options["engine"] != "torch":
            raise click.UsageError("--engine is not for --localisation, which torch runs")
        return report(str(model_path or model), weights, options, as_json)
    if chosen := given(options):
        if options["iterations"] is not None:
            raise click.UsageError(f"--iterations is for a net's own test data, not with --{chosen[0]}")
        return evaluate(str(model_path or model), weights, as_json, options)
    if options["calibrate"] is not None:
        raise click.UsageError("--calibrate goes with --data; a net's own data give the ranges without it")
    net, fresh = _build(str(model_path or model), weights, options)
    try:
        result = _test(net, options["iterations"])
        exact = _exact(net, options["iterations"]) if options["precision"] == "int8" else None
    finally:
        net.feeding.close()
    click.echo("\n".join(_report(result, fresh, as_json, exact)))
    return DONE


def _build(source: str, weights: str | None, options: dict[str, Any]) -> tuple[Net, list[str]]:
    """The net with its weights, and the layers that have none."""
    from netc import proto
    from netc.files.shipped import locate
    from netc.runtime.net.load import exact_computing
    from netc.runtime.net.numerics import settle
    from netc.runtime.solver import initial, nets
    from netc.runtime.solver.log import stderr
    from netc.runtime.solver.report import Report
    from netc.solver import plans
    from netc.weights import read

    log = stderr()
    device = one_device(options["gpu"], log)
    make = net_maker(options["engine"], options["precision"], device)
    computing = exact_computing(options["engine"], options["precision"])
    settle(options["threads"], computing.precision)
    state = proto.NetState(level=options["level"], stage=split(",".join(options["stage"])))
    path = locate(source, "train_val.prototxt")
    builder = nets.Builder(0, device, options["workers"], options["output_dir"], computing, make)
    plan = plans.NetPlan(path, path, plans.TEST, state)
    own = builder.own_weights(plan)
    if weights is None and not own:
        raise click.UsageError("give the weights: --weights=FILE.caffemodel")
    compiled = builder.compile(plan)
    files = initial.names(weights) if weights is not None else [own]
    start, report = initial.Sources([(name, read(name)) for name in files]), Report(proto.SolverParameter(), log)
    net = builder.build(compiled, lambda net: start.copy_into(net, report))
    if unfed := net.feeding.unfed:
        given = ", ".join(top for node in unfed for top in node.tops)
        raise NetcError("R624", f"nothing feeds the inputs {given}", unfed[0].place, "test a net with a Data layer")
    return net, report.fresh


def _test(net: Net, iterations: int | None) -> Result:
    from netc.runtime.net.outputs import writing_at_end
    from netc.runtime.solver.log import output_lines, stderr
    from netc.runtime.solver.tester import batches, run_test

    log = stderr()
    count = sum(1 for _ in batches(net.feeding, iterations, 0, Place(net.graph.path)))
    log.info("caffe.cpp:281", f"Running for {count} iterations.")

    def show(k: int, outputs: dict[str, Any]) -> bool:
        for line in output_lines(outputs, {}):
            log.info("caffe.cpp:304", f"Batch {k}, {line}")
        return True

    with writing_at_end([net]):
        result = run_test(net, iterations, on_batch=show)
    if result.loss is not None:
        log.info("caffe.cpp:309", f"Loss: {result.loss:g}")
    for line in output_lines(result.outputs, result.weights):
        log.info("caffe.cpp:321", line)
    return result


def _exact(net: Any, iterations: int | None) -> Result:
    """The same test by the exact walk, in fp32."""
    with net.exactly():
        return _test(net, iterations)


def _report(result: Result, fresh: list[str], as_json: bool, exact: Result | None) -> list[str]:
    from netc.runtime.solver.log import output_lines
    from netc.runtime.solver.report import plain

    if not as_json:
        fp32 = output_lines(exact.outputs, exact.weights) if exact else ()
        return [*output_lines(result.outputs, result.weights), *(f"fp32: {line}" for line in fp32)]
    found = {"outputs": plain(result.outputs), "loss": result.loss, "batches": result.batches}
    found |= {"fp32": {"outputs": plain(exact.outputs), "loss": exact.loss}} if exact else {}
    return [json_text({**found, "samples": result.samples or None, "layers_without_weights": fresh})]
