import math
import unittest

import torch

import context  # noqa: F401
import checks
import networks
import training
from context import TRAINING, VARIANTS, batch, network, results


class NetworksTest(unittest.TestCase):
    def test_all_ways_to_build_a_network_are_the_same(self):
        for model, channels, classes in VARIANTS:
            images, labels = batch(channels, classes)
            outputs = {}
            for kernel, layout in (("cropped", "nhwc"), ("masked", "nhwc"), ("cropped", "nchw"), ("masked", "nchw")):
                net = network(model, channels, classes, kernel=kernel, layout=layout)
                outputs[kernel, layout] = net.forward(images, labels).detach()
            first = outputs.pop(("cropped", "nhwc"))
            for way, other in outputs.items():
                self.assertLess(checks.difference([other], [first])[0], 1e-5, (model, channels, classes, way))

    def test_no_output_depends_on_what_comes_after(self):
        for model, channels, classes in VARIANTS:
            images, labels = batch(channels, classes)
            net = network(model, channels, classes)
            with torch.no_grad():
                before = net.forward(images, labels)
                row, column, colour = 3, 2, channels - 1
                changed = images.clone()
                changed[:, row, column, colour] ^= 77
                differs = (net.forward(changed, labels) != before).flatten(3).any(0)
            p = before.shape[-1] // net.likelihood.passes
            for r in range(7):
                for c in range(6):
                    if (r, c) <= (row, column):
                        # its own pixel too: nothing is drawn after its last colour
                        self.assertFalse(bool(differs[r, c].any()), (model, channels, r, c, p))
            self.assertTrue(bool(differs[row, column + 1].any()), model)
            self.assertTrue(bool(differs[row + 1].any()), model)

    def test_wrong_weights_are_refused(self):
        net = network("gated-pixelcnn")
        ours = net.to_ours({n: t.detach() for n, t in net.leaves.items()})
        with self.assertRaisesRegex(ValueError, "head.1.bias"):
            net.load({k: v for k, v in ours.items() if k != "head.1.bias"})
        with self.assertRaisesRegex(ValueError, "layers.0.link.weight"):
            net.load(dict(ours, **{"layers.0.link.weight": torch.zeros(1, 3, 3)}))
        with self.assertRaisesRegex(ValueError, "unknown model"):
            networks.load(model="pixelrnn", config={})


class TrainingTest(unittest.TestCase):
    def trainer(self, **changes):
        images, labels = batch()
        return training.Trainer(network("gated-pixelcnn"), dict(TRAINING, **changes), images, labels)

    def test_steps_are_those_of_the_formulas(self):
        """Adam with clipping, warm-up, decay and an average, written out in f64."""
        for clip in (0.01, 1e6):
            t = self.trainer(clipNorm=clip, decay=0.97, beta1=0.8, beta2=0.95)
            flat = t.network.flat
            p = torch.cat([leaf.detach().reshape(-1) for leaf in t.leaves]).double()
            m, v, ema, norms = torch.zeros_like(p), torch.zeros_like(p), p.clone(), []
            for step in range(1, 5):
                # steps whose gradients differ in length: Adam alone does not see a common factor
                t.host[0] = (t.host[0] // step).clone()
                t.images.copy_(t.host[0])
                before = flat.detach().clone()
                g = torch.cat([x.reshape(-1) for x in t.gradients().values()]).double()
                norms.append(g.norm().item())
                g *= min(1, clip / norms[-1])
                self.assertTrue(torch.equal(before, flat))
                t.step()
                m, v = 0.8 * m + 0.2 * g, 0.95 * v + 0.05 * g * g
                rate = 1e-3 * min(1, step / 10) * 0.97**step
                p = p - rate * (m / (1 - 0.8**step)) / ((v / (1 - 0.95**step)).sqrt() + 1e-8)
                share = 1 - min(0.9, step / (step + 10))
                ema = ema + share * (p - ema)
            self.assertGreater(max(norms), 1.3 * min(norms))
            now = torch.cat([leaf.detach().reshape(-1) for leaf in t.leaves])
            self.assertLess((p - now).abs().max().item(), 2e-6, clip)
            self.assertLess((ema - t.ema).abs().max().item(), 2e-6, clip)

    def test_variants_that_cannot_be_had_say_why(self):
        images, labels = batch()
        for variant in ("compile", "graph", "compile+graph"):
            with self.assertRaisesRegex(training.Unavailable, "GPU"):
                training.Trainer(network("pixelcnn"), TRAINING, images, labels, variant=variant)
        with self.assertRaisesRegex(ValueError, "unknown variant"):
            training.Trainer(network("pixelcnn"), TRAINING, images, labels, variant="fast")


class ChecksTest(unittest.TestCase):
    def test_what_agrees_passes_and_what_does_not_fails(self):
        net = network("gated-pixelcnn")
        trainer = training.Trainer(net, TRAINING, batch()[0])
        ours = results(net, trainer)

        def run(**changes):
            fresh = training.Trainer(network("gated-pixelcnn"), TRAINING, batch()[0])
            return checks.check(fresh, checks.Ours(dict(ours, **changes)), "f32")

        self.assertEqual(0, run()["parameters"])
        for key in ("f32.parameters", "f32.nats", "f32.gradients.head.0.weight", "stepped.head.0.weight"):
            for change in (1.05 * ours[key] + 1e-3, torch.full_like(ours[key], math.nan)):
                with self.assertRaises(checks.Disagreement, msg=key):
                    run(**{key: change})

    def test_theirs_with_a_nan_never_pass(self):
        net = network("gated-pixelcnn")
        trainer = training.Trainer(net, TRAINING, batch()[0])
        ours = results(net, trainer)
        with torch.no_grad():
            net.leaves["head.1.bias"][3] = math.nan
        with self.assertRaises(checks.Disagreement):
            checks.check(trainer, checks.Ours(ours), "f32")
        self.assertTrue(math.isnan(checks.difference([torch.tensor([1.0, math.inf])], [torch.ones(2)])[0]))


if __name__ == "__main__":
    unittest.main()
