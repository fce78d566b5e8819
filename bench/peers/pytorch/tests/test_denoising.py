import unittest

import torch

import context  # noqa: F401
from context import TRAINING

import checks
import denoising
import training

CONFIG = {
    "unet": {
        "height": 8, "width": 12, "channels": 3, "classes": 0, "filters": 8, "multipliers": "1,2", "blocks": 1,
        "attention": "", "headChannels": 8, "groups": 4, "dropout": 0.1, "scaleShift": False,
        "resnetResampling": False,
    },
    "learnedVariance": False, "condition": "none",
}  # fmt: skip
TIMES = 10


def given():
    """A file of ours, but for what the network makes of it."""
    torch.manual_seed(3)
    alpha = torch.linspace(0.99, 0.1, TIMES)
    sigma = (1 - alpha**2).sqrt()
    zero, one = torch.zeros(TIMES), torch.ones(TIMES)
    return {
        "table": torch.stack([alpha, sigma, zero, one, torch.arange(1.0, TIMES + 1), one], 1),
        "images": torch.randint(0, 256, (3, 8, 12, 3), dtype=torch.uint8),
        "x": torch.randn(3, 8, 12, 3),
        "times": torch.tensor([1.0, 5.0, 10.0]),
        "target": torch.randn(3, 8, 12, 3),
        "lossWeights": torch.ones(3),
    }


def network(**options):
    net = denoising.Denoiser({**CONFIG, "unet": dict(CONFIG["unet"])}, given(), **options)
    plain = denoising.Denoiser({**CONFIG, "unet": dict(CONFIG["unet"])}, given())
    torch.manual_seed(4)
    with torch.no_grad():
        for name, leaf in plain.leaves.items():
            torch.nn.init.normal_(leaf, 1.0 if "norm" in name and name.endswith("weight") else 0.0, 0.1)
    net.load(plain.to_ours({n: t.detach() for n, t in plain.leaves.items()}))
    return net


class DenoisingTest(unittest.TestCase):
    def test_weights_are_views_of_one_vector_in_either_layout(self):
        both = [network(layout=layout) for layout in ("nhwc", "nchw")]
        for net in both:
            self.assertEqual(net.count(), sum(p.numel() for p in net.module.parameters()))
            first = next(iter(net.leaves.values()))
            before = float(first.detach().flatten()[0])
            with torch.no_grad():
                net.flat += 1
            self.assertAlmostEqual(before + 1, float(first.detach().flatten()[0]), 5)
            with torch.no_grad():
                net.flat -= 1
        said = [net.forward().detach() for net in both]
        self.assertGreater(float(said[0].abs().max()), 0.1)
        self.assertLess(checks.difference([said[0]], [said[1]])[0], 1e-5)
        ours = [net.to_ours({n: t.detach() for n, t in net.leaves.items()}) for net in both]
        for name in ours[0]:
            self.assertTrue(torch.equal(ours[0][name], ours[1][name]), name)

    def test_noise_is_of_the_times_drawn(self):
        net = network()
        net.training = True
        images = torch.full((4000, 8, 12, 3), 255, dtype=torch.uint8)
        x, times, target, weights = net.draw(images)
        self.assertEqual(set(range(1, TIMES + 1)), set(times.int().tolist()))
        table = given()["table"]
        for t in (1, TIMES):
            noisy = x[times == t]
            self.assertAlmostEqual(float(table[t - 1, 0]), float(noisy.mean()), 1)
            self.assertAlmostEqual(float(table[t - 1, 1]), float(noisy.std()), 1)
        self.assertAlmostEqual(1.0, float(target.std()), 1)
        self.assertEqual(1.0, float(weights.mean()))

    def test_held_batches_are_those_given(self):
        net = network()
        net.held = True
        trainer = training.Trainer(net, TRAINING, given()["images"])
        first, second = trainer.gradients(), trainer.gradients()
        for name in first:
            self.assertTrue(torch.equal(first[name], second[name]), name)
        expected = ((net.forward() - given()["target"]).square().mean()).item()
        self.assertAlmostEqual(expected, net.nats(*net.draw(None)).item(), 5)

    def test_training_lowers_the_loss_and_keeps_the_average(self):
        net = network()
        trainer = training.Trainer(net, dict(TRAINING, learningRate=5e-3, clipNorm=1), given()["images"])
        losses = [float(trainer.step()) for _ in range(60)]
        self.assertLess(sum(losses[-20:]), 0.8 * sum(losses[:20]))
        self.assertGreater(checks.difference(list(trainer.averages().values()), list(net.leaves.values()))[0], 0)

    def test_a_sampler_is_its_table(self):
        net = network()
        # x; then D = x - 0.5 f kept to [-1,1], x = 0.3 x + 0.7 D
        table = torch.zeros(3, 10, dtype=torch.float64)
        table[:2, 6], table[0, 7], table[1, 7] = 1, 9.0, 2.0
        table[1:, :4] = torch.tensor([1, -0.5, 0.3, 0.7])
        noise = torch.randn(3, 8, 12, 3)
        drawn = denoising.Sampler(net, table, 3).sample(noise)
        x = noise.permute(0, 3, 1, 2)
        net.module.eval()
        with torch.no_grad():
            for time in (9.0, 2.0):
                denoised = (x - 0.5 * net.module(x, torch.full((3,), time))).clamp(-1, 1)
                x = 0.3 * x + 0.7 * denoised
        self.assertLess(checks.difference([drawn], [x.permute(0, 2, 3, 1)])[0], 1e-5)
        table[1, 5] = 0.1
        with self.assertRaisesRegex(ValueError, "with noise"):
            denoising.Sampler(net, table, 3)

    def test_what_is_not_compared_is_refused(self):
        with self.assertRaisesRegex(ValueError, "not compared"):
            denoising.Denoiser({**CONFIG, "learnedVariance": True}, given())


if __name__ == "__main__":
    unittest.main()
