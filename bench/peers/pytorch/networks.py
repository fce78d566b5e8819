"""PixelCNN, Gated PixelCNN and PixelCNN++ on our weights, as PyTorch runs them fast.

A network is a list of layers and a function of their weights. Weights are leaves that are views of one
flat f32 vector, so that an average of them is one kernel; names and shapes of checkpoints are ours.
Letters: N images, H rows, W columns, C colours, P parameters of a pixel, F filters.
"""

import json
import os

import torch
import torch.nn.functional as F

import safetensors_file
from convolutions import POINT, Conv, masked, rectangle
from likelihoods import Categorical, Mixture

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}


def load(folder=None, model=None, config=None, weights=None, **options):
    """A network from a run folder, or from a model's name, its configuration and a safetensors file."""
    if folder is not None:
        with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
            run = json.load(file)
        model, config = run["model"], run["config"]
        weights = os.path.join(folder, "model.safetensors")
    if model not in MODELS:
        raise ValueError(f"unknown model '{model}': expected {', '.join(MODELS)}")
    network = MODELS[model](config, **options)
    if weights is not None:
        metadata, tensors = safetensors_file.read(weights)
        if metadata.get("model", model) != model:
            raise ValueError(f"{weights}: is of {metadata['model']}, not of {model}")
        network.load(tensors, weights)
    return network


class Network:
    """What the three have in common.

    dtype: of activations and of what convolutions multiply; weights, their sums and the loss are f32.
    """

    def __init__(self, config, device="cpu", dtype="f32", kernel="cropped", layout="nhwc"):
        self.config, self.device, self.kernel, self.layout = config, torch.device(device), kernel, layout
        self.dtype = DTYPES[dtype]
        self.height, self.width = config["height"], config["width"]
        self.channels, self.levels, self.classes = config["channels"], config["levels"], config["classes"]
        self.convs = {}  # name: Conv
        self.parts = {}  # of a leaf: (layer, what), in our order
        self.shapes = {}  # of a leaf's own memory
        self.training, self.dropout = False, 0
        self.build()
        self.sizes = [torch.Size(s).numel() for s in self.shapes.values()]
        self.flat = torch.zeros(sum(self.sizes), device=self.device)
        self.leaves = self.views(self.flat)
        for leaf in self.leaves.values():
            leaf.requires_grad_()
        self.masks = {
            n: c.as_weight(c.mask.to(self.device)) for n, c in self.convs.items() if c.mask is not None
        }

    # -------------------------------------------------------------- layers

    def declare(self, name, taps, cin, cout, bias=True, strict=None, free=0, **more):
        """A convolution; strict: mask A (True) or B (False) for colours, None where there is no mask."""
        colours = None if strict is None or self.channels == 1 else (self.channels, strict, free)
        conv = Conv(taps, cin, cout, self.kernel, self.layout, colours=colours, **more)
        self.convs[name] = conv
        k, c = (cin, cout) if conv.transposed else (cout, cin)
        box = (k, conv.kh, conv.kw, c) if self.layout == "nhwc" else (k, c, conv.kh, conv.kw)
        self.declare_weights(name, box, bias)

    def declare_weights(self, name, box, bias):
        self.add(name + ".weight", name, box)
        if bias:
            self.add(name + ".bias", None, (self.convs[name].cout,))

    def add(self, leaf, layer, shape):
        self.parts[leaf] = layer
        self.shapes[leaf] = shape

    def table(self, name, filters):
        if self.classes:
            self.add(name, None, (self.classes, filters))

    def views(self, flat):
        return {n: v.view(s) for (n, s), v in zip(self.shapes.items(), flat.split(self.sizes))}

    # -------------------------------------------------------------- weights, ours and theirs

    def load(self, tensors, where="weights"):
        missing = [n for n in self.shapes if n not in tensors]
        if missing:
            raise ValueError(f"{where}: has no tensor '{missing[0]}'; is it of another configuration?")
        with torch.no_grad():
            for name, leaf in self.leaves.items():
                value = tensors[name].to(self.device, torch.float32)
                layer = self.parts[name]
                if layer is not None:
                    conv = self.convs[layer]
                    c, k = (conv.cout, conv.cin) if conv.transposed else (conv.cin, conv.cout)
                    expected = (len(conv.taps), c, k)
                    if tuple(value.shape) != expected:
                        raise ValueError(f"{where}: '{name}' is {tuple(value.shape)}, not {expected}")
                    value = conv.to_kernel(value)
                elif value.numel() != leaf.numel():
                    raise ValueError(f"{where}: '{name}' has {value.numel()} values, not {leaf.numel()}")
                leaf.copy_(value.reshape(leaf.shape))

    def to_ours(self, tensors):
        """Tensors like the leaves, {name: tensor}, in our names and shapes."""
        return {
            n: t if self.parts[n] is None else self.convs[self.parts[n]].from_kernel(t)
            for n, t in tensors.items()
        }

    def count(self):
        """Trainable values, as ours are counted: taps that a masked kernel adds are none."""
        return sum(t.numel() for t in self.to_ours(self.leaves).values())

    def weight(self, name):
        """The kernel of a layer from its leaves: masked, normalized, in the dtype of the products."""
        w = self.convs[name].as_weight(self.leaves[name + ".weight"])
        if name in self.masks:
            w = w * self.masks[name]
        return w.to(self.dtype)

    def bias(self, name):
        b = self.leaves.get(name + ".bias")
        return None if b is None else b.to(self.dtype)

    def prepared(self):
        """All that a forward pass needs of the leaves."""
        all = {name: (self.weight(name), self.bias(name)) for name in self.convs}
        for name in self.shapes:
            if self.parts[name] is None and name not in self.own_bias():
                all[name] = self.leaves[name].to(self.dtype)
        return all

    def own_bias(self):
        return {n + ".bias" for n in self.convs}

    # -------------------------------------------------------------- the network

    def pixels(self, images):
        """[N,H,W,C] u8 to [N,C+1,H,W] in [-1,1], with a channel of ones."""
        x = images.to(torch.float32) / (self.levels - 1) * 2 - 1
        x = F.pad(x.to(self.dtype), (0, 1), value=1.0).permute(0, 3, 1, 2)
        return x if self.layout == "nhwc" else x.contiguous()

    def forward(self, images, labels=None, w=None):
        """[N,H,W,C] u8 to [N,H,W,P] in the activations' dtype."""
        if w is None:
            w = self.prepared()
        return self.network(w, images, labels).permute(0, 2, 3, 1)

    def nats(self, images, labels=None, w=None):
        """The mean negative log-likelihood of a value, what training minimizes."""
        terms = self.likelihood.nats(self.forward(images, labels, w), images)
        return terms.sum() / images.numel()

    def conv(self, w, name, x, size=None):
        weight, bias = w[name]
        return self.convs[name](x, weight, bias, size)

    @staticmethod
    def given(w, name, x, labels):
        """Adds what the label says."""
        return x if name not in w else x + w[name][labels.long()][:, :, None, None]


