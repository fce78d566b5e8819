"""The denoising U-Net on our weights as PyTorch trains it and samples from it fast.

Weights are the modules' parameters, each a view of one flat f32 vector, so that an average of them is
one kernel; with layout nhwc those of convolutions are channels_last. dtype: of activations and of what
is multiplied; weights, normalizations' sums and the loss are f32.
"""

import copy

import torch

import unet
from training import captured, compiled, require

MODELS = ("ddpm",)
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}


class Denoiser:
    """config: of a ddpm of ours. given: the tensors of a file of ours."""

    compile_mode = "max-autotune-no-cudagraphs"  # graphs are captured here, of more than it would

    def __init__(self, config, given, device="cpu", dtype="f32", layout="nhwc"):
        self.config, self.device, self.dtype = config["unet"], torch.device(device), DTYPES[dtype]
        if config["learnedVariance"] or self.config["classes"] or config["condition"] != "none":
            raise ValueError("a U-Net with classes, conditions or a learned variance is not compared")
        self.module = unet.UNet(self.config)
        self.training, self.held = False, False
        shapes = {n: p.shape for n, p in self.module.named_parameters()}
        self.sizes = {n: s.numel() for n, s in shapes.items()}
        # of a convolution's own memory: [K,R,S,C], or as PyTorch has it
        self.boxes = {
            n: (s[0], s[2], s[3], s[1]) if len(s) == 4 and layout == "nhwc" else tuple(s)
            for n, s in shapes.items()
        }
        self.permuted = {n for n, s in shapes.items() if len(s) == 4 and layout == "nhwc"}
        self.layout = torch.channels_last if layout == "nhwc" else torch.contiguous_format
        self.flat = torch.zeros(sum(self.sizes.values()), device=self.device)
        self.module.to(self.device)
        views = self.views(self.flat)
        self.leaves = dict(self.module.named_parameters())
        for name, leaf in self.leaves.items():
            leaf.data = views[name]
        self.table = given["table"].to(self.device)  # [T,6]: a, b, c, d, what the network is told, weight
        self.given = {n: given[n].to(self.device) for n in ("x", "times", "target", "lossWeights")}
        # what is added to all keys adds the same to all scores, which a softmax does not see
        self.vanishing = {n for n in self.leaves if n.endswith(".to_k.bias")}

    @property
    def dropout(self):
        return self.config["dropout"]

    @dropout.setter
    def dropout(self, rate):
        self.config["dropout"] = rate
        for module in self.module.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = rate

    # -------------------------------------------------------------- weights, ours and theirs

    def views(self, flat):
        views = {}
        for (name, size), part in zip(self.sizes.items(), flat.split(list(self.sizes.values()))):
            view = part.view(self.boxes[name])
            views[name] = view.permute(0, 3, 1, 2) if name in self.permuted else view
        return views

    def load(self, tensors):
        state = unet.of_ours(tensors, self.module)
        missing = [n for n in self.leaves if n not in state]
        if missing:
            raise ValueError(f"weights: no tensor '{missing[0]}'; is it of another configuration?")
        with torch.no_grad():
            for name, leaf in self.leaves.items():
                leaf.copy_(state[name])

    def to_ours(self, tensors):
        """[K,C,R,S] and [K,C] as [T,C,K]."""
        return {n: t.flatten(2).permute(2, 1, 0) if t.dim() == 4 else t.t() if t.dim() == 2 else t
                for n, t in tensors.items()}  # fmt: skip

    def count(self):
        return self.flat.numel()

    # -------------------------------------------------------------- what is computed

    def forward(self, images=None, labels=None):
        """What the network says of the given noisy images, [N,H,W,C]."""
        self.module.train(self.training)
        return self.said(self.given["x"], self.given["times"]).permute(0, 2, 3, 1)

    def said(self, x, times):
        """x [N,H,W,C]; returns NCHW."""
        return self.module(x.to(self.dtype).permute(0, 3, 1, 2).contiguous(memory_format=self.layout), times)

    def draw(self, images, labels=None):
        """A training step's noisy images, times, targets and weights; the given ones where they are held."""
        self.module.train(self.training)
        if self.held:
            return self.given["x"], self.given["times"], self.given["target"], self.given["lossWeights"]
        row = self.table[torch.randint(len(self.table), (len(images),), device=self.device)]
        a, b, c, d = (row[:, i, None, None, None] for i in range(4))
        p = images.float() / 127.5 - 1
        noise = torch.randn(p.shape, device=self.device)
        return a * p + b * noise, row[:, 4], c * p + d * noise, row[:, 5]

    def nats(self, x, times, target, weights):
        """The loss: no likelihood, but called as those are."""
        said = self.said(x, times).permute(0, 2, 3, 1).float()
        return ((said - target).square().mean(dim=(1, 2, 3)) * weights).mean()


class Sampler:
    """Without noise of its own, denoised images kept to [-1,1]: DDIM.

    table: [S+1,10] as our SamplerSteps has it. graph: all of its steps are one.
    """

    def __init__(self, network, table, batch, variant="eager"):
        require(variant, network.device)
        c = network.config
        self.network = network
        if bool((table[1:, 4:6] != 0).any()):
            raise ValueError("a sampler with a memory or with noise is not compared")
        # weights in the dtype once, not at every step
        self.module = copy.deepcopy(network.module).to(network.dtype).eval().requires_grad_(False)
        shape = (batch, c["channels"], c["height"], c["width"])
        self.noise = torch.randn(shape, device=network.device).contiguous(memory_format=network.layout)
        # rows 0 to S-1 tell when the network is asked, rows 1 to S what is made of its answer; numbers as
        # tensors, so that a compiled step is one for all
        numbers = table.to(network.device, torch.float32)
        self.steps = [
            (numbers[i, 7].expand(batch).contiguous(), numbers[i, 6], *numbers[i + 1, :4])
            for i in range(len(table) - 1)
        ]
        self.drawn = None
        self.function = compiled(self.step, network.compile_mode) if "compile" in variant else self.step
        self.graph = None
        if "graph" in variant:
            with torch.no_grad():
                self.graph = captured(self.all_steps, 1)

    def step(self, x, times, scale, px, pf, cx, cd):
        said = self.module((x * scale).to(self.network.dtype), times).float()
        return cx * x + cd * (px * x + pf * said).clamp(-1, 1)

    def all_steps(self):
        x = self.noise
        for step in self.steps:
            x = self.function(x, *step)
        self.drawn = x

    @torch.no_grad()
    def sample(self, noise=None):
        """[N,H,W,C]; noise like it, or that of the last time."""
        if noise is not None:
            self.noise.copy_(noise.permute(0, 3, 1, 2))
        if self.graph is None:
            self.all_steps()
        else:
            self.graph.replay()
        return self.drawn.permute(0, 2, 3, 1)
