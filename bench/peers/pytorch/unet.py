"""The denoising U-Net with the modules and names of diffusers' UNet2DModel, in NCHW.

    python3 unet.py FILE.safetensors

loads the weights of a file of ours strictly, applies the network to the file's `input.x`, `input.times`
and `input.labels`, and compares with `output`. Prints the largest difference; fails where it exceeds 1e-4.
"""

import json
import math
import sys

import torch
import torch.nn.functional as F
from torch import nn

import safetensors_file

EPSILON = 1e-5
LIMIT = 1e-4


class Conv2d(nn.Conv2d):
    """Weights in the activations' dtype."""

    def forward(self, x):
        return self._conv_forward(x, self.weight.to(x.dtype), self.bias.to(x.dtype))


class Linear(nn.Linear):
    """So too."""

    def forward(self, x):
        return F.linear(x, self.weight.to(x.dtype), self.bias.to(x.dtype))


class GroupNorm(nn.GroupNorm):
    """So too; PyTorch's kernels sum in f32."""

    def forward(self, x):
        return F.group_norm(x, self.num_groups, self.weight.to(x.dtype), self.bias.to(x.dtype), self.eps)


def attended(q, k, v):
    """[N,heads,L,D]; by PyTorch's own kernels where it has them."""
    if hasattr(F, "scaled_dot_product_attention"):
        return F.scaled_dot_product_attention(q, k, v)
    return torch.softmax(q @ k.transpose(2, 3) / math.sqrt(q.shape[-1]), dim=-1) @ v