def tanh_gate(x, groups):
    """tanh(a) * sigmoid(b), the halves of each colour's channels gating each other."""
    if groups == 1:
        a, b = x.chunk(2, 1)
        return torch.tanh(a) * torch.sigmoid(b)
    x = x.unflatten(1, (groups, 2, -1))
    return (torch.tanh(x[:, :, 0]) * torch.sigmoid(x[:, :, 1])).flatten(1, 2)


def concat_elu(x, dim=1):
    return F.elu(torch.cat([x, -x], dim))


class PixelCnn(Network):
    def build(self):
        c = self.config
        f, head = c["filters"], c["headFilters"]
        self.likelihood = Categorical(self.levels, self.channels)
        first = masked(c["firstKernel"], self.channels > 1)
        self.declare("first", first, self.channels + 1, 2 * f, strict=True, free=1)
        for b in range(c["blocks"]):
            block = f"blocks.{b}."
            self.declare(block + "reduce", POINT, 2 * f, f, strict=False)
            self.declare(block + "masked", masked(c["kernel"], True), f, f, strict=False)
            self.table(block + "class.weight", f)
            self.declare(block + "expand", POINT, f, 2 * f, strict=False)
        self.declare("head.0", POINT, 2 * f, head, strict=False)
        self.declare("head.1", POINT, head, head, strict=False)
        self.declare("head.2", POINT, head, self.likelihood.parameters, strict=False)

    def network(self, w, images, labels):
        h = self.conv(w, "first", self.pixels(images))  # (N, 2F, H, W)
        for b in range(self.config["blocks"]):
            block = f"blocks.{b}."
            reduced = self.conv(w, block + "reduce", F.relu(h))
            inner = self.conv(w, block + "masked", F.relu(reduced))
            inner = self.given(w, block + "class.weight", inner, labels)
            h = h + self.conv(w, block + "expand", F.relu(inner))
        h = self.conv(w, "head.0", F.relu(h))
        h = self.conv(w, "head.1", F.relu(h))
        return self.conv(w, "head.2", F.relu(h))


