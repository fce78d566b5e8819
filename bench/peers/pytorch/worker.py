"""Serves one JSON command a line on standard input with one JSON line on standard output.

  {"command": "hello"}                      versions, device, what can be had here
  {"command": "machine"}                    ceilings of the machine
  {"command": "load", "name": N, "model": M, "config": {...}, "training": {...}, "ours": FILE}
                                            a network with the weights, batch and results of ours
  {"command": "prepare", "name": N, "workload": "train|forward|sample|denoise|kernel", ...}
                                            checks against ours, compiles, captures, warms up
  {"command": "time", "name": N, "repeats": R, "seconds": S}
                                            R samples of at least S seconds each, in seconds a call
  {"command": "free", "name": N}            forgets a network or a workload
  {"command": "quit"}

Replies have "ok"; where it is false, "kind" (usage, unavailable, disagreement, memory, internal) and
"error", one line. What libraries print goes to standard error.
"""

import copy
import gc
import json
import math
import os
import sys
import time
import traceback

try:
    import torch
except ImportError as e:
    sys.stderr.write(f"PyTorch cannot be imported by {sys.executable}: {e}\n")
    sys.exit(3)

import checks
import denoising
import kernels
import machine
import networks
import safetensors_file
import sampling
import training

DTYPES = ("f32", "tf32", "bf16")


class Loaded:
    """A network as ours described it."""

    def __init__(self, model, config, training, ours):
        self.model, self.config, self.training = model, config, training
        self.ours = checks.Ours(safetensors_file.read(ours)[1])

    def network(self, device, dtype, kernel, layout):
        how = {"device": device, "layout": layout, "dtype": "bf16" if dtype == "bf16" else "f32"}
        if self.model in denoising.MODELS:
            built = denoising.Denoiser(copy.deepcopy(self.config), self.ours, **how)
        else:
            built = networks.load(model=self.model, config=self.config, kernel=kernel, **how)
        built.load(self.ours.weights())
        return built

    def batch(self, count=None):
        """Images and labels; the batch again and again up to a count."""
        images, labels = self.ours["images"], self.ours["labels"] if "labels" in self.ours else None
        if count is not None:
            index = torch.arange(count) % len(images)
            images, labels = images[index], None if labels is None else labels[index]
        return images, labels


class Workload:
    """Something that can be timed: run() is one call, without waiting for it."""

    def __init__(self, run, dtype, calls=1, keep=None):
        self.run, self.dtype, self.calls, self.keep = run, dtype, calls, keep


