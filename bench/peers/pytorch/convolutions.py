"""Convolutions by taps as PyTorch has them: rectangular kernels, whole or cropped, with masks.

Our weights are [T,C,K]: taps, channels in, channels out. Here a kernel's memory is [K,kh,kw,C]
(layout nhwc, PyTorch's channels_last) or [K,C,kh,kw] (layout nchw); taps that the list does not have
stay zero and get no gradient.
"""

import torch
import torch.nn.functional as F

POINT = [(0, 0)]


def rectangle(top, bottom, left, right):
    return [(dy, dx) for dy in range(top, bottom + 1) for dx in range(left, right + 1)]


def masked(k, centre):
    """The taps of the k x k square before the pixel in raster order, and the pixel itself."""
    r = k // 2
    return [t for t in rectangle(-r, r, -r, r) if t < (0, 0) or (centre and t == (0, 0))]


def colour_mask(cin, cout, colours, strict, free):
    """[cout, cin]: 1 where a weight joins colour a to colour b with a < b, or a <= b."""
    before = torch.tensor([c * colours // (cin - free) for c in range(cin - free)])
    after = torch.tensor([k * colours // cout for k in range(cout)])
    allowed = before[None] < after[:, None] if strict else before[None] <= after[:, None]
    return torch.cat([allowed, torch.ones(cout, free, dtype=torch.bool)], 1).float()


class Conv:
    """One convolution: where its taps lie in a kernel, and how it is applied.

    kernel: 'cropped' (the smallest rectangle around the taps; what it computes beyond the image is cut
    off) or 'masked' (the whole square, symmetric padding, weights times a mask). A transposed one has
    its weights as those of the convolution that it transposes, [T,out,in].
    """

    def __init__(self, taps, cin, cout, kernel, layout, stride=1, transposed=False, colours=None):
        self.taps, self.cin, self.cout = taps, cin, cout
        self.stride, self.transposed, self.layout = stride, transposed, layout
        ys, xs = [t[0] for t in taps], [t[1] for t in taps]
        self.top, self.left, bottom, right = min(ys), min(xs), max(ys), max(xs)
        if kernel == "masked" and not transposed:
            ry, rx = max(map(abs, ys)), max(map(abs, xs))
            self.top, self.left, bottom, right = -ry, -rx, ry, rx
        elif kernel not in ("cropped", "masked"):
            raise ValueError(f"kernel must be cropped or masked, not {kernel}")
        self.bottom, self.right = bottom, right
        self.kh, self.kw = bottom - self.top + 1, right - self.left + 1
        self.mask = self._mask(colours)

    def _mask(self, colours):
        """Of the kernel, in its own memory's order; None where all of it counts."""
        c, k = (self.cout, self.cin) if self.transposed else (self.cin, self.cout)
        ours = torch.ones(len(self.taps), c, k)
        if colours is not None:
            ours[self.taps.index((0, 0))] = colour_mask(c, k, *colours).t()
        mask = self.to_kernel(ours)
        return None if bool((mask == 1).all()) else mask

    def to_kernel(self, w):
        """[T,C,K] to the kernel's memory."""
        k = w.new_zeros(w.shape[2], self.kh, self.kw, w.shape[1])
        for t, (dy, dx) in enumerate(self.taps):
            k[:, dy - self.top, dx - self.left] = w[t].t()
        return k if self.layout == "nhwc" else k.permute(0, 3, 1, 2).contiguous()

    def from_kernel(self, k):
        """The kernel's memory to [T,C,K]."""
        k = k if self.layout == "nhwc" else k.permute(0, 2, 3, 1)
        return torch.stack([k[:, dy - self.top, dx - self.left].t() for dy, dx in self.taps])

    def as_weight(self, k):
        """[K,C,kh,kw] as PyTorch's convolutions read it, channels_last where the layout is nhwc."""
        return k.permute(0, 3, 1, 2) if self.layout == "nhwc" else k

    def __call__(self, x, weight, bias, size=None):
        """x [N,C,H,W]; size: rows and columns of a transposed convolution's result."""
        if self.transposed:
            pad = (-self.top, -self.left)
            wide = [(n - 1) * self.stride - 2 * p + k for n, p, k in zip(x.shape[2:], pad, (self.kh, self.kw))]
            more = [max(0, s - w) for s, w in zip(size, wide)]
            y = F.conv_transpose2d(x, weight, bias, self.stride, pad, more)
            return y[:, :, : size[0], : size[1]]
        h, w = (-(-n // self.stride) for n in x.shape[2:])
        if self.cin <= 4:  # pixels: a copy of them costs less than rows that nobody needs
            x = F.pad(x, (-self.left, self.right, -self.top, self.bottom))
            y = F.conv2d(x, weight, bias, self.stride)
        else:
            y = F.conv2d(x, weight, bias, self.stride, (-self.top, -self.left))
        return y if y.shape[2:] == (h, w) else y[:, :, :h, :w]
