import math
import unittest

import torch

import context  # noqa: F401
from likelihoods import Categorical, Mixture


class LikelihoodsTest(unittest.TestCase):
    def test_a_mixture_sums_to_one(self):
        torch.manual_seed(1)
        for levels in (2, 5, 256):
            mixture = Mixture(4, levels, 1)
            for spread in (0.3, 3.0, 20.0):  # the last: means far outside, scales beyond the least one
                parameters = (spread * torch.randn(1, 1, 1, 12)).expand(levels, 1, 1, 12)
                images = torch.arange(levels, dtype=torch.uint8).view(levels, 1, 1, 1)
                total = torch.exp(-mixture.nats(parameters, images).double()).sum().item()
                self.assertAlmostEqual(1, total, places=4, msg=(levels, spread))

    def test_a_mixture_in_colour_sums_to_one(self):
        torch.manual_seed(2)
        levels, mixture = 4, Mixture(3, 4, 3)
        parameters = torch.randn(1, 1, 1, 30).expand(levels**3, 1, 1, 30)
        all = torch.cartesian_prod(*[torch.arange(levels)] * 3).to(torch.uint8).view(-1, 1, 1, 3)
        self.assertAlmostEqual(1, torch.exp(-mixture.nats(parameters, all).double()).sum().item(), places=5)

    def test_colours_are_coupled_as_in_the_paper(self):
        """One narrow component: the coefficients decide where green and blue are."""
        levels, mixture = 256, Mixture(1, 256, 3)
        p = torch.zeros(1, 1, 1, 10)
        for c in range(3):
            p[..., 1 + 3 * c + 1] = -6.0  # log-scales
        p[..., 3], p[..., 6], p[..., 9] = 0.5, -0.7, 0.9  # red to green, red to blue, green to blue
        red, green = 200, 90
        x = [2 * v / (levels - 1) - 1 for v in (red, green)]
        g = math.tanh(0.5) * x[0]
        b = math.tanh(-0.7) * x[0] + math.tanh(0.9) * x[1]
        at = [round((v + 1) / 2 * (levels - 1)) for v in (g, b)]

        def nats(*pixel):
            return mixture.nats(p, torch.tensor(pixel, dtype=torch.uint8).view(1, 1, 1, 3)).item()

        greens = [nats(red, v, at[1]) for v in range(levels)]
        self.assertLessEqual(abs(min(range(levels), key=greens.__getitem__) - at[0]), 50)
        blues = [nats(red, green, v) for v in range(levels)]
        self.assertLessEqual(abs(min(range(levels), key=blues.__getitem__) - at[1]), 1)

    def test_draws_follow_the_probabilities(self):
        torch.manual_seed(3)
        count = 40_000
        mixture = Mixture(2, 6, 1)
        p = torch.randn(1, 6)
        noise = torch.empty(count, 3)
        mixture.fill(noise)
        drawn = mixture.draw(p.expand(count, 6), noise).view(-1)
        images = torch.arange(6, dtype=torch.uint8).view(6, 1, 1, 1)
        expected = torch.exp(-mixture.nats(p.view(1, 1, 1, 6).expand(6, 1, 1, 6), images))
        share = torch.bincount(drawn, minlength=6).float() / count
        self.assertLess((share - expected).abs().max().item(), 0.015)
        soft = Categorical(6, 1)
        noise = torch.empty(count, 1, 6)
        soft.fill(noise)
        share = torch.bincount(soft.draw(p.expand(count, 6), noise), minlength=6).float() / count
        self.assertLess((share - torch.softmax(p[0], -1)).abs().max().item(), 0.015)


if __name__ == "__main__":
    unittest.main()
