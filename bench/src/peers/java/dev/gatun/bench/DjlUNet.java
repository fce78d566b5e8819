package dev.gatun.bench;

import ai.djl.Device;
import ai.djl.engine.Engine;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import dev.gatun.engine.op.DenoiseStep;
import dev.gatun.engine.train.ParameterSpec;
import dev.gatun.engine.train.Parameters;
import dev.gatun.models.diffusion.UNet;
import dev.gatun.models.train.TrainConfig;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/**
 * The denoising U-Net as PyTorch runs it fastest: its own group norm, attention and SiLU, called
 * from TorchScript; activations and weights channels last; sums in place where no gradient needs
 * what they replace; and parameters that are views of one vector.
 */
final class DjlUNet implements Peer.Denoiser {
  private static final double LONGEST_PERIOD = 10_000;

  private final Engine engine;
  private final UNet.Config config;
  private final NDManager manager;
  private final DjlWeights weights;
  private final NDArray frequencies;
  private final DjlModule network;

  DjlUNet(Engine engine, UNet.Config config, TrainConfig training, Parameters initial) {
    if (config.classes() > 0
        || config.dropout() > 0
        || !config.scaleShift()
        || config.resnetResampling()) {
      throw new IllegalArgumentException(
          "a U-Net to compare has no classes, no dropout, times that scale and shift, and"
              + " convolutions that resample");
    }
    this.engine = engine;
    this.config = config;
    manager = engine.newBaseManager(Device.cpu());
    weights = new DjlWeights(engine, manager, training, initial);
    double[] waves = new double[config.filters() / 2];
    for (int i = 0; i < waves.length; i++) {
      waves[i] = Math.exp(-Math.log(LONGEST_PERIOD) * i / waves.length);
    }
    frequencies = manager.create(waves, new Shape(1, waves.length));
    network = new DjlModule(engine, "unet", new Script(config, initial.specs()).archive());
  }

  @Override
  public String description() {
    return DjlPeer.description(engine)
        + ", TorchScript of its own operators, scaled_dot_product_attention, channels last";
  }

  /** The network, line by line. */
  private static final class Script {
    private static final int FLOAT32 = 6; // c10::ScalarType

    private final UNet.Config config;
    private final TorchScript script = new TorchScript("weights", "x", "times", "frequencies");
    private final TorchLayers layers;
    private String embedding;

    Script(UNet.Config config, List<ParameterSpec> specs) {
      this.config = config;
      layers = new TorchLayers(script, specs, "weights", config.groups(), true);
    }

    private String apply(String call, Object... arguments) {
      return script.apply(String.format(call, arguments));
    }

    private String resnet(String name, String x) {
      String h = layers.conv(name + ".conv1", layers.silu(layers.norm(name + ".norm1", x)), 1, 1);
      String told = layers.linear(name + ".time_emb_proj", embedding); // (N, 2C)
      String all = apply("unsqueeze(%s, 3)", apply("unsqueeze(%s, 2)", told));
      List<String> halves = script.applyAll("chunk(" + all + ", 2, 1)", 2);
      h = apply("mul(%s, %s)", layers.norm(name + ".norm2", h), apply("add(%s, 1)", halves.get(0)));
      h = layers.conv(name + ".conv2", layers.silu(layers.add(h, halves.get(1))), 1, 1);
      boolean widens = layers.has(name + ".conv_shortcut");
      return layers.add(h, widens ? layers.conv(name + ".conv_shortcut", x, 1, 0) : x);
    }

    private String attention(String name, String x, int channels, int level) {
      if (!layers.has(name + ".to_q")) {
        return x;
      }
      int head = config.headChannels();
      int pixels = (config.height() >> level) * (config.width() >> level);
      String rows =
          apply(
              "reshape(%s, [-1, %d, %d])",
              apply("permute(%s, [0, 2, 3, 1])", layers.norm(name + ".group_norm", x)),
              pixels,
              channels); // (N, HW, C)
      List<String> heads = new ArrayList<>();
      for (String each : List.of(".to_q", ".to_k", ".to_v")) {
        String split =
            apply(
                "view(%s, [-1, %d, %d, %d])",
                layers.linear(name + each, rows), pixels, channels / head, head);
        heads.add(apply("transpose(%s, 1, 2)", split)); // (N, heads, HW, D)
      }
      String seen = apply("scaled_dot_product_attention(%s)", String.join(", ", heads));
      String joined =
          apply("reshape(%s, [-1, %d, %d])", apply("transpose(%s, 1, 2)", seen), pixels, channels);
      String image =
          apply(
              "view(%s, [-1, %d, %d, %d])",
              layers.linear(name + ".to_out.0", joined),
              config.height() >> level,
              config.width() >> level,
              channels);
      return layers.add(layers.image(image), x);
    }

    /** What each block is told of the time, [N,4F]. */
    private String embedding() {
      String angles = apply("mul(%s, frequencies)", apply("unsqueeze(times, 1)"));
      String waves = apply("cat([%s, %s], 1)", apply("cos(%s)", angles), apply("sin(%s)", angles));
      String e = apply("to(%s, %d)", waves, FLOAT32);
      e = layers.silu(layers.linear("time_embedding.linear_1", e));
      return layers.silu(layers.linear("time_embedding.linear_2", e));
    }

