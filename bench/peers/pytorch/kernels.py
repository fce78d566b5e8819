"""Single operations at the networks' shapes, on the inputs that ours had, and checked against its outputs.

A description names the op and its attributes; inputs and outputs are in the order of ours: in.0, in.1,
..., out.0, ... Each gives a function without arguments that returns its outputs in our shapes.
"""

import torch
import torch.nn.functional as F

from convolutions import Conv
from likelihoods import Categorical, Mixture
from networks import DTYPES
from training import captured, compiled, require

CALLS = 20  # in one CUDA graph


class Kernel:
    def __init__(self, spec, tensors, device, variant="eager", kernel="cropped"):
        require(variant, device)
        if spec["op"] not in BUILDERS:
            raise ValueError(f"unknown op '{spec['op']}': expected {', '.join(BUILDERS)}")
        self.device, self.variant = device, variant
        count = sum(1 for n in tensors if n.startswith("in."))
        inputs = [tensors[f"in.{i}"].to(device) for i in range(count)]
        fuse = compiled if "compile" in variant else lambda f: f
        self.function, self.shaped = BUILDERS[spec["op"]](spec, inputs, device, kernel, fuse)
        self.calls = 1
        self.graph = None

    def outputs(self):
        return [o.float() for o in self.shaped(self.function())]

    def capture(self):
        """After the check: some ops change their inputs."""
        if "graph" in self.variant:
            self.calls = CALLS

            def many():
                for _ in range(CALLS):
                    self.function()

            self.graph = captured(many)

    def run(self):
        if self.graph is None:
            self.function()
        else:
            self.graph.replay()


def image(x, dtype):
    """[N,H,W,C] as PyTorch's NCHW in channels_last memory."""
    return x.to(DTYPES[dtype]).contiguous().permute(0, 3, 1, 2)


def back(y):
    return y.permute(0, 2, 3, 1)


def conv_of(spec, c, k, kernel):
    return Conv([tuple(t) for t in spec["taps"]], c, k, kernel, "nhwc", stride=spec.get("stride", 1))


def conv_forward(spec, inputs, device, kernel, fuse):
    x, w, bias = inputs
    conv = conv_of(spec, w.shape[1], w.shape[2], kernel)
    x, dtype = image(x, spec["dtype"]), DTYPES[spec["dtype"]]
    w, bias = conv.as_weight(conv.to_kernel(w)).to(dtype), bias.to(dtype)
    function = fuse(lambda a, b, c: conv(a, b, c))
    return lambda: function(x, w, bias), lambda y: [back(y)]


def convolution_backward(dy, x, w, conv, mask):
    """dy is that of the rows and columns that were kept; the others' are zero."""
    pad = (-conv.top, -conv.left)
    size = [n + 2 * p - k + 1 for n, p, k in zip(x.shape[2:], pad, (conv.kh, conv.kw))]
    h, v = size[1] - dy.shape[3], size[0] - dy.shape[2]
    if h or v:
        dy = F.pad(dy, (0, h, 0, v))
    one, zero = [1, 1], [0, 0]
    return torch.ops.aten.convolution_backward(
        dy, x, w, [w.shape[0]], one, list(pad), one, False, zero, 1, mask
    )


def conv_data(spec, inputs, device, kernel, fuse):
    w, dy = inputs
    conv = conv_of(spec, w.shape[1], w.shape[2], kernel)
    dy = image(dy, spec["dtype"])
    w = conv.as_weight(conv.to_kernel(w)).to(DTYPES[spec["dtype"]])
    n, _, rows, columns = dy.shape
    x = torch.empty(n, rows, columns, w.shape[1], dtype=dy.dtype, device=device).permute(0, 3, 1, 2)
    function = fuse(lambda g, a, b: convolution_backward(g, a, b, conv, [True, False, False])[0])
    return lambda: function(dy, x, w), lambda y: [back(y)]


