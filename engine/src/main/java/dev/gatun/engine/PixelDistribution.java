package dev.gatun.engine;

/** What a network's output at a pixel says of its colours, where a device draws them itself. */
public sealed interface PixelDistribution {
  /** A softmax over the levels of each colour, one colour a pass. */
  record Categorical(int levels) implements PixelDistribution {}

  /**
   * A mixture of discretized logistics, all colours in one pass.
   *
   * @see dev.gatun.engine.op.LogisticMixture
   */
  record Logistics(int mixtures, int levels) implements PixelDistribution {}
}
