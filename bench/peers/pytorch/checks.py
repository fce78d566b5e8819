"""Whether what is computed here is what ours computed; nothing is timed that is not.

Differences are Euclidean norms: |theirs - ours| / |ours|, over all values of a tensor, or of all
gradients together. Beside them the largest single difference over the largest value. A NaN passes
nowhere: each test is written so that only a number that is small enough does.

In f32 the two agree to rounding. In bf16 each rounds at places of its own, so two right results differ
by as much as either does from f32's. There, beside a bound, theirs may be no farther from ours in f32
than ours in bf16 is, times CLOSENESS.
"""

import math

import torch

# of outputs, of the loss, of all gradients together, of each alone
TOLERANCES = {
    "f32": {"parameters": 1e-4, "nats": 1e-5, "gradients": 1e-3, "eachGradient": 1e-2},
    "tf32": {"parameters": 1e-2, "nats": 1e-3, "gradients": 0.1, "eachGradient": 0.5},
    "bf16": {"parameters": 2e-2, "nats": 1e-3, "gradients": 0.25, "eachGradient": 0.6},
}
LEAST_SHARE = 1e-3  # of all gradients: one alone counts for at least so much
CLOSENESS = {"parameters": 2.0, "gradients": 4.0}
# of the weights after a step, as a share of the step: a weight whose gradient vanishes may go either way
STEP_TOLERANCE = 3e-2

# steps whose losses a compiled or captured step has in common with the plain one; with dropout, which
# each draws for itself, they are alike and no more
STEPS, DROPOUT_LOSS = 3, 1e-2
# values that a sampler draws otherwise than the network it was made of, told the same pixels
REDRAWN = {"f32": 0.005, "tf32": 0.1, "bf16": 0.1}


class Disagreement(Exception):
    """The other side computes something else; one line."""


def norm(tensors):
    return math.sqrt(sum(float(t.double().square().sum()) for t in tensors))


def difference(theirs, ours):
    """(relative, largest): of tensors in two lists, one by one; NaN where any of them is not finite."""
    theirs = [t.detach().double().cpu().reshape(-1) for t in theirs]
    ours = [o.detach().double().cpu().reshape(-1) for o in ours]
    for t, o in zip(theirs, ours):
        if t.shape != o.shape:
            raise Disagreement(f"theirs are {t.numel()} values, ours {o.numel()}")
    # looked at first: Python's max passes over a NaN
    if not all(bool(torch.isfinite(t).all()) for t in theirs + ours):
        return math.nan, math.nan
    size, top = norm(ours), max(float(o.abs().max()) for o in ours)
    gap = max(float((t - o).abs().max()) for t, o in zip(theirs, ours))
    if gap == 0:
        return 0.0, 0.0
    return norm([t - o for t, o in zip(theirs, ours)]) / size if size else math.inf, gap / top if top else math.inf


def require(what, value, tolerance):
    if not value <= tolerance:
        raise Disagreement(f"{what} differ by {value:.3g} of ours, tolerated is {tolerance:.3g}")


class Ours:
    """The tensors of a file of ours."""

    def __init__(self, tensors):
        self.tensors = tensors

    def __contains__(self, name):
        return name in self.tensors

    def __getitem__(self, name):
        return self.tensors[name]

    def gradients(self, key, names):
        return [self.tensors[f"{key}.gradients.{n}"] for n in names]

    def weights(self):
        return {n[8:]: t for n, t in self.tensors.items() if n.startswith("weights.")}


def check(trainer, ours, dtype):
    """Holds a fresh eager trainer against ours; returns the differences.

    dtype: f32, tf32 or bf16; where the file has no bf16 (its machine has none) f32's serve.
    """
    tolerance = TOLERANCES[dtype]
    key = "bf16" if dtype == "bf16" and "bf16.parameters" in ours else "f32"
    network = trainer.network
    network.training, network.held = False, True
    report = {"against": "ours in " + key, "tolerances": tolerance, "differencesAre": "|theirs-ours|/|ours|"}

    def hold(name, theirs, mine, inf32):
        report[name], report[name + "Largest"] = difference(theirs, mine)
        require(name, report[name], tolerance[name])
        if key == "bf16":
            own = difference(mine, inf32)[0]
            report[name + "FromF32"], report[name + "OursFromF32"] = difference(theirs, inf32)[0], own
            if name in CLOSENESS:  # the loss is one number: ours may be right by chance
                require(f"{name}, from ours in f32,", report[name + "FromF32"], CLOSENESS[name] * own)

    with torch.no_grad():
        outputs = network.forward(trainer.images, trainer.labels).float()
        loss = network.nats(*trainer.draw(trainer.images, trainer.labels))
    hold("parameters", [outputs], [ours[key + ".parameters"]], [ours["f32.parameters"]])
    hold("nats", [loss], [ours[key + ".nats"]], [ours["f32.nats"]])
    report["bitsPerDimension"] = float(loss) / math.log(2)
    gradients = network.to_ours(trainer.gradients())
    names = list(gradients)
    theirs = list(gradients.values())
    hold("gradients", theirs, ours.gradients(key, names), ours.gradients("f32", names))
    least = LEAST_SHARE * norm(ours.gradients(key, names))
    report["eachGradient"] = 0.0
    for name, mine in zip(names, ours.gradients(key, names)):
        gap = norm([gradients[name].double().cpu().reshape(-1) - mine.double().reshape(-1)])
        share = gap / max(norm([mine]), least)
        require("the gradients of " + name, share, tolerance["eachGradient"])
        if share >= report["eachGradient"]:
            report["eachGradient"], report["worstGradient"] = share, name
    if dtype == "f32":
        report["firstStep"] = first_step(trainer, ours)
        report["firstStepTolerance"] = STEP_TOLERANCE
    network.held = False
    return report


def first_step(trainer, ours):
    """Takes a step without dropout; how far the averaged weights are from ours, as a share of the step."""
    network = trainer.network
    dropout, network.dropout = network.dropout, 0
    trainer.step()
    network.dropout = dropout
    after = network.to_ours(trainer.averages())
    before = {n: t.double().reshape(-1) for n, t in ours.weights().items()}
    names = [n for n in after if n not in getattr(network, "vanishing", ())]  # those may go either way
    theirs = [after[n].detach().double().cpu().reshape(-1) - before[n] for n in names]
    moved = [ours["stepped." + n].double().reshape(-1) - before[n] for n in names]
    share = difference(theirs, moved)[0]
    require("the first step's weights, as a share of the step,", share, STEP_TOLERANCE)
    return share
