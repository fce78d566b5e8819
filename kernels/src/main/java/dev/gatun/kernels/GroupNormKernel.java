package dev.gatun.kernels;

/**
 * GroupNorm, forward, f32.
 *
 * <p>Parameters of {@code group_norm_f32}, in order:
 *
 * <ul>
 *   <li>{@code x} [N,HW,C] f32
 *   <li>{@code gamma}, {@code beta} [C] f32
 *   <li>{@code y} [N,HW,C] f32, written
 *   <li>{@code mean}, {@code rstd} [N,G] f32, written
 *   <li>{@code HW}, {@code C}, {@code G} i32; C % G == 0
 *   <li>{@code eps} f32
 * </ul>
 */
public final class GroupNormKernel {

  /** The .cu file. */
  public static final String MODULE = "group_norm";

  /** The kernel in it. */
  public static final String FUNCTION = "group_norm_f32";

  private static final int THREADS = 256;

  private GroupNormKernel() {}

  /**
   * One block a group of one sample.
   *
   * @param samples N
   * @param groups G
   */
  public static LaunchShape launch(int samples, int groups) {
    return new LaunchShape(groups, samples, 1, THREADS, 1, 1, 0);
  }
}