    /** x [N,H,W,C] to what the network says, like x. */
    byte[] archive() {
      int[] widths = config.widths();
      int last = widths.length - 1;
      embedding = embedding();
      String x = layers.conv("conv_in", layers.image("x"), 1, 1);
      List<String> shortcuts = new ArrayList<>(List.of(x));
      for (int level = 0; level <= last; level++) {
        String block = "down_blocks." + level;
        for (int i = 0; i < config.blocks(); i++) {
          x = resnet(block + ".resnets." + i, x);
          x = attention(block + ".attentions." + i, x, widths[level], level);
          shortcuts.add(x);
        }
        if (level < last) {
          x = layers.conv(block + ".downsamplers.0.conv", x, 2, 1);
          shortcuts.add(x);
        }
      }
      x = resnet("mid_block.resnets.0", x);
      x = attention("mid_block.attentions.0", x, widths[last], last);
      x = resnet("mid_block.resnets.1", x);
      for (int level = last; level >= 0; level--) {
        String block = "up_blocks." + (last - level);
        for (int i = 0; i <= config.blocks(); i++) {
          x = apply("cat([%s, %s], 1)", x, shortcuts.removeLast());
          x = resnet(block + ".resnets." + i, x);
          x = attention(block + ".attentions." + i, x, widths[level], level);
        }
        if (level > 0) {
          x = layers.enlarge(block + ".upsamplers.0.conv", x);
        }
      }
      x = layers.conv("conv_out", layers.silu(layers.norm("conv_norm_out", x)), 1, 1);
      return script.archive(apply("permute(%s, [0, 2, 3, 1])", x));
    }
  }

  private Shape images(int count) {
    return new Shape(count, config.height(), config.width(), config.channels());
  }

  /** [N] f64, as the waves are computed. */
  private static NDArray times(NDManager scope, float[] times) {
    double[] wide = new double[times.length];
    for (int i = 0; i < wide.length; i++) {
      wide[i] = times[i];
    }
    return scope.create(wide);
  }

  private NDArray apply(NDArray flat, NDArray x, NDArray times, boolean training) {
    NDArray waves = frequencies.duplicate();
    waves.attach(x.getManager());
    return network.apply(x.getManager(), training, flat, x, times, waves);
  }

  @Override
  public float[] predict(float[] x, float[] times) {
    try (NDManager scope = manager.newSubManager()) {
      NDArray input = scope.create(x, images(times.length));
      return apply(weights.leaf(scope), input, times(scope, times), false).toFloatArray();
    }
  }

  /** The mean squared error. */
  private NDArray loss(NDManager scope, NDArray leaf, Peer.Noisy batch) {
    Shape shape = images(batch.times().length);
    NDArray x = scope.create(batch.x(), shape);
    NDArray said = apply(leaf, x, times(scope, batch.times()), true);
    return said.sub(scope.create(batch.target(), shape)).square().mean();
  }

  @Override
  public Map<String, float[]> gradients(Peer.Noisy batch) {
    return weights.gradients((scope, leaf) -> loss(scope, leaf, batch));
  }

  @Override
  public double step(Peer.Noisy batch) {
    return weights.step((scope, leaf) -> loss(scope, leaf, batch));
  }

  @Override
  public Map<String, float[]> averagedWeights() {
    return weights.averaged();
  }

  @Override
  public float[] sample(float[] noise, double[] table) {
    int count = noise.length / (config.height() * config.width() * config.channels());
    try (NDManager scope = manager.newSubManager()) {
      NDArray leaf = weights.leaf(scope);
      NDArray x = scope.create(noise, images(count));
      for (int at = 0; at + DenoiseStep.COLUMNS < table.length; at += DenoiseStep.COLUMNS) {
        try (NDManager step = scope.newSubManager()) {
          x.attach(step);
          x = denoise(step, leaf, x, table, at);
          x.attach(scope);
        }
      }
      return x.toFloatArray();
    }
  }

  /** A run of the network at the time of one row, and the step of the next. */
  private NDArray denoise(NDManager step, NDArray leaf, NDArray x, double[] table, int at) {
    int next = at + DenoiseStep.COLUMNS;
    if (table[next + 4] != 0 || table[next + 5] != 0) {
      throw new IllegalArgumentException("a sampler with a memory or with noise is not compared");
    }
    int count = (int) x.getShape().get(0);
    NDArray times = step.zeros(new Shape(count), DataType.FLOAT64).addi(table[at + 7]);
    NDArray said = apply(leaf, x.mul(table[at + 6]), times, false);
    NDArray denoised = x.mul(table[next]).addi(said.mul(table[next + 1])).clip(-1, 1);
    return x.mul(table[next + 2]).addi(denoised.muli(table[next + 3]));
  }

  @Override
  public void close() {
    network.close();
    manager.close();
  }
}
