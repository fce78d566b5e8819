"""What the tests share: the folder above on the path, and small networks with nothing left at zero."""

import os
import sys

import torch

FOLDER = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, FOLDER)

import networks  # noqa: E402
import training  # noqa: E402

torch.set_num_threads(1)


def config(model, channels, classes, height=7, width=6):
    shared = {"height": height, "width": width, "channels": channels, "levels": 256, "classes": classes}
    if model == "pixelcnn++":
        more = {"filters": 4, "resnets": 1, "mixtures": 3, "resolutions": 3, "dropout": 0.5}
    else:
        depth = "blocks" if model == "pixelcnn" else "layers"
        more = {"filters": 6, depth: 2, "firstKernel": 5, "kernel": 3, "headFilters": 12}
    return dict(shared, **more)


def network(model, channels=1, classes=0, **options):
    """Weights drawn anew from one seed: the same for every way to build it."""
    torch.manual_seed(5)
    built = networks.load(model=model, config=config(model, channels, classes), **options)
    plain = networks.load(model=model, config=config(model, channels, classes))
    with torch.no_grad():
        for name, leaf in plain.leaves.items():
            torch.nn.init.normal_(leaf, 1.2 if name.endswith(".g") else 0.0, 0.3)
    built.load(plain.to_ours({n: t.detach() for n, t in plain.leaves.items()}))
    return built


def batch(channels=1, classes=0, count=3):
    torch.manual_seed(6)
    images = torch.randint(0, 256, (count, 7, 6, channels), dtype=torch.uint8)
    return images, torch.arange(count) % classes if classes else None


TRAINING = {
    "batch": 3, "learningRate": 1e-3, "warmupSteps": 10, "decay": 1, "beta1": 0.9, "beta2": 0.999,
    "clipNorm": 0.01, "emaDecay": 0.9,
}  # fmt: skip


def results(net, trainer):
    """What a file of ours would have of a network."""
    with torch.no_grad():
        outputs, nats = net.forward(trainer.images, None), net.nats(trainer.images)
    tensors = {"images": trainer.images, "f32.parameters": outputs, "f32.nats": nats}
    for name, gradient in net.to_ours(trainer.gradients()).items():
        tensors["f32.gradients." + name] = gradient
    for name, leaf in net.to_ours(net.leaves).items():
        tensors["weights." + name] = leaf.detach().clone()
    other = training.Trainer(network("gated-pixelcnn"), TRAINING, trainer.images)
    other.step()
    for name, average in other.network.to_ours(other.averages()).items():
        tensors["stepped." + name] = average.clone()
    return tensors


VARIANTS = [(m, c, k) for m in networks.MODELS for c in (1, 3) for k in (0, 3)]
