package dev.gatun.engine.cpu;

/**
 * Element-wise arithmetic on blocks of f32 values. Plain loops, without branches or calls, so that
 * C2 turns them into vector code, and so that they are bearable before it has.
 */
final class Arithmetic {
  private Arithmetic() {}

  static void add(float[] a, float[] b, int n) {
    for (int i = 0; i < n; i++) {
      a[i] += b[i];
    }
  }

  static void multiply(float[] a, float[] b, int n) {
    for (int i = 0; i < n; i++) {
      a[i] *= b[i];
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
