"""A training step: forward, backward, clipping, Adam, an average of the weights; as PyTorch does it best.

Variants: eager; compile (torch.compile of forward and loss, its backward with it); graph (the whole
step replayed as one CUDA graph); compile+graph. The same arithmetic as ours: the learning rate warms up
and decays with the step, and so does the average's decay.
"""

import math

import torch

VARIANTS = ("eager", "compile", "graph", "compile+graph")


class Unavailable(Exception):
    """What this machine or this PyTorch cannot do; one line."""


def version():
    return tuple(int(n) for n in torch.__version__.split("+")[0].split(".")[:2] if n.isdigit())


def refuses(variant, device):
    """Why a variant cannot be had here; None if it can."""
    if variant not in VARIANTS:
        raise ValueError(f"unknown variant '{variant}': expected {', '.join(VARIANTS)}")
    if device.type != "cuda":
        return None if variant == "eager" else f"{variant} is for a GPU; on {device.type} theirs is eager"
    if "compile" in variant and not hasattr(torch, "compile"):
        return f"this PyTorch, {torch.__version__}, has no torch.compile"
    return None


def require(variant, device):
    why = refuses(variant, device)
    if why is not None:
        raise Unavailable(why)


def compiled(function, mode=None):
    """torch.compile, one graph, shapes fixed."""
    return torch.compile(function, fullgraph=True, dynamic=False, mode=mode)


def captured(function, warmups=3):
    """A CUDA graph of a function without arguments, once it has been warmed up on a side stream."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(warmups):
            function()
    torch.cuda.current_stream().wait_stream(side)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        function()
    return graph


class Trainer:
    """config: batch, learningRate, warmupSteps, decay, beta1, beta2, clipNorm, emaDecay, as in config.json."""

    EPSILON = 1e-8

    def __init__(self, network, config, images, labels=None, variant="eager"):
        require(variant, network.device)
        self.network, self.config, self.variant = network, config, variant
        device = network.device
        on_gpu = device.type == "cuda"
        self.host = [t.pin_memory() if on_gpu else t for t in (images, labels) if t is not None]
        self.images = images.to(device)
        self.labels = None if labels is None else labels.to(device)
        self.leaves = list(network.leaves.values())
        self.ema = network.flat.detach().clone()
        self.steps = 0
        # read by the optimizer on the device, so that a replayed graph sees each step's own
        self.rate = torch.tensor(0.0, device=device)
        self.share = torch.tensor(0.0, device=device)
        self.scale = torch.tensor(1.0, device=device)
        self.loss = torch.zeros((), device=device)
        # one multi-tensor kernel on a GPU; it divides gradients by what clipping found
        self.fused = on_gpu or version() >= (2, 4)
        betas = (config["beta1"], config["beta2"])
        if self.fused:
            self.optimizer = torch.optim.Adam(
                self.leaves, lr=self.rate, betas=betas, eps=self.EPSILON, fused=True, capturable=on_gpu
            )
            self.optimizer.grad_scale = self.scale
            self.optimizer.found_inf = torch.tensor(0.0, device=device)
        else:
            self.optimizer = torch.optim.Adam(self.leaves, lr=0.0, betas=betas, eps=self.EPSILON, foreach=True)
        self.nats = (
            compiled(network.nats, getattr(network, "compile_mode", None)) if "compile" in variant else network.nats
        )
        # what is random, where there is something, is drawn before what is compiled
        self.draw = getattr(network, "draw", lambda images, labels: (images, labels))
        self.graph = None
        if "graph" in variant:
            self._capture()

    def _capture(self):
        """Warming up and capturing take steps: what they change is put back."""
        kept = self.network.flat.detach().clone()
        self.network.training = True
        self._set_rates(1)
        self.graph = captured(self._body)
        with torch.no_grad():
            self.network.flat.copy_(kept)
            self.ema.copy_(kept)
            for state in self.optimizer.state.values():
                for tensor in state.values():
                    tensor.zero_()

    def gradients(self):
        """Of the mean loss, {leaf: gradient}; without dropout."""
        self.network.training = False
        self.optimizer.zero_grad(set_to_none=True)
        self.network.nats(*self.draw(self.images, self.labels)).backward()
        return {n: leaf.grad.detach().clone() for n, leaf in self.network.leaves.items()}

    def _body(self):
        for leaf in self.leaves:
            leaf.grad = None
        loss = self.nats(*self.draw(self.images, self.labels))
        loss.backward()
        with torch.no_grad():
            self.loss.copy_(loss.detach())
            grads = [leaf.grad for leaf in self.leaves]
            if hasattr(torch, "_foreach_norm"):
                norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads)))
            else:
                norm = torch.sqrt(sum(g.square().sum() for g in grads))
            scale = (norm / self.config["clipNorm"]).clamp(min=1.0)
            if self.fused:
                self.scale.copy_(scale)
            else:
                for g in grads:
                    g.div_(scale)
        self.optimizer.step()
        with torch.no_grad():
            self.ema.lerp_(self.network.flat.detach(), self.share)

    def _set_rates(self, t):
        c = self.config
        warm = min(1.0, t / c["warmupSteps"]) if c["warmupSteps"] > 0 else 1.0
        rate = c["learningRate"] * warm * c["decay"] ** t
        self.rate.fill_(rate)
        if not self.fused:
            self.optimizer.param_groups[0]["lr"] = rate
        self.share.fill_(1 - min(c["emaDecay"], t / (t + 10)))

    def step(self):
        """One step from the host's batch; returns the mean loss before it, on the device."""
        self.network.training = True
        self.steps += 1
        self.images.copy_(self.host[0], non_blocking=True)
        if self.labels is not None:
            self.labels.copy_(self.host[1], non_blocking=True)
        self._set_rates(self.steps)
        if self.graph is None:
            self._body()
        else:
            self.graph.replay()
        return self.loss

    def averages(self):
        """The averaged weights, {leaf: value}."""
        return self.network.views(self.ema)


def bits(loss):
    value = float(loss) / math.log(2)
    if not math.isfinite(value):
        raise ArithmeticError(f"the loss is {value}")
    return value
