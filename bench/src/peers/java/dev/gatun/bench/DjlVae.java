package dev.gatun.bench;

import ai.djl.Device;
import ai.djl.engine.Engine;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import dev.gatun.engine.train.ParameterSpec;
import dev.gatun.engine.train.Parameters;
import dev.gatun.models.train.TrainConfig;
import dev.gatun.models.vae.Kl;
import dev.gatun.models.vae.Pixels;
import dev.gatun.models.vae.Vae;
import dev.gatun.models.vae.VaeNetwork;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.Map;

/**
 * The variational autoencoder as PyTorch runs it fastest: its own operators, called from
 * TorchScript; activations channels first (channels last is slower with so few channels); sums in
 * place where no gradient needs what they replace; and parameters that are views of one vector.
 */
final class DjlVae implements Peer.Autoencoder {
  private final Engine engine;
  private final Vae.Gaussian config;
  private final NDManager manager;
  private final DjlWeights weights;
  private final DjlModule predicted;
  private final DjlModule loss;

  DjlVae(Engine engine, Vae.Gaussian config, TrainConfig training, Parameters initial) {
    if (config.common().network().network() != VaeNetwork.Kind.CONVOLUTIONAL
        || config.common().likelihood() != Pixels.LOGISTIC
        || !config.kl().equals(Kl.PLAIN)) {
      throw new IllegalArgumentException(
          "a VAE to compare has network=convolutional, likelihood=logistic and the plain evidence"
              + " lower bound");
    }
    this.engine = engine;
    this.config = config;
    manager = engine.newBaseManager(Device.cpu());
    weights = new DjlWeights(engine, manager, training, initial);
    predicted = new DjlModule(engine, "decoded", new Script(config, initial.specs()).predicted());
    loss = new DjlModule(engine, "bound", new Script(config, initial.specs()).loss());
  }

  @Override
  public String description() {
    return DjlPeer.description(engine) + ", TorchScript of its own operators, channels first";
  }

  /** The network, line by line. */
  private static final class Script {
    private static final int GROUPS = 8;
    private static final int FLOAT32 = 6; // c10::ScalarType
    private static final int LAST_LEVEL = 255;
    private static final double HALF_STEP = 1.0 / LAST_LEVEL;
    private static final String FAR = "10000."; // a logistic has no mass beyond, in f32

    private final VaeNetwork.Config network;
    private final int latents;
    private final TorchScript script = new TorchScript("weights", "images", "eps");
    private final TorchLayers layers;
    private final String pixels; // (N, C, H, W) u8
    private final String x; // in [-1,1]
    private final String mean; // (N, D), as is the log-variance
    private final String logVariance;
    private final String deviation;
    private final String said; // (N, 2C, H, W)

    Script(Vae.Gaussian config, List<ParameterSpec> specs) {
      network = config.common().network();
      latents = config.latents();
      layers = new TorchLayers(script, specs, "weights", GROUPS, false);
      pixels = layers.image("images");
      x = apply("sub(%s, 1)", apply("div(%s, 127.5)", apply("to(%s, %d)", pixels, FLOAT32)));
      List<String> head = script.applyAll("chunk(" + encode() + ", 2, 1)", 2);
      mean = head.get(0);
      logVariance = head.get(1);
      deviation = apply("exp(%s)", apply("mul(%s, 0.5)", logVariance));
      said = decode(apply("addcmul(%s, %s, eps)", mean, deviation));
    }

    private String apply(String call, Object... arguments) {
      return script.apply(String.format(call, arguments));
    }

    private String unit(String layer, String h) {
      return layers.silu(layers.norm(layer, h));
    }

    private String blocks(String part, String input) {
      String h = input;
      for (int i = 0; i < network.depth(); i++) {
        String block = part + ".blocks." + i;
        String inner = layers.conv(block + ".conv1", unit(block + ".norm1", h), 1, 1);
        inner = layers.conv(block + ".conv2", unit(block + ".norm2", inner), 1, 1);
        h = layers.add(inner, h);
      }
      return h;
    }

    private int bottomHeight() {
      return network.height() / 4;
    }

    private int bottomWidth() {
      return network.width() / 4;
    }

    private int bottomChannels() {
      return 2 * network.filters();
    }

    /** Means and log-variances, (N, 2D). */
    private String encode() {
      String h = layers.conv("encoder.half", x, 2, 1);
      h = blocks("encoder.half", h);
      h = layers.conv("encoder.quarter", unit("encoder.half.norm", h), 2, 1);
      h = unit("encoder.norm", blocks("encoder.quarter", h));
      int size = bottomHeight() * bottomWidth() * bottomChannels();
      String row = apply("reshape(%s, [-1, %d])", apply("permute(%s, [0, 2, 3, 1])", h), size);
      return layers.linear("encoder.head", row);
    }