def conv_weights(spec, inputs, device, kernel, fuse):
    x, dy = (image(t, spec["dtype"]) for t in inputs)
    conv = conv_of(spec, x.shape[1], dy.shape[1], kernel)
    w = torch.empty(dy.shape[1], conv.kh, conv.kw, x.shape[1], dtype=x.dtype, device=device).permute(0, 3, 1, 2)
    function = fuse(lambda g, a, b: convolution_backward(g, a, b, conv, [False, True, True])[1:])
    return lambda: function(dy, x, w), lambda y: [conv.from_kernel(y[0].permute(0, 2, 3, 1)), y[1]]


def elementwise(function):
    def build(spec, inputs, device, kernel, fuse):
        inputs = [t.to(DTYPES[spec["dtype"]]) for t in inputs]
        f = fuse(function)
        return lambda: f(*inputs), lambda y: [y]

    return build


def gate(x):
    a, b = x.chunk(2, -1)
    return torch.tanh(a) * torch.sigmoid(b)


def gate_backward(x, dy):
    a, b = x.chunk(2, -1)
    t, s = torch.tanh(a), torch.sigmoid(b)
    slope = dy * s
    return torch.cat([slope * (1 - t * t), slope * t * (1 - s)], -1)


def concat_elu(x):
    return F.elu(torch.cat([x, -x], -1))


def concat_elu_backward(x, dy):
    a, b = dy.chunk(2, -1)
    return a * torch.exp(x.clamp(max=0)) - b * torch.exp((-x).clamp(max=0))


def loss_and_gradient(likelihood, parameters, images, dtype, fuse):
    parameters = parameters.to(DTYPES[dtype]).requires_grad_()
    mean = fuse(lambda p, i: likelihood.nats(p, i).sum() / i.numel())

    def function():
        loss = mean(parameters, images)
        return loss.detach(), torch.autograd.grad(loss, parameters)[0]

    return function, lambda y: [y[0].reshape(1), y[1]]


def cross_entropy(spec, inputs, device, kernel, fuse):
    logits, images = inputs
    likelihood = Categorical(spec["levels"], images.shape[-1])
    return loss_and_gradient(likelihood, logits, images, spec["dtype"], fuse)


def mixture(spec, inputs, device, kernel, fuse):
    parameters, images = inputs
    likelihood = Mixture(spec["mixtures"], spec["levels"], images.shape[-1])
    return loss_and_gradient(likelihood, parameters, images, "f32", fuse)


def adam(spec, inputs, device, kernel, fuse):
    """Clipping, a step and the average, over one flat vector: parameters, gradients."""
    p, g = inputs[0].clone().requires_grad_(), inputs[1].clone()
    p.grad = g
    ema = inputs[0].clone()
    on_gpu = device.type == "cuda"
    optimizer = torch.optim.Adam(
        [p], lr=spec["rate"], betas=(spec["beta1"], spec["beta2"]), eps=1e-8, **best_adam(on_gpu)
    )
    scale = torch.tensor(1.0, device=device)
    if on_gpu:
        optimizer.grad_scale, optimizer.found_inf = scale, torch.tensor(0.0, device=device)

    def function():
        with torch.no_grad():
            clip = (torch.linalg.vector_norm(g) / spec["clipNorm"]).clamp(min=1.0)
            if on_gpu:
                scale.copy_(clip)
            else:
                g.div_(clip)
        optimizer.step()
        with torch.no_grad():
            ema.lerp_(p, spec["share"])
        return p, ema

    return function, lambda y: [t.detach().clone() for t in y]


def best_adam(on_gpu):
    return {"fused": True, "capturable": True} if on_gpu else {"foreach": True}


BUILDERS = {
    "conv_forward": conv_forward,
    "conv_data": conv_data,
    "conv_weights": conv_weights,
    "gate": elementwise(gate),
    "gate_backward": elementwise(gate_backward),
    "concat_elu": elementwise(concat_elu),
    "concat_elu_backward": elementwise(concat_elu_backward),
    "cross_entropy": cross_entropy,
    "mixture": mixture,
    "adam": adam,
}
