import unittest
from unittest import mock

import torch

from context import TRAINING, batch, network

import sampling
import training


class Replayed:
    """In a CUDA graph's place: the plain function again. The host's side runs at capture alone on a GPU."""

    def __init__(self, function, warmups=3):
        for _ in range(warmups):
            function()
        self.replay = function


class GraphsTest(unittest.TestCase):
    """What goes on around a capture, without a GPU: warming up takes steps that must not count."""

    def setUp(self):
        for module in (training, sampling):
            patch = mock.patch.object(module, "captured", Replayed)
            patch.start()
            self.addCleanup(patch.stop)
        patch = mock.patch.object(training, "refuses", lambda variant, device: None)
        patch.start()
        self.addCleanup(patch.stop)

    def test_a_captured_step_begins_where_a_plain_one_does(self):
        losses = {}
        for variant in ("eager", "graph"):
            images, labels = batch(3, 3)
            net = network("gated-pixelcnn", 3, 3)
            trainer = training.Trainer(net, TRAINING, images, labels, variant=variant)
            losses[variant] = [training.bits(trainer.step()) for _ in range(4)]
            losses[variant].append(trainer.ema.double().sum().item())
        self.assertEqual(losses["eager"], losses["graph"])
        self.assertGreater(losses["eager"][0], losses["eager"][3])

    def test_a_captured_sampler_begins_with_nothing(self):
        for model in ("pixelcnn", "gated-pixelcnn", "pixelcnn++"):
            drawn = {}
            for variant in ("eager", "graph"):
                sampler = sampling.cached(network(model, 3), 3, variant)
                if variant == "eager":
                    noise = sampler.noise()
                drawn[variant] = sampler.sample(noise).clone()
            self.assertTrue(torch.equal(drawn["eager"], drawn["graph"]), model)


if __name__ == "__main__":
    unittest.main()