    private String decode(String z) {
      String row = layers.linear("decoder.first", z);
      String map =
          apply("view(%s, [-1, %d, %d, %d])", row, bottomHeight(), bottomWidth(), bottomChannels());
      String h = blocks("decoder.quarter", layers.image(map));
      h = layers.enlarge("decoder.half", unit("decoder.quarter.norm", h));
      h = blocks("decoder.half", h);
      h = layers.enlarge("decoder.whole", unit("decoder.half.norm", h));
      return layers.conv("decoder.last", unit("decoder.norm", h), 1, 1);
    }

    /** [N,H,W,2C]. */
    byte[] predicted() {
      return script.archive(apply("permute(%s, [0, 2, 3, 1])", said));
    }

    /** The mean over the images of the negative evidence lower bound, a scalar. */
    byte[] loss() {
      String each =
          apply(
              "sub(%s, %s)",
              apply("sum(%s, [1])", divergences()), apply("sum(%s, [1, 2, 3])", logLikelihoods()));
      return script.archive(apply("mean(%s)", each));
    }

    /** (mean^2 + variance - 1 - logVariance) / 2, (N, D). */
    private String divergences() {
      String moment = apply("addcmul(%s, %s, %s)", apply("square(%s)", mean), deviation, deviation);
      return apply("mul(%s, 0.5)", apply("sub(%s, %s)", moment, apply("add(%s, 1)", logVariance)));
    }

    /**
     * log(sigmoid(a) - sigmoid(b)), (N, C, H, W), a and b being half a step above and below a level
     * in units of the scale. That is log sigmoid(a) + log sigmoid(-b) + log(1 - exp(b - a)), which
     * neither cancels nor underflows. The first and the last level have the tails: an end of theirs
     * is far away.
     */
    private String logLikelihoods() {
      List<String> halves = script.applyAll("chunk(" + said + ", 2, 1)", 2);
      String centre = halves.get(0);
      String inverse = apply("exp(%s)", apply("neg(%s)", apply("clamp(%s, -7.)", halves.get(1))));
      String first = apply("eq(%s, 0)", pixels);
      String last = apply("eq(%s, %d)", pixels, LAST_LEVEL);
      String above = apply("sub(%s, %s)", apply("add(%s, %s)", x, HALF_STEP), centre);
      String below = apply("sub(%s, %s)", centre, apply("sub(%s, %s)", x, HALF_STEP));
      String a = apply("masked_fill(%s, %s, %s)", apply("mul(%s, %s)", above, inverse), last, FAR);
      String minusB =
          apply("masked_fill(%s, %s, %s)", apply("mul(%s, %s)", below, inverse), first, FAR);
      String minusWidth =
          apply(
              "masked_fill(%s, %s, -%s)",
              apply("mul(%s, %s)", inverse, -2 * HALF_STEP),
              apply("logical_or(%s, %s)", first, last),
              FAR);
      String inside = apply("log(%s)", apply("neg(%s)", apply("expm1(%s)", minusWidth)));
      String tails = layers.add(apply("log_sigmoid(%s)", a), apply("log_sigmoid(%s)", minusB));
      return layers.add(tails, inside);
    }
  }

  private NDArray apply(
      DjlModule module, NDManager scope, NDArray flat, Peer.Seen batch, boolean training) {
    VaeNetwork.Config c = config.common().network();
    int count = batch.eps().length / config.latents();
    NDArray images =
        scope.create(
            ByteBuffer.wrap(batch.images()),
            new Shape(count, c.height(), c.width(), c.channels()),
            DataType.UINT8);
    NDArray eps = scope.create(batch.eps(), new Shape(count, config.latents()));
    return module.apply(scope, training, flat, images, eps);
  }

  @Override
  public float[] predict(Peer.Seen batch) {
    try (NDManager scope = manager.newSubManager()) {
      return apply(predicted, scope, weights.leaf(scope), batch, false).toFloatArray();
    }
  }

  @Override
  public Map<String, float[]> gradients(Peer.Seen batch) {
    return weights.gradients((scope, leaf) -> apply(loss, scope, leaf, batch, true));
  }

  @Override
  public double step(Peer.Seen batch) {
    return weights.step((scope, leaf) -> apply(loss, scope, leaf, batch, true));
  }

  @Override
  public Map<String, float[]> averagedWeights() {
    return weights.averaged();
  }

  @Override
  public void close() {
    predicted.close();
    loss.close();
    manager.close();
  }
}