class Worker:
    def __init__(self):
        self.device = torch.device("cpu")
        self.loaded, self.workloads = {}, {}
        self.checked = {}

    # ---------------------------------------------------------------- commands

    def hello(self, device="auto", threads=None):
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self.device = torch.device(device)
        if self.device.type == "cuda" and not torch.cuda.is_available():
            raise training.Unavailable(f"PyTorch {torch.__version__} finds no GPU it can use")
        if threads:
            torch.set_num_threads(threads)
        torch.backends.cudnn.benchmark = True
        machine.allow_tf32(False)
        if hasattr(torch, "_dynamo"):
            for limit in ("recompile_limit", "cache_size_limit"):
                if hasattr(torch._dynamo.config, limit):
                    setattr(torch._dynamo.config, limit, 256)
        reply = {
            "python": sys.version.split()[0],
            "torch": torch.__version__,
            "device": str(self.device),
            "threads": torch.get_num_threads(),
            "variants": {v: training.refuses(v, self.device) for v in training.VARIANTS},
        }
        if self.device.type == "cuda":
            torch.cuda.set_device(self.device)
            properties = torch.cuda.get_device_properties(self.device)
            reply.update(
                gpu=properties.name,
                capability=f"{properties.major}.{properties.minor}",
                memoryBytes=properties.total_memory,
                multiprocessors=properties.multi_processor_count,
                cuda=torch.version.cuda,
                cudnn=torch.backends.cudnn.version(),
            )
        return reply

    def machine(self):
        return {"ceilings": machine.ceilings(self.device)}

    def load(self, name, model, config, training, ours):
        self.loaded[name] = Loaded(model, config, training, ours)
        network = self.loaded[name].network("cpu", "f32", "cropped", "nhwc")
        return {"parameters": network.count()}

    def prepare(self, name, workload, **options):
        builder = getattr(self, "prepare_" + workload, None)
        if builder is None:
            raise ValueError(f"unknown workload '{workload}': expected train, forward, sample, denoise or kernel")
        start = time.perf_counter()
        work, report = builder(**options)
        with torch_flags(work.dtype):
            for _ in range(2):
                work.run()
        machine.synchronize(self.device)
        self.workloads[name] = work
        return dict(report, prepareSeconds=time.perf_counter() - start, calls=work.calls)

    def free(self, name):
        if self.workloads.pop(name, None) is None and self.loaded.pop(name, None) is None:
            raise ValueError(f"there is no '{name}'")
        self.checked = {k: v for k, v in self.checked.items() if k[0] in self.loaded}
        self.collect()
        return {}

    def collect(self):
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def time(self, name, repeats, seconds=0.0):
        if name not in self.workloads:
            raise ValueError(f"there is no workload '{name}'")
        work = self.workloads[name]
        with torch_flags(work.dtype):
            return measure(work, self.device, repeats, seconds)

    # ---------------------------------------------------------------- workloads

    def agreed(self, net, dtype, kernel, layout):
        """Holds the network against ours, once for each way to build it."""
        key = (net, dtype, kernel, layout)
        if key not in self.checked:
            loaded = self.of(net)
            with torch_flags(dtype):
                images, labels = loaded.batch()
                network = loaded.network(self.device, dtype, kernel, layout)
                trainer = training.Trainer(network, loaded.training, images, labels)
                self.checked[key] = checks.check(trainer, loaded.ours, dtype)
        return self.checked[key]

    def of(self, net):
        if net not in self.loaded:
            raise ValueError(f"there is no network '{net}'")
        return self.loaded[net]

    def prepare_train(self, net, batch, dtype="f32", variant="eager", kernel="cropped", layout="nhwc"):
        training.require(variant, self.device)
        report = {"agreement": self.agreed(net, known(dtype), kernel, layout)}
        loaded = self.of(net)
        with torch_flags(dtype):
            network = loaded.network(self.device, dtype, kernel, layout)
            trainer = training.Trainer(network, loaded.training, *loaded.batch(batch), variant=variant)
            losses = self.losses(trainer)
            report["bitsPerDimension"] = losses
            if variant != "eager":
                report["bitsPerDimensionEager"] = self.eager_losses(net, batch, dtype, kernel, layout)
                tolerance = checks.DROPOUT_LOSS if network.dropout else checks.TOLERANCES[dtype]["nats"]
                for got, wanted in zip(losses, report["bitsPerDimensionEager"]):
                    checks.require("losses of the first steps", abs(got - wanted) / wanted, 10 * tolerance)
        return Workload(trainer.step, dtype, keep=trainer), report

    def eager_losses(self, net, batch, dtype, kernel, layout):
        """What a variant's first steps are held against."""
        key = (net, "losses", batch, dtype, kernel, layout)
        if key not in self.checked:
            loaded = self.of(net)
            network = loaded.network(self.device, dtype, kernel, layout)
            trainer = training.Trainer(network, loaded.training, *loaded.batch(batch))
            self.checked[key] = self.losses(trainer)
        return self.checked[key]

    @staticmethod
    def losses(trainer):
        """Of the first steps, each from a seed of its own: a captured one draws what a plain one does."""
        losses = []
        for step in range(checks.STEPS):
            torch.manual_seed(step)
            losses.append(training.bits(trainer.step()))
        return losses

    def prepare_forward(self, net, batch, dtype="f32", variant="eager", kernel="cropped", layout="nhwc"):
        training.require(variant, self.device)
        report = {"agreement": self.agreed(net, known(dtype), kernel, layout)}
        loaded = self.of(net)
        images, labels = loaded.batch(batch)
        with torch_flags(dtype):
            network = loaded.network(self.device, dtype, kernel, layout)
            labels = None if labels is None else labels.to(self.device)
            sampler = sampling.FullSampler(network, batch, variant, labels)
            sampler.images.copy_(images)
            if variant != "eager":
                with torch.no_grad():
                    plain = network.forward(sampler.images, labels).float()
                report["fromEager"] = checks.difference([sampler.forward().float()], [plain])[0]
                checks.require("outputs", report["fromEager"], checks.TOLERANCES[dtype]["parameters"])
        return Workload(sampler.forward, dtype, keep=sampler), dict(report, passes=sampler.passes())

    def prepare_sample(self, net, batch, dtype="f32", variant="eager"):
        """Checked against the whole network on the batch before it draws anything."""
        training.require(variant, self.device)
        report = {"agreement": self.agreed(net, known(dtype), "cropped", "nhwc")}
        loaded = self.of(net)
        with torch_flags(dtype), torch.no_grad():
            network = loaded.network(self.device, dtype, "cropped", "nhwc")
            images, labels = (None if t is None else t.to(self.device) for t in loaded.batch(batch))
            sampler = sampling.cached(network, batch, variant, labels)
            said = sampler.parameters(images)
            whole = network.forward(images, labels)
            report["cachedFromFull"] = checks.difference([said], [whole.float()])[0]
            checks.require("cached parameters", report["cachedFromFull"], checks.TOLERANCES[dtype]["parameters"])
            noise = sampler.noise()
            drawn = sampler.sample(noise).clone()  # as it will be timed
            report["drawnOtherwise"] = sampler.redrawn(drawn, noise)
            checks.require("draws", report["drawnOtherwise"], checks.REDRAWN[dtype])
        return Workload(sampler.sample, dtype, keep=sampler), report

    def prepare_denoise(self, net, batch, dtype="f32", variant="eager", layout="nhwc"):
        """Checked by the images that ours drew of the same noise."""
        training.require(variant, self.device)
        report = {"agreement": self.agreed(net, known(dtype), None, layout)}
        ours = self.of(net).ours
        with torch_flags(dtype):
            network = self.of(net).network(self.device, dtype, None, layout)
            sampler = denoising.Sampler(network, ours["sampler"], batch, variant)
            index = torch.arange(batch) % len(ours["noise"])
            drawn = sampler.sample(ours["noise"][index].to(self.device))
            report["drawnOtherwise"] = checks.difference([drawn], [ours["drawn"][index]])[0]
            checks.require("draws", report["drawnOtherwise"], checks.REDRAWN[dtype])
        return Workload(sampler.sample, dtype, keep=sampler), report

    def prepare_kernel(self, spec, ours, variant="eager", kernel="cropped"):
        training.require(variant, self.device)
        dtype = known(spec.get("dtype", "f32"))
        tensors = safetensors_file.read(ours)[1]
        with torch_flags(dtype):
            spec = dict(spec, dtype="bf16" if dtype == "bf16" else "f32")
            built = kernels.Kernel(spec, tensors, self.device, variant, kernel)
            outputs = built.outputs()
            mine = [tensors[f"out.{i}"] for i in range(len(outputs))]
            figures = [checks.difference([o], [m])[0] for o, m in zip(outputs, mine)]
            for figure in figures:
                checks.require(spec["op"], figure, checks.TOLERANCES[dtype]["parameters"])
            built.capture()
        return Workload(built.run, dtype, built.calls, built), {"agreement": {"outputs": figures}}


