package dev.gatun.kernels;

/**
 * Convolution as a list of taps, forward, f32: {@code y[n,oh,ow,k] = bias[k] + sum over t, c of
 * x[n, oh*strideH+dy_t, ow*strideW+dx_t, c] * w[t,c,k]}, zero outside the image.
 *
 * <p>Parameters of {@code conv_taps_f32}, in order:
 *
 * <ul>
 *   <li>{@code x} [N,H,W,C] f32
 *   <li>{@code w} [T,C,K] f32
 *   <li>{@code bias} [K] f32, or null
 *   <li>{@code taps} [T,2] i32: dy, dx
 *   <li>{@code y} [N,OH,OW,K] f32, written
 *   <li>{@code N H W C K T OH OW strideH strideW} i32
 * </ul>
 */
public final class ConvTapsKernel {

  /** The .cu file. */
  public static final String MODULE = "conv_taps";

  /** The kernel in it. */
  public static final String FUNCTION = "conv_taps_f32";

  private static final int TILE_PIXELS = 64;
  private static final int TILE_FILTERS = 64;
  private static final int THREADS = 256;

  private ConvTapsKernel() {}

  /**
   * One block a tile of 64 output pixels by 64 filters.
   *
   * @param samples N
   * @param outHeight OH
   * @param outWidth OW
   * @param filters K
   */
  public static LaunchShape launch(int samples, int outHeight, int outWidth, int filters) {
    long pixels = Math.multiplyExact(Math.multiplyExact((long) samples, outHeight), outWidth);
    int tiles = Math.toIntExact(Math.ceilDiv(pixels, TILE_PIXELS));
    return new LaunchShape(tiles, Math.ceilDiv(filters, TILE_FILTERS), 1, THREADS, 1, 1, 0);
  }
}
