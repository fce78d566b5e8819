package dev.gatun.kernels;

/** One step of Adam over a flat arena, {@code adam.cu}. */
public final class AdamKernel {
  private static final int THREADS = 256;

  private AdamKernel() {}

  /** What the step's rates are made of; see {@code adam.cu}. */
  public record Rates(
      double learningRate,
      double beta1,
      double beta2,
      double epsilon,
      double warmupSteps,
      double decay,
      double clipNorm,
      double emaDecay) {}

  /**
   * Updates p, m, v, e [n] f32 and state [1] f64 by g [n] f32 and squaredNorm [1] f64.
   *
   * @param blocks [1] u32, zero before the first launch
   */
  public static KernelCall adam(
      long p,
      long m,
      long v,
      long e,
      long state,
      long g,
      long squaredNorm,
      long blocks,
      long refusal,
      long elements,
      Rates rates) {
    int grid = Math.toIntExact(Math.ceilDiv(elements, 4L * THREADS));
    return new KernelCall(
        "adam",
        "adam_f32",
        LaunchShape.linear(grid, THREADS),
        new Arguments()
            .pointer(p)
            .pointer(m)
            .pointer(v)
            .pointer(e)
            .pointer(state)
            .pointer(g)
            .pointer(squaredNorm)
            .pointer(blocks)
            .pointer(refusal)
            .int64(elements)
            .struct(
                new Arguments()
                    .float64(rates.learningRate)
                    .float64(rates.beta1)
                    .float64(rates.beta2)
                    .float64(rates.epsilon)
                    .float64(rates.warmupSteps)
                    .float64(rates.decay)
                    .float64(rates.clipNorm)
                    .float64(rates.emaDecay))
            .toList());
  }
}