class Attention(nn.Module):
    """Vaswani et al. 2017, section 3.2, over the pixels of an image."""

    def __init__(self, channels, groups, head_channels):
        super().__init__()
        self.heads = channels // head_channels
        self.group_norm = GroupNorm(groups, channels, EPSILON)
        self.to_q = Linear(channels, channels)
        self.to_k = Linear(channels, channels)
        self.to_v = Linear(channels, channels)
        self.to_out = nn.ModuleList([Linear(channels, channels)])

    def forward(self, x):
        n, c, h, w = x.shape
        rows = self.group_norm(x).flatten(2).transpose(1, 2)

        def split(projected):
            return projected.view(n, h * w, self.heads, c // self.heads).transpose(1, 2)

        q, k, v = split(self.to_q(rows)), split(self.to_k(rows)), split(self.to_v(rows))
        out = attended(q, k, v).transpose(1, 2).reshape(n, h * w, c)
        return x + self.to_out[0](out).transpose(1, 2).view(n, c, h, w)


class Resnet(nn.Module):
    """A residual block; resnet_time_scale_shift='scale_shift' or 'default', and `resample` for both its ways."""

    def __init__(self, channels, out, time_channels, groups, dropout, scale_shift, resample=None):
        super().__init__()
        self.scale_shift, self.resample = scale_shift, resample or (lambda x: x)
        self.norm1 = GroupNorm(groups, channels, EPSILON)
        self.conv1 = Conv2d(channels, out, 3, padding=1)
        self.time_emb_proj = Linear(time_channels, 2 * out if scale_shift else out)
        self.norm2 = GroupNorm(groups, out, EPSILON)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = Conv2d(out, out, 3, padding=1)
        self.conv_shortcut = Conv2d(channels, out, 1) if channels != out else None

    def forward(self, x, embedding):
        h = self.conv1(self.resample(F.silu(self.norm1(x))))
        x = self.resample(x)
        time = self.time_emb_proj(F.silu(embedding))[:, :, None, None]
        if self.scale_shift:
            scale, shift = time.chunk(2, dim=1)
            h = self.norm2(h) * (1 + scale) + shift
        else:
            h = self.norm2(h + time)
        h = self.conv2(self.dropout(F.silu(h)))
        return h + (x if self.conv_shortcut is None else self.conv_shortcut(x))


def half(x):
    return F.avg_pool2d(x, 2)


def twice(x):
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


class Downsample(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x, embedding):
        return self.conv(x)


class Upsample(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = Conv2d(channels, channels, 3, padding=1)

    def forward(self, x, embedding):
        return self.conv(twice(x))


class Block(nn.Module):
    """Residual blocks of one resolution, each with attention behind it or none has."""

    def __init__(self, resnets, attentions):
        super().__init__()
        self.resnets = nn.ModuleList(resnets)
        if attentions:
            self.attentions = nn.ModuleList(attentions)

    def attend(self, i, x):
        return self.attentions[i](x) if hasattr(self, "attentions") else x


class TimestepEmbedding(nn.Module):
    def __init__(self, channels, out):
        super().__init__()
        self.linear_1 = Linear(channels, out)
        self.linear_2 = Linear(out, out)

    def forward(self, x):
        return self.linear_2(F.silu(self.linear_1(x)))


class UNet(nn.Module):
    """As of a configuration of ours."""

    def __init__(self, config):
        super().__init__()
        filters, groups, head = config["filters"], config["groups"], config["headChannels"]
        widths = [filters * int(m) for m in config["multipliers"].split(",")]
        attends = config["attention"].split(",")
        time_channels, levels = 4 * filters, len(widths)
        self.filters = filters

        def resnet(channels, out, resample=None):
            dropout, scale_shift = config["dropout"], config["scaleShift"]
            return Resnet(channels, out, time_channels, groups, dropout, scale_shift, resample)

        resampling = config["resnetResampling"]

        def attentions(level, count):
            there = str(config["height"] >> level) in attends
            return [Attention(widths[level], groups, head) for _ in range(count)] if there else []

        self.conv_in = Conv2d(config["channels"], filters, 3, padding=1)
        self.time_embedding = TimestepEmbedding(filters, time_channels)
        if config["classes"] > 0:
            self.class_embedding = nn.Embedding(config["classes"], time_channels)
        self.down_blocks, self.up_blocks = nn.ModuleList(), nn.ModuleList()
        x, shortcuts = filters, [filters]
        for level, width in enumerate(widths):
            resnets = []
            for _ in range(config["blocks"]):
                resnets.append(resnet(x, width))
                x = width
                shortcuts.append(x)
            block = Block(resnets, attentions(level, len(resnets)))
            if level < levels - 1:
                block.downsamplers = nn.ModuleList([resnet(x, x, half) if resampling else Downsample(x)])
                shortcuts.append(x)
            self.down_blocks.append(block)
        middle = [Attention(x, groups, head)] if config["attention"] != "none" else []
        self.mid_block = Block([resnet(x, x), resnet(x, x)], middle)
        for level, width in reversed(list(enumerate(widths))):
            resnets = []
            for _ in range(config["blocks"] + 1):
                resnets.append(resnet(x + shortcuts.pop(), width))
                x = width
            block = Block(resnets, attentions(level, len(resnets)))
            if level > 0:
                block.upsamplers = nn.ModuleList([resnet(x, x, twice) if resampling else Upsample(x)])
            self.up_blocks.append(block)
        self.conv_norm_out = GroupNorm(groups, x, EPSILON)
        self.conv_out = Conv2d(x, config["channels"], 3, padding=1)

    def time_proj(self, times):
        """flip_sin_to_cos=True, freq_shift=0: cosines first."""
        half = self.filters // 2
        steps = torch.arange(half, dtype=torch.float64, device=times.device)
        frequencies = torch.exp(-math.log(10000) * steps / half)
        angles = times.double()[:, None] * frequencies[None, :]
        return torch.cat([angles.cos(), angles.sin()], dim=1)

    def forward(self, x, times, labels=None):
        embedding = self.time_embedding(self.time_proj(times).to(x.dtype))
        if labels is not None:
            embedding = embedding + self.class_embedding(labels).to(x.dtype)
        x = self.conv_in(x)
        shortcuts = [x]
        for block in self.down_blocks:
            for i, resnet in enumerate(block.resnets):
                x = block.attend(i, resnet(x, embedding))
                shortcuts.append(x)
            for downsampler in getattr(block, "downsamplers", []):
                x = downsampler(x, embedding)
                shortcuts.append(x)
        x = self.mid_block.resnets[0](x, embedding)
        x = self.mid_block.attend(0, x)
        x = self.mid_block.resnets[1](x, embedding)
        for block in self.up_blocks:
            for i, resnet in enumerate(block.resnets):
                x = block.attend(i, resnet(torch.cat([x, shortcuts.pop()], dim=1), embedding))
            for upsampler in getattr(block, "upsamplers", []):
                x = upsampler(x, embedding)
        return self.conv_out(F.silu(self.conv_norm_out(x)))


def of_ours(tensors, model):
    """Our tensors as the model has them: weights [T,C,K] as [K,C,R,S], or as [K,C] of a linear layer."""
    state = {}
    for name, wanted in model.state_dict().items():
        if name not in tensors:
            continue  # strict loading names it
        tensor = tensors[name]
        if tensor.dim() == 3:
            taps, channels, filters = tensor.shape
            side = math.isqrt(taps)
            tensor = tensor.permute(2, 1, 0).reshape(filters, channels, side, side)
        state[name] = tensor.reshape(wanted.shape) if tensor.numel() == wanted.numel() else tensor
    state.update((name, tensor) for name, tensor in tensors.items() if name not in state)
    return state


def largest_difference(path):
    metadata, tensors = safetensors_file.read(path)
    given = {name: tensors.pop(name) for name in list(tensors) if name.startswith(("input.", "output"))}
    model = UNet(json.loads(metadata["config"]))
    model.load_state_dict(of_ours(tensors, model), strict=True)
    model.eval()
    labels = given["input.labels"].long() if "input.labels" in given else None
    with torch.no_grad():
        y = model(given["input.x"].permute(0, 3, 1, 2), given["input.times"], labels)
    return (y.permute(0, 2, 3, 1) - given["output"]).abs().max().item(), given["output"].abs().max().item()


def main():
    if len(sys.argv) != 2:
        print("usage: unet.py FILE.safetensors", file=sys.stderr)
        return 2
    try:
        difference, size = largest_difference(sys.argv[1])
    except (OSError, ValueError, KeyError, RuntimeError) as e:
        print(f"unet: {e}".replace("\n", " "), file=sys.stderr)
        return 1
    print(json.dumps({"difference": difference, "largest": size}))
    return 0 if difference <= LIMIT * max(1.0, size) else 1


if __name__ == "__main__":
    sys.exit(main())
