"""How a pixel is distributed, given what a network says of it."""

import math

import torch
import torch.nn.functional as F

LEAST_LOG_SCALE = -7.0


class Categorical:
    """A softmax over the levels of each colour; colours are drawn one after another."""

    def __init__(self, levels, colours):
        self.levels, self.colours = levels, colours
        self.parameters, self.passes = levels * colours, colours
        self.noise_shape = (colours, levels)

    def nats(self, parameters, images):
        """parameters [N,H,W,P] of any dtype, images [N,H,W,C] u8; returns [N*H*W*C] f32."""
        rows = parameters.reshape(-1, self.levels)
        logs = F.log_softmax(rows, -1, dtype=torch.float32)
        return F.nll_loss(logs, images.reshape(-1).long(), reduction="none")

    @staticmethod
    def fill(noise, generator=None):
        """Gumbel: the largest of logits plus noise is a draw."""
        noise.exponential_(generator=generator).log_().neg_()

    def draw(self, parameters, noise, temperature=1.0):
        """One colour: parameters [B,levels] f32, noise [B,1,levels] or [B,levels]; returns [B] long."""
        return torch.argmax(parameters / temperature + noise.reshape(parameters.shape), -1)


class Mixture:
    """A discretized mixture of logistics; means are coupled through the colours drawn before.

    parameters: M mixture logits, then for each colour M means, M log-scales and, in RGB, M coefficients
    whose tanh couples green to red, blue to red and blue to green, in this order.
    """

    def __init__(self, mixtures, levels, colours):
        self.mixtures, self.levels, self.colours = mixtures, levels, colours
        self.parameters, self.passes = mixtures * (10 if colours == 3 else 3), 1
        self.noise_shape = (mixtures + colours,)

    def _parts(self, parameters):
        m, c = self.mixtures, self.colours
        rest = parameters[..., m:].unflatten(-1, (c, 3 if c == 3 else 2, m))
        means, logs = rest[..., 0, :], rest[..., 1, :].clamp(min=LEAST_LOG_SCALE)
        return parameters[..., :m], means, logs, torch.tanh(rest[..., 2, :]) if c == 3 else None

    def nats(self, parameters, images):
        """parameters [N,H,W,P], images [N,H,W,C] u8; returns [N*H*W] f32, all colours together."""
        logits, means, logs, k = self._parts(parameters.float())
        x = images.float() * (2 / (self.levels - 1)) - 1
        x = x.unsqueeze(-1)  # (N, H, W, C, 1)
        if self.colours == 3:
            green = means[..., 1, :] + k[..., 0, :] * x[..., 0, :]
            blue = means[..., 2, :] + k[..., 1, :] * x[..., 0, :] + k[..., 2, :] * x[..., 1, :]
            means = torch.stack([means[..., 0, :], green, blue], -2)
        half = 1 / (self.levels - 1)
        inverse = torch.exp(-logs)
        upper, lower = inverse * (x - means + half), inverse * (x - means - half)
        # sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - exp(b - a)): no cancelling, no underflow
        below, above = F.logsigmoid(upper), F.logsigmoid(-lower)
        inside = below + above + torch.log(-torch.expm1(-2 * half * inverse))
        level = images.unsqueeze(-1)
        mass = torch.where(level == 0, below, torch.where(level == self.levels - 1, above, inside))
        shares = F.log_softmax(logits, -1) + mass.sum(-2)
        return -torch.logsumexp(shares, -1).reshape(-1)

    def fill(self, noise, generator=None):
        """[...,M+C]: Gumbel for the choice of the mixture, logistic for each colour."""
        noise[..., : self.mixtures].exponential_(generator=generator).log_().neg_()
        u = noise[..., self.mixtures :]
        u.uniform_(2.0**-24, 1 - 2.0**-24, generator=generator)
        u.copy_(torch.log(u) - torch.log1p(-u))

    def draw(self, parameters, noise, temperature=1.0):
        """parameters [B,P] f32, noise [B,M+C]; returns [B,C] long."""
        logits, means, logs, k = self._parts(parameters)
        choice = torch.argmax(logits / temperature + noise[:, : self.mixtures], -1)
        at = choice[:, None, None].expand(-1, self.colours, 1)
        mean, scale = means.gather(2, at)[..., 0], torch.exp(logs.gather(2, at)[..., 0])
        spread = temperature * scale * noise[:, self.mixtures :]
        if k is not None:
            k = k.gather(2, at)[..., 0]
        levels, values = [], []
        for c in range(self.colours):
            x = mean[:, c] + spread[:, c]
            if c == 1:
                x = x + k[:, 0] * values[0]
            elif c == 2:
                x = x + k[:, 1] * values[0] + k[:, 2] * values[1]
            level = torch.floor((x + 1) / 2 * (self.levels - 1) + 0.5).clamp(0, self.levels - 1)
            levels.append(level)
            values.append(2 * level / (self.levels - 1) - 1)
        return torch.stack(levels, -1).long()


def bits(nats):
    return nats / math.log(2)
