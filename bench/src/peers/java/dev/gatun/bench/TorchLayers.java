package dev.gatun.bench;

import dev.gatun.engine.train.ParameterSpec;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Layers of a {@link TorchScript} by the names of their parameters, which are parts of one vector,
 * as {@link DjlWeights} has them. Features are [N,C,H,W].
 */
final class TorchLayers {
  private static final String EPSILON = "1e-05";

  private final TorchScript script;
  private final int groups;
  private final boolean channelsLast;
  private final Map<String, ParameterSpec> specs = new HashMap<>();
  private final Map<String, String> parts = new HashMap<>();

  /**
   * Splits the vector.
   *
   * @param weights the script's parameter that is the vector
   * @param groups of group normalization
   * @param channelsLast how features lie in memory: channels last, as the vector's kernels do, or
   *     channels first, for which kernels are copied
   */
  TorchLayers(
      TorchScript script,
      List<ParameterSpec> all,
      String weights,
      int groups,
      boolean channelsLast) {
    this.script = script;
    this.groups = groups;
    this.channelsLast = channelsLast;
    List<Integer> sizes = all.stream().map(s -> s.shape().elements()).toList();
    List<String> names =
        script.applyAll("split_with_sizes(" + weights + ", " + sizes + ")", all.size());
    for (int i = 0; i < names.size(); i++) {
      specs.put(all.get(i).name(), all.get(i));
      parts.put(all.get(i).name(), names.get(i));
    }
  }

  private String apply(String call, Object... arguments) {
    return script.apply(String.format(call, arguments));
  }

  /** Whether there is a layer of that name. */
  boolean has(String layer) {
    return parts.containsKey(layer + ".weight");
  }

  private String weight(String layer) {
    return parts.get(layer + ".weight");
  }

  private String bias(String layer) {
    return parts.get(layer + ".bias");
  }

  private int dim(String layer, int axis) {
    return specs.get(layer + ".weight").shape().dim(axis); // [taps,in,out]
  }

  /** [N,H,W,C] as features. */
  String image(String rows) {
    String features = apply("permute(%s, [0, 3, 1, 2])", rows);
    return channelsLast ? features : apply("contiguous(%s)", features);
  }

  /** A convolution with a square kernel. */
  String conv(String layer, String x, int stride, int padding) {
    int side = (int) Math.sqrt(dim(layer, 0));
    String rows =
        apply(
            "view(%s, [%d, %d, %d, %d])", weight(layer), dim(layer, 2), side, side, dim(layer, 1));
    String kernel = image(rows);
    return apply(
        "conv2d(%s, %s, %s, [%d, %d], [%d, %d])",
        x, kernel, bias(layer), stride, stride, padding, padding);
  }

  /** Of x's last axis. */
  String linear(String layer, String x) {
    String matrix = apply("view(%s, [%d, %d])", weight(layer), dim(layer, 2), dim(layer, 1));
    return apply("linear(%s, %s, %s)", x, matrix, bias(layer));
  }

  /** Group normalization. */
  String norm(String layer, String x) {
    return apply("group_norm(%s, %d, %s, %s, %s)", x, groups, weight(layer), bias(layer), EPSILON);
  }

  String silu(String x) {
    return apply("silu(%s)", x);
  }

  /** A sum in the first's place. */
  String add(String x, String addend) {
    return apply("add_(%s, %s)", x, addend);
  }

  /** Nearest-neighbour up-sampling by 2, and a 3x3 convolution. */
  String enlarge(String layer, String x) {
    return conv(layer, apply("upsample_nearest2d(%s, None, [2., 2.])", x), 1, 1);
  }
}
