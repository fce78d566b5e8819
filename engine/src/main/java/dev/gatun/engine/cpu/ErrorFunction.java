package dev.gatun.engine.cpu;

/**
 * The error function of numbers that are not negative, to about 1e-15 of itself.
 *
 * @see "Cody 1969, Rational Chebyshev Approximations for the Error Function"
 */
final class ErrorFunction {
  /** Below it erf itself is approximated, above it what it lacks to 1. */
  private static final double SMALL = 0.46875;

  private static final double[] A = {
    1.85777706184603153e-1,
    3.16112374387056560e00,
    1.13864154151050156e02,
    3.77485237685302021e02,
    3.20937758913846947e03
  };
  private static final double[] B = {
    1,
    2.36012909523441209e01,
    2.44024637934444173e02,
    1.28261652607737228e03,
    2.84423683343917062e03
  };
  private static final double[] C = {
    2.15311535474403846e-8,
    5.64188496988670089e-1,
    8.88314979438837594e0,
    6.61191906371416295e01,
    2.98635138197400131e02,
    8.81952221241769090e02,
    1.71204761263407058e03,
    2.05107837782607147e03,
    1.23033935479799725e03
  };
  private static final double[] D = {
    1,
    1.57449261107098347e01,
    1.17693950891312499e02,
    5.37181101862009858e02,
    1.62138957456669019e03,
    3.29079923573345963e03,
    4.36261909014324716e03,
    3.43936767414372164e03,
    1.23033935480374942e03
  };
  private static final double[] P = {
    1.63153871373020978e-2,
    3.05326634961232344e-1,
    3.60344899949804439e-1,
    1.25781726111229246e-1,
    1.60837851487422766e-2,
    6.58749161529837803e-4
  };
  private static final double[] Q = {
    1,
    2.56852019228982242e00,
    1.87295284992346725e00,
    5.27905102951428412e-1,
    6.05183413124413191e-2,
    2.33520497626869185e-3
  };
  private static final double ROOT = 1 / Math.sqrt(Math.PI);

  private ErrorFunction() {}

  private static double ratio(double x, double[] over, double[] under) {
    double a = over[0];
    double b = under[0];
    for (int i = 1; i < over.length; i++) {
      a = a * x + over[i];
      b = b * x + under[i];
    }
    return a / b;
  }

  /** 2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x. */
  static double erf(double x) {
    return x < SMALL ? x * ratio(x * x, A, B) : 1 - erfc(x);
  }

  /** 1 - erf(x), which it is to about 1e-15 of itself, too. */
  static double erfc(double x) {
    return Math.exp(-x * x) * erfcx(x);
  }

  /** exp(x^2) (1 - erf(x)): it does not underflow. */
  static double erfcx(double x) {
    if (x < SMALL) {
      return Math.exp(x * x) * (1 - erf(x));
    }
    if (x < 4) {
      return ratio(x, C, D);
    }
    double z = 1 / (x * x);
    return (ROOT - z * ratio(z, P, Q)) / x;
  }
}
