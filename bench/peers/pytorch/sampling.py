"""Drawing images: by full forward passes, and by computing each value of each pixel once.

The cached samplers keep for each convolution a window: the rows it reads, as many as the kernel has.
What is known before a row begins (the vertical stacks) is computed a row at a time by convolutions; the
rest pixel by pixel by matrix products, for which a window lies [B, columns, rows, C]: what a pixel
reads is one piece of memory. A row is one function without a host's say in it, which row being told
by a number on the device; on a GPU it is replayed as a CUDA graph (PixelCNN++ has one for each row
modulo 4, since the lower resolutions have fewer rows).

Variants: eager; graph; compile+graph, where torch.compile fuses what lies between the products.
Letters: B images, F filters, P parameters of a pixel, G colours drawn one after another.
"""

import torch
import torch.nn.functional as F

from networks import GatedPixelCnn, PixelCnn, concat_elu
from training import captured, compiled, require


class FullSampler:
    """The whole network for every pass of every pixel: what one has without a cache."""

    def __init__(self, network, batch, variant="eager", labels=None):
        require(variant, network.device)
        n = self.network = network
        self.labels = labels
        self.images = torch.zeros(batch, n.height, n.width, n.channels, dtype=torch.uint8, device=n.device)
        with torch.no_grad():
            self.weights = {
                k: tuple(None if t is None else t.detach() for t in v) if isinstance(v, tuple) else v.detach()
                for k, v in n.prepared().items()
            }
        self.function = compiled(self._forward) if "compile" in variant else self._forward
        self.graph = None
        if "graph" in variant:
            with torch.no_grad():
                self.graph = captured(self._keep)
        self.out = None

    def _forward(self, images):
        return self.network.forward(images, self.labels, self.weights)

    def _keep(self):
        self.out = self.function(self.images)

    @torch.no_grad()
    def forward(self):
        """[B,H,W,P] of the images as they are."""
        if self.graph is not None:
            self.graph.replay()
        else:
            self._keep()
        return self.out

    def passes(self):
        return self.network.height * self.network.width * self.network.likelihood.passes

    @torch.no_grad()
    def sample(self, noise):
        """noise as CachedSampler.noise makes it; returns [B,H,W,C] u8."""
        n, likelihood = self.network, self.network.likelihood
        self.images.zero_()
        for row in range(n.height):
            for column in range(n.width):
                for p in range(likelihood.passes):
                    width = likelihood.parameters // likelihood.passes
                    at = self.forward()[:, row, column, p * width : (p + 1) * width].float()
                    drawn = likelihood.draw(at, pass_noise(noise[row, column], likelihood, p))
                    if likelihood.passes > 1:
                        self.images[:, row, column, p] = drawn.to(torch.uint8)
                    else:
                        self.images[:, row, column] = drawn.reshape(len(drawn), -1).to(torch.uint8)
        return self.images.clone()


def pass_noise(noise, likelihood, p):
    """[B,...] of a pixel to that of one pass."""
    return noise[:, p] if len(likelihood.noise_shape) == 2 else noise