class GatedPixelCnn(Network):
    def build(self):
        c = self.config
        f, head = c["filters"], c["headFilters"]
        self.likelihood = Categorical(self.levels, self.channels)
        for l in range(c["layers"]):
            layer = f"layers.{l}."
            r = (c["kernel"] if l else c["firstKernel"]) // 2
            cin = f if l else self.channels + 1
            centre = l > 0 or self.channels > 1
            self.declare(layer + "vertical", rectangle(-r, 0 if l else -1, -r, r), cin, 2 * f)
            self.declare(layer + "link", POINT, 2 * f, 2 * f, bias=False)
            across = rectangle(0, 0, -r, 0 if centre else -1)
            # grey has no colours to order: what the centre may see is in the taps
            self.declare(layer + "horizontal", across, cin, 2 * f, strict=l == 0, free=0 if l else 1)
            self.table(layer + "vertical.class", 2 * f)
            self.table(layer + "horizontal.class", 2 * f)
            self.declare(layer + "out", POINT, f, f, strict=False)
        self.declare("head.0", POINT, f, head, strict=False)
        self.declare("head.1", POINT, head, self.likelihood.parameters, strict=False)

    def network(self, w, images, labels):
        v = h = self.pixels(images)
        last = self.config["layers"] - 1
        for l in range(last + 1):
            layer = f"layers.{l}."
            above = self.conv(w, layer + "vertical", v)  # (N, 2F, H, W)
            above = self.given(w, layer + "vertical.class", above, labels)
            across = self.conv(w, layer + "horizontal", h) + self.conv(w, layer + "link", above)
            across = self.given(w, layer + "horizontal.class", across, labels)
            out = self.conv(w, layer + "out", tanh_gate(across, self.channels))
            h = h + out if l else out  # no residual on the mask-A layer
            if l < last:
                v = tanh_gate(above, 1)
        h = self.conv(w, "head.0", F.relu(h))
        return self.conv(w, "head.1", F.relu(h))


class Feature:
    """Features and, once somebody asks, their concat-ELU: several layers read the same ones."""

    def __init__(self, x):
        self.x, self.activated = x, None

    def act(self):
        if self.activated is None:
            self.activated = concat_elu(self.x)
        return self.activated


