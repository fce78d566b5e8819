package dev.gatun.models;

/** The inverse of the normal distribution's cumulative probability. */
public final class NormalQuantile {
  private NormalQuantile() {}

  /** Below which a share of a normal distribution lies; wrong by 1.2e-9 of its size at most. */
  public static double of(double share) {
    // Acklam 2003: rational functions in the middle and in the tails
    if (share > 0.5) {
      return -of(1 - share);
    }
    if (share < 0.02425) {
      double q = Math.sqrt(-2 * Math.log(share));
      return (((((-7.784894002430293e-03 * q - 3.223964580411365e-01) * q - 2.400758277161838) * q
                              - 2.549732539343734)
                          * q
                      + 4.374664141464968)
                  * q
              + 2.938163982698783)
          / ((((7.784695709041462e-03 * q + 3.224671290700398e-01) * q + 2.445134137142996) * q
                      + 3.754408661907416)
                  * q
              + 1);
    }
    double q = share - 0.5;
    double r = q * q;
    return (((((-3.969683028665376e+01 * r + 2.209460984245205e+02) * r - 2.759285104469687e+02) * r
                            + 1.383577518672690e+02)
                        * r
                    - 3.066479806614716e+01)
                * r
            + 2.506628277459239)
        * q
        / (((((-5.447609879822406e+01 * r + 1.615858368580409e+02) * r - 1.556989798598866e+02) * r
                            + 6.680131188771972e+01)
                        * r
                    - 1.328068155288572e+01)
                * r
            + 1);
  }
}
