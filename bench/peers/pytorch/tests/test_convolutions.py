import unittest

import torch

import context  # noqa: F401
from convolutions import POINT, Conv, colour_mask, masked, rectangle


def by_taps(x, w, bias, taps, stride):
    """What our op says: y[n,i,j,k] = bias[k] + sum over t, c of x[n, i*s + dy, j*s + dx, c] w[t,c,k]."""
    n, h, v, _ = x.shape
    y = bias.repeat(n, -(-h // stride), -(-v // stride), 1)
    for i in range(y.shape[1]):
        for j in range(y.shape[2]):
            for t, (dy, dx) in enumerate(taps):
                r, c = i * stride + dy, j * stride + dx
                if 0 <= r < h and 0 <= c < v:
                    y[:, i, j] += x[:, r, c] @ w[t]
    return y


def transposed_by_taps(small, w, bias, taps, stride, size):
    """Its transpose: large[n, i*s + dy, j*s + dx, c] += w[t,c,k] small[n,i,j,k]."""
    y = bias.repeat(small.shape[0], size[0], size[1], 1)
    for i in range(small.shape[1]):
        for j in range(small.shape[2]):
            for t, (dy, dx) in enumerate(taps):
                r, c = i * stride + dy, j * stride + dx
                if 0 <= r < size[0] and 0 <= c < size[1]:
                    y[:, r, c] += small[:, i, j] @ w[t].t()
    return y


class ConvolutionsTest(unittest.TestCase):
    TAPS = {
        "mask A": masked(5, False),
        "mask B": masked(3, True),
        "above": rectangle(-3, -1, -3, 3),
        "vertical": rectangle(-1, 0, -1, 1),
        "left": rectangle(0, 0, -3, -1),
        "corner": rectangle(-1, 0, -1, 0),
        "row": rectangle(0, 0, -1, 1),
        "column": rectangle(-1, 0, 0, 0),
        "point": POINT,
    }

    def test_masks_are_raster_order(self):
        self.assertEqual([(-1, -1), (-1, 0), (-1, 1), (0, -1)], masked(3, False))
        self.assertEqual(13, len(masked(5, True)))

    def test_kernels_and_taps_convert_both_ways(self):
        torch.manual_seed(1)
        for name, taps in self.TAPS.items():
            for kernel in ("cropped", "masked"):
                for layout in ("nhwc", "nchw"):
                    conv = Conv(taps, 3, 5, kernel, layout)
                    w = torch.randn(len(taps), 3, 5)
                    k = conv.to_kernel(w)
                    self.assertTrue(torch.equal(w, conv.from_kernel(k)), (name, kernel, layout))
                    self.assertEqual(w.numel(), int((k != 0).sum()))
                    shape = (5, 3, conv.kh, conv.kw)
                    self.assertEqual(shape, tuple(conv.as_weight(k).shape))

    def test_convolutions_are_those_by_taps(self):
        torch.manual_seed(2)
        for name, taps in self.TAPS.items():
            for kernel in ("cropped", "masked"):
                for layout in ("nhwc", "nchw"):
                    for cin in (2, 6):
                        for stride in (1, 2) if cin > 4 else (1,):
                            x, b = torch.randn(2, 7, 6, cin), torch.randn(5)
                            w = torch.randn(len(taps), cin, 5)
                            conv = Conv(taps, cin, 5, kernel, layout, stride=stride)
                            k = conv.as_weight(conv.to_kernel(w))
                            y = conv(x.permute(0, 3, 1, 2), k, b).permute(0, 2, 3, 1)
                            expected = by_taps(x, w, b, taps, stride)
                            where = (name, kernel, layout, cin, stride)
                            self.assertEqual(expected.shape, y.shape, where)
                            self.assertLess((y - expected).abs().max().item(), 1e-4, where)

    def test_transposed_convolutions_are_those_by_taps(self):
        torch.manual_seed(3)
        for taps in (rectangle(0, 1, -1, 1), rectangle(0, 1, 0, 1)):
            for size in ((7, 6), (8, 5), (6, 8)):
                small = torch.randn(2, -(-size[0] // 2), -(-size[1] // 2), 4)
                w, b = torch.randn(len(taps), 3, 4), torch.randn(3)
                conv = Conv(taps, 4, 3, "cropped", "nhwc", stride=2, transposed=True)
                y = conv(small.permute(0, 3, 1, 2), conv.as_weight(conv.to_kernel(w)), b, size)
                expected = transposed_by_taps(small, w, b, taps, 2, size)
                self.assertLess((y.permute(0, 2, 3, 1) - expected).abs().max().item(), 1e-4)

    def test_colours_see_those_before_them(self):
        a, b = colour_mask(7, 6, 3, True, 1), colour_mask(6, 6, 3, False, 0)
        self.assertEqual([[0, 0, 0, 0, 0, 0, 1]] * 2, a[:2].tolist())  # red: the ones alone
        self.assertEqual([1, 1, 0, 0, 0, 0, 1], a[2].tolist())
        self.assertEqual([1, 1, 1, 1, 0, 0, 1], a[5].tolist())
        self.assertEqual([1, 1, 0, 0, 0, 0], b[1].tolist())
        self.assertEqual([1] * 6, b[4].tolist())

    def test_the_mask_is_at_the_centre_alone(self):
        conv = Conv(masked(3, True), 3, 3, "masked", "nhwc", colours=(3, False, 0))
        self.assertEqual((3, 3, 3, 3), tuple(conv.mask.shape))
        self.assertTrue(bool((conv.mask[:, 0] == 1).all()))
        self.assertTrue(bool((conv.mask[:, 2] == 0).all()))
        self.assertEqual(torch.ones(3, 3).tril().tolist(), conv.mask[:, 1, 1].tolist())
        self.assertIsNone(Conv(rectangle(-1, 0, -1, 1), 3, 3, "cropped", "nhwc").mask)


if __name__ == "__main__":
    unittest.main()