class CachedSampler:
    """What the samplers of the three models have in common."""

    PHASES = 1

    def __init__(self, network, batch, variant="eager", labels=None):
        require(variant, network.device)
        if network.kernel != "cropped" or network.layout != "nhwc":
            raise ValueError("the cached sampler takes cropped kernels and layout nhwc")
        n = self.network = network
        self.batch, self.variant = batch, variant
        self.device, self.dtype, self.likelihood = n.device, n.dtype, n.likelihood
        self.height, self.width, self.groups = n.height, n.width, n.likelihood.passes
        self.buffers = []
        self.row = torch.zeros(1, dtype=torch.long, device=self.device)
        self.images = torch.zeros(self.height, batch, self.width, n.channels, dtype=torch.uint8, device=self.device)
        self.given = None  # [H,B,W,C] u8: pixels that are taken and not drawn
        self.kept = None  # [H,B,W,P] f32: what the network said
        if labels is None and n.classes:
            labels = torch.arange(batch, device=self.device) % n.classes
        fused = "compile" in variant
        self.f = {f.__name__: compiled(f) if fused else f for f in (gate_tanh, act, add_glu, keep_act, relu_into)}
        self.draw = compiled(self.likelihood.draw) if fused else self.likelihood.draw
        self.noises = None
        with torch.no_grad():
            self.w = n.prepared()
            self.prepare(None if labels is None else labels.long())
            self.w = None
            self.now = self.buffer(batch, self.width, n.channels + 1)  # the row being drawn, with ones
            self.noises = self.noise()
            self.graphs = []
            if "graph" in variant:
                for phase in range(self.PHASES):
                    self.graphs.append(captured(lambda p=phase: self.one_row(p), 2))
                    self.reset()

    def buffer(self, *shape):
        """Zeros that each new batch of images begins with."""
        b = torch.zeros(*shape, dtype=self.dtype, device=self.device)
        self.buffers.append(b)
        return b

    def product(self, name):
        """(weights [T*C,K], bias [K]) of a layer, for a window [B, columns, rows, C]."""
        weight, bias = self.w[name]  # [K,C,rows,columns]
        return weight.permute(3, 2, 1, 0).reshape(-1, weight.shape[0]).contiguous(), bias

    def grouped(self, name):
        """A layer's products, for each colour those that give its channels."""
        weight, bias = self.product(name)
        k = weight.shape[1] // self.groups
        cuts = [slice(g * k, (g + 1) * k) for g in range(self.groups)]
        return [(weight[:, c].contiguous(), None if bias is None else bias[c].contiguous()) for c in cuts]

    def noise(self, generator=None):
        """[H,W,B,...]: all that chance decides about a batch."""
        shape = (self.height, self.width, self.batch) + self.likelihood.noise_shape
        noise = torch.empty(shape, device=self.device)
        self.likelihood.fill(noise, generator)
        return noise

    def reset(self):
        for b in self.buffers:
            b.zero_()
        self.row.zero_()
        self.images.zero_()

    @staticmethod
    def up(window, axis):
        """A new row: the ones before move up, the last is to be filled."""
        rows = window.shape[axis]
        for r in range(rows - 1):
            window.select(axis, r).copy_(window.select(axis, r + 1))

    def colour(self, buffer, mine, value):
        """The channels of one colour beside those of the others; all there are where there is one."""
        if self.groups == 1:
            return value
        buffer[:, mine] = value
        return buffer

    def value(self, levels):
        return levels.to(torch.float32) / (self.network.levels - 1) * 2 - 1

    def choose(self, parameters, noise, column, p):
        """Draws, or takes what is given; returns the colours of this pass as a network reads them."""
        if self.kept is not None:
            width = parameters.shape[1]
            self.kept_row[:, column, p * width : (p + 1) * width] = parameters
        if self.given is None:
            drawn = self.draw(parameters, pass_noise(noise[column], self.likelihood, p))
        else:
            drawn = self.given_row[:, column, p : p + 1 if self.groups > 1 else None].long()
        drawn = drawn.reshape(self.batch, -1)
        first = p if self.groups > 1 else 0
        self.image_row[:, column, first : first + drawn.shape[1]] = drawn.to(torch.uint8)
        return self.value(drawn).to(self.dtype)

    def one_row(self, phase):
        noise = self.noises.index_select(0, self.row)[0]
        self.image_row = torch.zeros(
            self.batch, self.width, self.network.channels, dtype=torch.uint8, device=self.device
        )
        if self.given is not None:
            self.given_row = self.given.index_select(0, self.row)[0]
        if self.kept is not None:
            self.kept_row = torch.zeros(self.batch, self.width, self.likelihood.parameters, device=self.device)
        self.begin_row(phase)
        for column in range(self.width):
            self.pixel(phase, column, noise)
        self.end_row(phase)
        self.images.index_copy_(0, self.row, self.image_row[None])
        if self.kept is not None:
            self.kept.index_copy_(0, self.row, self.kept_row[None])
        self.row.add_(1)

    @torch.no_grad()
    def sample(self, noise=None):
        """[B,H,W,C] u8; noise None: new one."""
        if noise is None:
            self.likelihood.fill(self.noises)
        else:
            self.noises.copy_(noise)
        self.reset()
        for row in range(self.height):
            if self.graphs:
                self.graphs[row % self.PHASES].replay()
            else:
                self.one_row(row % self.PHASES)
        return self.images.permute(1, 0, 2, 3)

    @torch.no_grad()
    def parameters(self, images):
        """What the cached network says of each pixel of given images, [B,H,W,P]; eager."""
        self.given = images.to(self.device).permute(1, 0, 2, 3).contiguous()
        self.kept = torch.zeros(
            self.height, self.batch, self.width, self.likelihood.parameters, device=self.device
        )
        self.reset()
        for row in range(self.height):
            self.one_row(row % self.PHASES)
        out, self.given, self.kept = self.kept.permute(1, 0, 2, 3), None, None
        return out

    @torch.no_grad()
    def redrawn(self, images, noise):
        """The share of values that the network, told the images as they are, would draw otherwise.

        Two ways to compute the same differ where the noise is close to an edge; from there on images that
        were drawn freely have nothing in common.
        """
        said = self.parameters(images)
        noise = noise.permute(2, 0, 1, *range(3, noise.dim()))  # [B,H,W,...]
        p = said.reshape(-1, self.likelihood.parameters // self.groups)
        drawn = self.likelihood.draw(p, noise.reshape(len(p), *self.likelihood.noise_shape[-1:]))
        return float((drawn.reshape(images.shape) != images).float().mean())

    def begin_row(self, phase):
        pass

    def end_row(self, phase):
        pass


def gate_tanh(x):
    a, b = x.chunk(2, -1)
    return torch.tanh(a) * torch.sigmoid(b)


def act(x):
    return concat_elu(x, -1)


def keep_act(x, place):
    """The concat-ELU of x, into a window."""
    place.copy_(concat_elu(x, -1))


def relu_into(x, place):
    place.copy_(F.relu(x))


def add_glu(x, c):
    return x + F.glu(c, -1)


class PixelCnnSampler(CachedSampler):
    def prepare(self, labels):
        n, c, b, q = self.network, self.network.config, self.batch, self.groups
        f, head = c["filters"], c["headFilters"]
        self.reach, self.inner = c["firstKernel"] // 2, c["kernel"] // 2
        conv = n.convs["first"]
        self.first = self.grouped("first")
        self.rows = conv.kh  # grey and a kernel of 3 or more: the row itself too, for what lies to the left
        self.columns = conv.kw
        self.input = self.buffer(b, self.width + conv.kw - 1, conv.kh, n.channels + 1)
        self.h = [self.buffer(b, 2 * f) for _ in range(c["blocks"] + 1)]
        self.m = [self.buffer(b, f) for _ in range(c["blocks"])]
        self.heads = [self.buffer(b, head) for _ in range(2)]
        self.blocks = []
        for l in range(c["blocks"]):
            block = f"blocks.{l}."
            masked, kernel = self.grouped(block + "masked"), n.convs[block + "masked"]
            if n.classes:  # a bias for each image
                table = self.w[block + "class.weight"][labels].chunk(q, 1)
                masked = [(w, (bias + t).contiguous()) for (w, bias), t in zip(masked, table)]
            window = self.buffer(b, self.width + kernel.kw - 1, kernel.kh, f)
            self.blocks.append((self.grouped(block + "reduce"), masked, self.grouped(block + "expand"), window))
        self.head = [self.grouped(f"head.{i}") for i in range(3)]

    def begin_row(self, phase):
        self.up(self.input, 2)
        r = self.columns // 2
        self.input[:, r : r + self.width, -1].zero_()
        self.input[:, r : r + self.width, -1, -1] = 1  # the ones are there before the pixel is
        for _, _, _, window in self.blocks:
            self.up(window, 2)

    def pixel(self, phase, column, noise):
        reach, hs = self.inner, list(self.h)
        for p in range(self.groups):
            w, bias = self.first[p]
            wide = slice(p * w.shape[1], (p + 1) * w.shape[1])
            patch = self.input[:, column : column + self.columns].flatten(1)
            h = torch.addmm(bias, patch, w)  # of this colour
            hs[0] = self.colour(self.h[0], wide, h)
            for l, (reduce, masked, expand, window) in enumerate(self.blocks):
                w, bias = reduce[p]
                mine = slice(p * w.shape[1], (p + 1) * w.shape[1])
                self.f["relu_into"](torch.addmm(bias, F.relu(hs[l]), w), window[:, column + reach, -1, mine])
                w, bias = masked[p]
                patch = window[:, column : column + 2 * reach + 1].flatten(1)
                m = self.colour(self.m[l], mine, F.relu(torch.addmm(bias, patch, w)))
                w, bias = expand[p]
                h = h + torch.addmm(bias, m, w)
                hs[l + 1] = self.colour(self.h[l + 1], wide, h)
            x = F.relu(hs[-1])
            for i in range(2):
                w, bias = self.head[i][p]
                mine = slice(p * w.shape[1], (p + 1) * w.shape[1])
                x = self.colour(self.heads[i], mine, F.relu(torch.addmm(bias, x, w)))
            w, bias = self.head[2][p]
            drawn = self.choose(torch.addmm(bias, x, w).float(), noise, column, p)
            self.input[:, column + self.columns // 2, -1, p : p + drawn.shape[1]] = drawn


class GatedSampler(CachedSampler):
    def prepare(self, labels):
        n, c, b, q = self.network, self.network.config, self.batch, self.groups
        f, layers = c["filters"], c["layers"]
        self.layers = []
        for l in range(layers):
            layer = f"layers.{l}."
            up, across = n.convs[layer + "vertical"], n.convs[layer + "horizontal"]
            cin = up.cin
            link, _ = self.product(layer + "link")
            vertical, vbias = self.w[layer + "vertical"]
            horizontal, hbias = self.product(layer + "horizontal")
            below = hbias
            given = None
            if n.classes:
                given = self.w[layer + "vertical.class"][labels][:, None]
                below = hbias + self.w[layer + "horizontal.class"][labels][:, None]
            k = horizontal.shape[1] // q
            self.layers.append(
                {
                    "vertical": (vertical, vbias),
                    "given": given,
                    "link": link,
                    "below": below,  # the horizontal bias, added to the links a row at a time
                    "across": [horizontal[:, g * k : (g + 1) * k].contiguous() for g in range(q)],
                    "out": self.grouped(layer + "out"),
                    # rows above; for the first layer without the row itself
                    "above": self.buffer(b, up.kh, self.width + up.kw - 1, cin),
                    "left": self.buffer(b, self.width + -across.left, 1, cin),
                    "reach": -across.left,
                    "columns": across.kw,
                    "gated": self.buffer(b, f),
                    "k": k,
                }
            )
        self.head = [self.grouped(f"head.{i}") for i in range(2)]
        self.last = self.buffer(b, f)  # after all layers
        self.hidden = self.buffer(b, c["headFilters"])

    def begin_row(self, phase):
        for l, layer in enumerate(self.layers):
            window = layer["above"]
            if l > 0:
                r = (window.shape[2] - self.width) // 2
                self.up(window, 1)
                window[:, -1, r : r + self.width] = v
            weight, bias = layer["vertical"]
            features = F.conv2d(window.permute(0, 3, 1, 2), weight, bias).permute(0, 2, 3, 1)[:, 0]
            if layer["given"] is not None:
                features = features + layer["given"]
            features = features.reshape(self.batch * self.width, -1)  # [B*W,2F]
            link = torch.mm(features, layer["link"]).view(self.batch, self.width, -1)
            layer["links"] = link + layer["below"]
            v = self.f["gate_tanh"](features).view(self.batch, self.width, -1)
        first = self.layers[0]
        first["left"][:, first["reach"] :].zero_()
        first["left"][:, first["reach"] :, :, -1] = 1
        self.now.zero_()
        self.now[:, :, -1] = 1

    def end_row(self, phase):
        window = self.layers[0]["above"]
        r = (window.shape[2] - self.width) // 2
        self.up(window, 1)
        window[:, -1, r : r + self.width] = self.now

    def pixel(self, phase, column, noise):
        for p in range(self.groups):
            for l, layer in enumerate(self.layers):
                k, reach = layer["k"], layer["reach"]
                patch = layer["left"][:, column : column + layer["columns"]].flatten(1)
                link = layer["links"][:, column, p * k : (p + 1) * k]
                gated = self.f["gate_tanh"](torch.addmm(link, patch, layer["across"][p]))
                size = gated.shape[1]
                mine = slice(p * size, (p + 1) * size)
                gated = self.colour(layer["gated"], mine, gated)
                w, bias = layer["out"][p]
                h = torch.addmm(bias, gated, w)
                if l > 0:
                    h = h + layer["left"][:, column + reach, 0, mine]
                after = self.last if l + 1 == len(self.layers) else None
                if after is None:
                    following = self.layers[l + 1]
                    after = following["left"][:, column + following["reach"], 0]
                after[:, mine] = h
            w, bias = self.head[0][p]
            mine = slice(p * w.shape[1], (p + 1) * w.shape[1])
            x = self.colour(self.hidden, mine, F.relu(torch.addmm(bias, F.relu(self.last), w)))
            w, bias = self.head[1][p]
            drawn = self.choose(torch.addmm(bias, x, w).float(), noise, column, p)
            own = slice(p, p + drawn.shape[1])
            self.now[:, column, own] = drawn
            self.layers[0]["left"][:, column + self.layers[0]["reach"], 0, own] = drawn


class PlusPlusSampler(CachedSampler):
    """u: streams that see the rows above, a row at a time; ul: those that see the row too, by pixels."""

    def __init__(self, network, *args, **more):
        self.PHASES = 2**network.top
        super().__init__(network, *args, **more)

    def prepare(self, labels):
        n, c, b, f = self.network, self.network.config, self.batch, self.network.f
        self.top, self.resnets = n.top, n.resnets
        self.widths = [self.width]
        for _ in range(self.top):
            self.widths.append(-(-self.widths[-1] // 2))
        self.labels = labels
        cin = n.channels + 1
        self.first = {k: self.w["first." + k] for k in ("u", "above")}
        self.left, self.left_bias = self.product("first.left")
        self.above_input = self.buffer(b, 2, self.width + 2, cin)  # for DOWN and ROW
        self.left_input = self.buffer(b, self.width, 2, cin)  # for COLUMN
        self.first_u, self.first_above = (self.buffer(b, self.width, f) for _ in range(2))
        self.u, self.ul = {}, {}
        for s in range(self.top + 1):
            for r in range(self.resnets):
                self.prepare_block(f"down.{s}.{r}", s, 0)
            for r in range(n.up_blocks(s)):
                self.prepare_block(f"up.{s}.{r}", s, 1)
        self.downs, self.ups = {}, {}
        for s in range(self.top):
            windows = self.buffer(b, 2, self.widths[s] + 2, f), self.buffer(b, self.widths[s] + 1, 2, f)
            self.downs[s] = (self.w[f"down.{s}.u"], self.product(f"down.{s}.ul"), windows)
            wu, bu = self.w[f"up.{s + 1}.u"]  # [in,out,2,3], from s + 1 to s
            wl, bl = self.w[f"up.{s + 1}.ul"]  # [in,out,2,2]
            rows = [wu[:, :, p : p + 1].contiguous() for p in range(2)]
            taps = [[wl[:, :, p, q].contiguous() for q in range(2)] for p in range(2)]
            last = self.buffer(b, self.widths[s + 1], f), self.buffer(b, self.widths[s + 1], f)
            self.ups[s] = (rows, bu, taps, bl, last)
        self.out = self.product("out")
        self.labels = None

    def prepare_block(self, name, s, skips):
        n, b, f, w = self.network, self.batch, self.network.f, self.widths[s]

        def second(of):
            """conv2's bias, with what the label says: [K] or [B,K]."""
            bias = self.w[of + ".conv2"][1]
            return bias if self.labels is None else bias + self.w[of + ".class"][self.labels]

        u, ul = name + ".u", name + ".ul"
        self.u[name] = {
            "conv1": self.w[u + ".conv1"],
            "conv2": self.w[u + ".conv2"][0],
            "bias2": second(u) if self.labels is None else second(u)[:, None],
            "skip": self.product(u + ".skip0") if skips else None,
            "in1": self.buffer(b, 2, w + 2, 2 * f),
            "in2": self.buffer(b, 2, w + 2, 2 * f),
        }
        conv1, bias1 = self.product(ul + ".conv1")
        across, across_bias = self.product(ul + ".skip0")
        self.ul[name] = {
            "conv1": conv1,
            "conv2": self.product(ul + ".conv2")[0],
            "bias2": second(ul),
            "across": (across, across_bias + bias1),  # what u says, for a row at a time, and both biases
            "skip": self.product(ul + ".skip1") if skips else None,
            "in1": self.buffer(b, w + 1, 2, 2 * f),
            "in2": self.buffer(b, w + 1, 2, 2 * f),
        }

    # ---------------------------------------------------------------- a row

    def active(self, phase):
        """The resolutions that have a row here."""
        return [s for s in range(self.top + 1) if phase % 2**s == 0]

    def rows_conv(self, window, weight, bias, stride=1):
        """Of the rows in a window; [B,w,K]."""
        y = F.conv2d(window.permute(0, 3, 1, 2), weight, bias, (1, stride))
        return y.permute(0, 2, 3, 1)[:, 0]

    def u_block(self, name, x, other=None):
        """A block of the upper stream on a row x [B,w,F]."""
        k = self.u[name]
        self.put(k["in1"], self.f["act"](x))
        c1 = self.rows_conv(k["in1"], *k["conv1"])
        if other is not None:
            c1 = c1 + self.flat_product(self.f["act"](other), *k["skip"])
        self.put(k["in2"], self.f["act"](c1))
        bias = k["bias2"] if k["bias2"].dim() == 1 else None
        c2 = self.rows_conv(k["in2"], k["conv2"], bias)
        return self.f["add_glu"](x, c2 if bias is not None else c2 + k["bias2"])

    def across(self, name, u):
        """What a block of the other stream gets of a row of this one."""
        self.ul[name]["across_row"] = self.flat_product(self.f["act"](u), *self.ul[name]["across"])

    @staticmethod
    def flat_product(x, w, bias):
        return torch.addmm(bias, x.reshape(-1, x.shape[-1]), w).view(x.shape[0], x.shape[1], -1)

    def put(self, window, row):
        """A new row in a window [B, rows, columns, C] with a column of zeros on either side."""
        self.up(window, 1)
        window[:, -1, 1:-1] = row

    def begin_row(self, phase):
        active = self.active(phase)
        kept = {}
        u = self.first_u
        for s in active:
            kept[s] = [u]
            for r in range(self.resnets):
                u = self.u_block(f"down.{s}.{r}", u)
                self.across(f"down.{s}.{r}", u)
                kept[s].append(u)
            if s < self.top:
                conv, _, (window, _) = self.downs[s]
                self.put(window, u)
                if s + 1 in active:
                    w = self.widths[s + 1]
                    u = self.rows_conv(window, *conv, stride=2)[:, :w]
        for s in reversed(active):
            if s == self.top:
                u = kept[s].pop()
            else:
                rows, bias, _, _, (last, _) = self.ups[s]
                w = self.widths[s]
                x = last.permute(0, 2, 1)[:, :, None]
                # a row of the larger image is made of one row of the smaller: of its first or second taps
                y = F.conv_transpose2d(x, rows[(phase >> s) % 2], bias, (1, 2), (0, 1), (0, (w + 1) % 2))
                u = y[:, :, 0].permute(0, 2, 1)
            for r in range(self.network.up_blocks(s)):
                u = self.u_block(f"up.{s}.{r}", u, kept[s].pop())
                self.across(f"up.{s}.{r}", u)
            if s > 0:
                self.ups[s - 1][4][0].copy_(u)
        for s in active:
            for name, block in self.ul.items():
                if name.split(".")[1] == str(s):
                    self.up(block["in1"], 2)
                    self.up(block["in2"], 2)
            if s < self.top:
                self.up(self.downs[s][2][1], 2)
        self.now.zero_()
        self.now[:, :, -1] = 1
        self.up(self.left_input, 2)
        self.left_input[:, :, -1] = self.now

    def end_row(self, phase):
        """What the pixels of this row tell the next."""
        window = self.above_input
        self.put(window, self.now)
        self.first_u.copy_(self.rows_conv(window, *self.first["u"]))
        self.first_above.copy_(self.rows_conv(window[:, 1:], *self.first["above"]))

    # ---------------------------------------------------------------- a pixel

    def ul_block(self, name, x, column, other=None):
        """A block of the other stream on a pixel x [B,F]."""
        k = self.ul[name]
        self.f["keep_act"](x, k["in1"][:, column + 1, 1])
        c1 = torch.addmm(k["across_row"][:, column], k["in1"][:, column : column + 2].flatten(1), k["conv1"])
        if other is not None:
            w, bias = k["skip"]
            c1 = c1 + torch.addmm(bias, self.f["act"](other), w)
        self.f["keep_act"](c1, k["in2"][:, column + 1, 1])
        c2 = torch.addmm(k["bias2"], k["in2"][:, column : column + 2].flatten(1), k["conv2"])
        return self.f["add_glu"](x, c2)

    def pixel(self, phase, column, noise):
        active = [s for s in self.active(phase) if column % 2**s == 0]
        ul = self.first_above[:, column]
        if column > 0:
            ul = ul + torch.addmm(self.left_bias, self.left_input[:, column - 1].flatten(1), self.left)
        kept = {}
        for s in active:
            at = column >> s
            kept[s] = [ul]
            for r in range(self.resnets):
                ul = self.ul_block(f"down.{s}.{r}", ul, at)
                kept[s].append(ul)
            if s < self.top:
                _, (w, bias), (_, window) = self.downs[s]
                window[:, at + 1, 1] = ul
                if s + 1 in active:
                    ul = torch.addmm(bias, window[:, at : at + 2].flatten(1), w)
        for s in reversed(active):
            at = column >> s
            if s == self.top:
                ul = kept[s].pop()
            else:
                _, _, taps, bias, (_, last) = self.ups[s]
                ul = torch.addmm(bias, last[:, at // 2], taps[(phase >> s) % 2][at % 2])
            for r in range(self.network.up_blocks(s)):
                ul = self.ul_block(f"up.{s}.{r}", ul, at, kept[s].pop())
            if s > 0:
                self.ups[s - 1][4][1][:, at] = ul
        w, bias = self.out
        drawn = self.choose(torch.addmm(bias, F.elu(ul), w).float(), noise, column, 0)
        self.now[:, column, : drawn.shape[1]] = drawn
        self.left_input[:, column, -1, : drawn.shape[1]] = drawn


def cached(network, batch, variant="eager", labels=None):
    if isinstance(network, PixelCnn):
        return PixelCnnSampler(network, batch, variant, labels)
    if isinstance(network, GatedPixelCnn):
        return GatedSampler(network, batch, variant, labels)
    return PlusPlusSampler(network, batch, variant, labels)