def known(dtype):
    if dtype not in DTYPES:
        raise ValueError(f"unknown dtype '{dtype}': expected {', '.join(DTYPES)}")
    return dtype


class torch_flags:
    """TF32 for one workload alone."""

    def __init__(self, dtype):
        self.on = dtype == "tf32"

    def __enter__(self):
        machine.allow_tf32(self.on)

    def __exit__(self, *failure):
        machine.allow_tf32(False)


def measure(work, device, repeats, seconds):
    """Samples in seconds a call: by the host's clock until all is done, and by the device's events."""
    on_gpu = device.type == "cuda"
    start = time.perf_counter()
    work.run()
    machine.synchronize(device)
    once = time.perf_counter() - start
    runs = max(1, math.ceil(seconds / max(once, 1e-7)))
    calls = runs * work.calls
    host, events = [], []
    for _ in range(repeats):
        if on_gpu:
            before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        machine.synchronize(device)
        start = time.perf_counter()
        if on_gpu:
            before.record()
        for _ in range(runs):
            work.run()
        if on_gpu:
            after.record()
        machine.synchronize(device)
        host.append((time.perf_counter() - start) / calls)
        if on_gpu:
            events.append(before.elapsed_time(after) / 1e3 / calls)
    return {"seconds": host, "deviceSeconds": events, "calls": calls}


# -------------------------------------------------------------------- the protocol


def failure(kind, e):
    text = " ".join(str(e).split()) or type(e).__name__
    return {"ok": False, "kind": kind, "error": text[:1000]}


def clean(value):
    """JSON has no NaN and no infinity: they are told as words."""
    if isinstance(value, dict):
        return {str(k): clean(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [clean(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def answer(worker, line):
    """The reply to a line; None for quit."""
    request = {}
    try:
        request = json.loads(line)
        if not isinstance(request, dict):
            raise ValueError("a command is a JSON object")
        arguments = dict(request)
        arguments.pop("id", None)
        command = arguments.pop("command", None)
        if command == "quit":
            return None
        known_commands = ("hello", "machine", "load", "prepare", "time", "free")
        if command not in known_commands:
            raise ValueError(f"unknown command '{command}': expected {', '.join(known_commands)} or quit")
        reply = dict(getattr(worker, command)(**arguments), ok=True)
    except checks.Disagreement as e:
        reply = failure("disagreement", e)
    except training.Unavailable as e:
        reply = failure("unavailable", e)
    except json.JSONDecodeError as e:
        reply = failure("usage", f"not JSON: {e}")
    except (ValueError, TypeError, KeyError, OSError) as e:
        traceback.print_exc()
        reply = failure("usage", e if not isinstance(e, KeyError) else f"no {e}")
    except Exception as e:
        traceback.print_exc()
        memory = isinstance(e, getattr(torch.cuda, "OutOfMemoryError", MemoryError)) or isinstance(e, MemoryError)
        reply = failure("memory" if memory else "internal", f"{type(e).__name__}: {e}")
    if not reply["ok"]:
        worker.collect()
    if isinstance(request, dict) and "id" in request:
        reply["id"] = request["id"]
    return reply


def main():
    # what libraries print on descriptor 1 must not end up between replies
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    worker = Worker()
    for line in sys.stdin:
        if not line.strip():
            continue
        reply = answer(worker, line)
        if reply is None:
            break
        replies.write(json.dumps(clean(reply), allow_nan=False) + "\n")
        replies.flush()


if __name__ == "__main__":
    main()
