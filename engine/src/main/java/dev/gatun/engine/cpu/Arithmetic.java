package dev.gatun.engine.cpu;

/**
 * Element-wise arithmetic on blocks of f32 values. Plain loops, without branches or calls, so that
 * C2 turns them into vector code, and so that they are bearable before it has.
 */
final class Arithmetic {
  private Arithmetic() {}

  // tanh(x) = x P(x^2) / Q(x^2) on [-7.9, 7.9], beyond which tanh is 1 in f32: the coefficients of
  // Eigen's fast tanh, within 5 ulp
  private static final float BOUND = 7.90531110763549805f;

  /** x = tanh(scale * x), in a loop of its own: C2 gives up on vector code for longer bodies. */
  private static void tanh(float[] x, float scale, int n) {
    for (int i = 0; i < n; i++) {
      float c = Math.max(-BOUND, Math.min(BOUND, x[i] * scale));
      float s = c * c;
      float p = s * -2.76076847742355e-16f + 2.00018790482477e-13f;
      p = p * s + -8.60467152213735e-11f;
      p = p * s + 5.12229709037114e-08f;
      p = p * s + 1.48572235717979e-05f;
      p = p * s + 6.37261928875436e-04f;
      p = p * s + 4.89352455891786e-03f;
      float q = s * 1.19825839466702e-06f + 1.18534705686654e-04f;
      q = q * s + 2.26843463243900e-03f;
      q = q * s + 4.89352518554385e-03f;
      x[i] = c * p / q;
    }
  }

  /** y = tanh(a) sigmoid(b), where sigmoid(b) = (1 + tanh(b/2)) / 2; overwrites a and b. */
  static void gate(float[] a, float[] b, float[] y, int n) {
    tanh(a, 1, n);
    tanh(b, 0.5f, n);
    for (int i = 0; i < n; i++) {
      y[i] = a[i] * (0.5f + 0.5f * b[i]);
    }
  }

  /** Overwrites a and b with the gradients of {@link #gate} with respect to them. */
  static void gateBackward(float[] a, float[] b, float[] dy, int n) {
    tanh(a, 1, n);
    tanh(b, 0.5f, n);
    for (int i = 0; i < n; i++) {
      float t = a[i];
      float s = 0.5f + 0.5f * b[i];
      float gs = dy[i] * s;
      a[i] = gs * (1 - t * t);
      b[i] = gs * t * (1 - s);
    }
  }

  static void add(float[] a, float[] b, int n) {
    for (int i = 0; i < n; i++) {
      a[i] += b[i];
    }
  }

  static void relu(float[] x, int n) {
    for (int i = 0; i < n; i++) {
      x[i] = Math.max(x[i], 0);
    }
  }

  /** dy = 0 where y is not positive. */
  static void reluBackward(float[] y, float[] dy, int n) {
    for (int i = 0; i < n; i++) {
      dy[i] = y[i] > 0 ? dy[i] : 0;
    }
  }

  /** What one Adam step needs, worked out in f64: 1 - 0.999 loses four digits in f32. */
  record AdamStep(
      float rate,
      float beta1,
      float oneMinusBeta1,
      float beta2,
      float oneMinusBeta2,
      float epsilon,
      float correction1,
      float correction2,
      float clip,
      float oneMinusEmaDecay) {}

  /** One Adam step on parameters p, moments m and v, averaged parameters e and gradients g. */
  static void adam(AdamStep step, float[] p, float[] m, float[] v, float[] e, float[] g, int n) {
    float rate = step.rate * step.correction1;
    float beta1 = step.beta1;
    float beta2 = step.beta2;
    float rest1 = step.oneMinusBeta1;
    float rest2 = step.oneMinusBeta2;
    float correction2 = step.correction2;
    float epsilon = step.epsilon;
    float clip = step.clip;
    float average = step.oneMinusEmaDecay;
    for (int i = 0; i < n; i++) {
      float slope = g[i] * clip;
      float first = beta1 * m[i] + rest1 * slope;
      float second = beta2 * v[i] + rest2 * slope * slope;
      float next = p[i] - rate * first / ((float) Math.sqrt(second * correction2) + epsilon);
      m[i] = first;
      v[i] = second;
      p[i] = next;
      e[i] += average * (next - e[i]);
    }
  }
}
