import unittest

import torch

from context import VARIANTS, batch, network

import checks
import sampling


class SamplingTest(unittest.TestCase):
    def test_what_is_cached_is_what_the_network_says(self):
        for model, channels, classes in VARIANTS:
            images, labels = batch(channels, classes)
            net = network(model, channels, classes)
            with torch.no_grad():
                whole = net.forward(images, labels)
            said = sampling.cached(net, 3, labels=labels).parameters(images)
            # at every pixel: a norm over all of them would hide one
            each = (said - whole).flatten(3).abs().amax(-1) / whole.abs().max()
            self.assertTrue(bool((each <= 1e-5).all()), (model, channels, classes, each.max()))

    def test_both_samplers_draw_the_same(self):
        for model, channels, classes in VARIANTS:
            _, labels = batch(channels, classes)
            net = network(model, channels, classes)
            sampler = sampling.cached(net, 3, labels=labels)
            noise = sampler.noise()
            first = sampler.sample(noise).clone()
            self.assertEqual((3, 7, 6, channels), tuple(first.shape))
            self.assertTrue(torch.equal(first, sampler.sample(noise)), "a second batch begins anew")
            full = sampling.FullSampler(net, 3, labels=labels).sample(noise)
            self.assertLess((first != full).float().mean().item(), 0.01, (model, channels, classes))
            self.assertGreater(len(first.unique()), 20)
            self.assertEqual(0, sampler.redrawn(first, noise))
            self.assertGreater(sampler.redrawn(sampler.sample().clone(), noise), 0.5)

    def test_other_kernels_are_refused(self):
        with self.assertRaisesRegex(ValueError, "cropped"):
            sampling.cached(network("pixelcnn", kernel="masked"), 2)


class KernelsTest(unittest.TestCase):
    def test_gradients_written_out_are_those_of_autograd(self):
        import kernels

        torch.manual_seed(1)
        x = torch.randn(4, 10, dtype=torch.float64, requires_grad=True)
        for forward, backward, width in (
            (kernels.gate, kernels.gate_backward, 5),
            (kernels.concat_elu, kernels.concat_elu_backward, 20),
        ):
            dy = torch.randn(4, width, dtype=torch.float64)
            (expected,) = torch.autograd.grad(forward(x), x, dy)
            self.assertLess((backward(x.detach(), dy) - expected).abs().max().item(), 1e-12)

    def test_convolutions_gradients_are_those_of_autograd(self):
        import kernels
        from convolutions import Conv, rectangle

        torch.manual_seed(2)
        taps = rectangle(-1, 0, -1, 1)
        x, dy = torch.randn(2, 6, 5, 8), torch.randn(2, 6, 5, 7)
        w, bias = torch.randn(len(taps), 8, 7, requires_grad=True), torch.zeros(7, requires_grad=True)
        x.requires_grad_()
        conv = Conv(taps, 8, 7, "cropped", "nhwc")
        y = conv(x.permute(0, 3, 1, 2), conv.as_weight(conv.to_kernel(w)), bias)
        dx, dw, db = torch.autograd.grad(y, (x, w, bias), dy.permute(0, 3, 1, 2))
        for kernel in ("cropped", "masked"):
            spec = {"dtype": "f32", "taps": taps}
            for op, inputs, expected in (
                ("conv_data", [w.detach(), dy], [dx]),
                ("conv_weights", [x.detach(), dy], [dw, db]),
            ):
                tensors = {f"in.{i}": t for i, t in enumerate(inputs)}
                built = kernels.Kernel(dict(spec, op=op), tensors, torch.device("cpu"), kernel=kernel)
                for got, wanted in zip(built.outputs(), expected):
                    self.assertLess(checks.difference([got], [wanted])[0], 1e-5, (op, kernel))


if __name__ == "__main__":
    unittest.main()
