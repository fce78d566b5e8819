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

  /**
   * Numerator and denominator of tanh(scale * x), in a loop of its own: C2 gives up on vector code
   * for longer bodies. The division is left to who combines two of them, which then needs only one.
   */
  private static void tanhParts(float[] x, float scale, float[] p, float[] q, int n) {
    for (int i = 0; i < n; i++) {
      float c = Math.max(-BOUND, Math.min(BOUND, x[i] * scale));
      float s = c * c;
      float a = Math.fma(s, -2.76076847742355e-16f, 2.00018790482477e-13f);
      a = Math.fma(a, s, -8.60467152213735e-11f);
      a = Math.fma(a, s, 5.12229709037114e-08f);
      a = Math.fma(a, s, 1.48572235717979e-05f);
      a = Math.fma(a, s, 6.37261928875436e-04f);
      a = Math.fma(a, s, 4.89352455891786e-03f);
      float b = Math.fma(s, 1.19825839466702e-06f, 1.18534705686654e-04f);
      b = Math.fma(b, s, 2.26843463243900e-03f);
      p[i] = a * c;
      q[i] = Math.fma(b, s, 4.89352518554385e-03f);
    }
  }

  /** y = tanh(a) sigmoid(b), where sigmoid(b) = (1 + tanh(b/2)) / 2; of the block's a and b. */
  static void tanhSigmoid(Blocks block, float[] y, int n) {
    tanhParts(block.a, 1, block.c, block.d, n);
    tanhParts(block.b, 0.5f, block.e, block.f, n);
    tanhSigmoid(block.c, block.d, block.e, block.f, y, n);
  }

  private static void tanhSigmoid(
      float[] pa, float[] qa, float[] pb, float[] qb, float[] y, int n) {
    for (int i = 0; i < n; i++) {
      y[i] = pa[i] * (qb[i] + pb[i]) * 0.5f / (qa[i] * qb[i]);
    }
  }

  /** y = a sigmoid(b). */
  static void timesSigmoid(Blocks block, float[] y, int n) {
    tanhParts(block.b, 0.5f, block.c, block.d, n);
    timesSigmoid(block.a, block.c, block.d, y, n);
  }

  private static void timesSigmoid(float[] a, float[] p, float[] q, float[] y, int n) {
    for (int i = 0; i < n; i++) {
      y[i] = a[i] * (q[i] + p[i]) * 0.5f / q[i];
    }
  }

  /** Overwrites the block's a and b with the gradients of tanh(a) sigmoid(b); dy is in e. */
  static void tanhSigmoidBackward(Blocks block, int n) {
    tanhParts(block.a, 1, block.a, block.c, n);
    tanhParts(block.b, 0.5f, block.b, block.d, n);
    tanhAndSigmoid(block.a, block.c, block.b, block.d, n);
    slopes(block.a, block.b, block.e, n);
  }

  /** From parts to t = tanh(a) in {@code pa} and s = sigmoid(b) in {@code pb}, by one division. */
  private static void tanhAndSigmoid(float[] pa, float[] qa, float[] pb, float[] qb, int n) {
    for (int i = 0; i < n; i++) {
      float r = 1 / (qa[i] * qb[i]);
      pa[i] = pa[i] * qb[i] * r;
      pb[i] = (qb[i] + pb[i]) * qa[i] * 0.5f * r;
    }
  }

  private static void slopes(float[] t, float[] s, float[] dy, int n) {
    for (int i = 0; i < n; i++) {
      float gs = dy[i] * s[i];
      float own = t[i];
      t[i] = gs * (1 - own * own);
      s[i] = gs * own * (1 - s[i]);
    }
  }

  /** Overwrites the block's a and b with the gradients of a sigmoid(b); dy is in e. */
  static void timesSigmoidBackward(Blocks block, int n) {
    tanhParts(block.b, 0.5f, block.b, block.d, n);
    timesSigmoidBackward(block.a, block.b, block.d, block.e, n);
  }

  private static void timesSigmoidBackward(float[] a, float[] p, float[] q, float[] dy, int n) {
    for (int i = 0; i < n; i++) {
      float s = (q[i] + p[i]) * 0.5f / q[i];
      float gs = dy[i] * s;
      p[i] = gs * a[i] * (1 - s);
      a[i] = gs;
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
