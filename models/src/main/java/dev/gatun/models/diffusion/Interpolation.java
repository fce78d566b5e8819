package dev.gatun.models.diffusion;

/**
 * From one image to another by way of the noise that they are encoded to.
 *
 * @see "Song et al. 2021, Denoising Diffusion Implicit Models, section 5.3 and appendix D.5"
 */
public final class Interpolation {
  private Interpolation() {}

  /** Pixels as samplers have them, in [-1,1]. */
  public static double[] pixels(byte[] images) {
    double[] x = new double[images.length];
    for (int i = 0; i < x.length; i++) {
      x[i] = (images[i] & 0xFF) / 127.5 - 1;
    }
    return x;
  }

  /**
   * Spherical interpolation: noise between two, of a length between theirs.
   *
   * @param ends two vectors, one behind the other
   * @param count vectors, the ends included; at least 2
   * @return one behind the other
   */
  public static double[] between(double[] ends, int count) {
    int size = ends.length / 2;
    double product = 0;
    double first = 0;
    double second = 0;
    for (int i = 0; i < size; i++) {
      product += ends[i] * ends[size + i];
      first += ends[i] * ends[i];
      second += ends[size + i] * ends[size + i];
    }
    double cosine = product / Math.sqrt(first * second);
    double angle = Math.acos(Math.clamp(cosine, -1, 1));
    double[] all = new double[count * size];
    for (int n = 0; n < count; n++) {
      double part = (double) n / (count - 1);
      // vectors in line have no plane to turn in
      boolean inLine = !(Math.sin(angle) > 1e-9);
      double a = inLine ? 1 - part : Math.sin((1 - part) * angle) / Math.sin(angle);
      double b = inLine ? part : Math.sin(part * angle) / Math.sin(angle);
      for (int i = 0; i < size; i++) {
        all[n * size + i] = a * ends[i] + b * ends[size + i];
      }
    }
    return all;
  }
}