class PixelCnnPlusPlus(Network):
    DOWN, DOWN_RIGHT = rectangle(-1, 0, -1, 1), rectangle(-1, 0, -1, 0)
    UP_DOWN, UP_DOWN_RIGHT = rectangle(0, 1, -1, 1), rectangle(0, 1, 0, 1)
    ROW, COLUMN = rectangle(0, 0, -1, 1), rectangle(-1, 0, 0, 0)

    def build(self):
        c = self.config
        f = self.f = c["filters"]
        self.likelihood = Mixture(c["mixtures"], self.levels, self.channels)
        self.top = c["resolutions"] - 1
        self.resnets, self.dropout = c["resnets"], c["dropout"]
        self.declare("first.u", self.DOWN, self.channels + 1, f)
        self.declare("first.above", self.ROW, self.channels + 1, f)
        self.declare("first.left", self.COLUMN, self.channels + 1, f)
        for s in range(self.top + 1):
            for r in range(self.resnets):
                self.declare_resnet(f"down.{s}.{r}.u", self.DOWN, 0)
                self.declare_resnet(f"down.{s}.{r}.ul", self.DOWN_RIGHT, 1)
            if s < self.top:
                self.declare(f"down.{s}.u", self.DOWN, f, f, stride=2)
                self.declare(f"down.{s}.ul", self.DOWN_RIGHT, f, f, stride=2)
        for s in range(self.top, -1, -1):
            for r in range(self.up_blocks(s)):
                self.declare_resnet(f"up.{s}.{r}.u", self.DOWN, 1)
                self.declare_resnet(f"up.{s}.{r}.ul", self.DOWN_RIGHT, 2)
            if s > 0:
                self.declare(f"up.{s}.u", self.UP_DOWN, f, f, stride=2, transposed=True)
                self.declare(f"up.{s}.ul", self.UP_DOWN_RIGHT, f, f, stride=2, transposed=True)
        self.declare("out", POINT, f, self.likelihood.parameters)

    def up_blocks(self, s):
        return self.resnets if s == self.top else self.resnets + 1

    def declare_resnet(self, name, taps, others):
        f = self.f
        self.declare(name + ".conv1", taps, 2 * f, f)
        for i in range(others):
            self.declare(f"{name}.skip{i}", POINT, 2 * f, f)
        self.declare(name + ".conv2", taps, 2 * f, 2 * f)
        self.table(name + ".class", 2 * f)

    def declare_weights(self, name, box, bias):
        conv = self.convs[name]
        self.add(name + ".v", name, box)
        self.add(name + ".g", None, (conv.cout,))
        self.add(name + ".b", None, (conv.cout,))

    def own_bias(self):
        return {n + e for n in self.convs for e in (".g", ".b")}

    def bias(self, name):
        return self.leaves[name + ".b"].to(self.dtype)

    def weight(self, name):
        """g * v / ||v||, the norm over every axis but that of the outputs."""
        conv = self.convs[name]
        v, g = self.leaves[name + ".v"], self.leaves[name + ".g"]
        axis = 0 if not conv.transposed else 3 if self.layout == "nhwc" else 1
        if axis == 1:  # the fused kernel is for the first and the last axis
            norm = v.square().sum((0, 2, 3), keepdim=True).sqrt()
            w = v * (g.view(1, -1, 1, 1) / norm)
        else:
            w = torch._weight_norm(v, g.view([-1 if a == axis else 1 for a in range(4)]), axis)
        w = conv.as_weight(w)
        if name in self.masks:
            w = w * self.masks[name]
        return w.to(self.dtype)

    @staticmethod
    def shift(x, rows, columns):
        """Down by rows, to the right by columns; exact zeros where there is no pixel."""
        h, w = x.shape[2:]
        return F.pad(x[:, :, : h - rows, : w - columns], (columns, 0, rows, 0))

    def resnet(self, w, name, labels, x, *others):
        c1 = self.conv(w, name + ".conv1", x.act())
        for i, other in enumerate(others):
            c1 = c1 + self.conv(w, f"{name}.skip{i}", other.act())
        c2 = concat_elu(c1)
        if self.training and self.dropout > 0:
            c2 = F.dropout(c2, self.dropout)
        c2 = self.conv(w, name + ".conv2", c2)
        return Feature(x.x + F.glu(self.given(w, name + ".class", c2, labels), 1))

    def network(self, w, images, labels):
        x = self.pixels(images)
        us = [Feature(self.shift(self.conv(w, "first.u", x), 1, 0))]
        above = self.shift(self.conv(w, "first.above", x), 1, 0)
        uls = [Feature(above + self.shift(self.conv(w, "first.left", x), 0, 1))]
        sizes = []
        for s in range(self.top + 1):
            sizes.append(us[-1].x.shape[2:])
            for r in range(self.resnets):
                us.append(self.resnet(w, f"down.{s}.{r}.u", labels, us[-1]))
                uls.append(self.resnet(w, f"down.{s}.{r}.ul", labels, uls[-1], us[-1]))
            if s < self.top:
                us.append(Feature(self.conv(w, f"down.{s}.u", us[-1].x)))
                uls.append(Feature(self.conv(w, f"down.{s}.ul", uls[-1].x)))
        u, ul = us.pop(), uls.pop()
        for s in range(self.top, -1, -1):
            for r in range(self.up_blocks(s)):
                u = self.resnet(w, f"up.{s}.{r}.u", labels, u, us.pop())
                ul = self.resnet(w, f"up.{s}.{r}.ul", labels, ul, u, uls.pop())
            if s > 0:
                u = Feature(self.conv(w, f"up.{s}.u", u.x, sizes[s - 1]))
                ul = Feature(self.conv(w, f"up.{s}.ul", ul.x, sizes[s - 1]))
        return self.conv(w, "out", F.elu(ul.x))


MODELS = {"pixelcnn": PixelCnn, "gated-pixelcnn": GatedPixelCnn, "pixelcnn++": PixelCnnPlusPlus}
