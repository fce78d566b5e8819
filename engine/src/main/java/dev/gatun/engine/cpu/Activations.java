package dev.gatun.engine.cpu;

import dev.gatun.engine.op.Gate;

/**
 * Activation functions on the arrays of a {@link Blocks}, their first n elements; what lies beyond
 * them may be overwritten. The loops here have no branches and no calls, so that C2 turns them into
 * vector code; what it would make little of is in {@link Loops}.
 */
final class Activations {
  private final Loops loops;

  Activations(Loops loops) {
    this.loops = loops;
  }

  /** a = tanh(a) sigmoid(b), or a sigmoid(b). */
  void gate(Gate.Kind kind, Blocks block, int n) {
    if (kind == Gate.Kind.TANH) {
      loops.tanhAndSigmoid(block.a, block.b, n);
    } else {
      loops.sigmoid(block.b, n);
    }
    Arithmetic.multiply(block.a, block.b, n);
  }

  /** Overwrites a and b with the gradients of a gate of them; that of the result is in e. */
  void gateBackward(Gate.Kind kind, Blocks block, int n) {
    if (kind == Gate.Kind.TANH) {
      loops.tanhAndSigmoid(block.a, block.b, n);
      tanhSigmoidBackward(block.a, block.b, block.e, n);
    } else {
      loops.sigmoid(block.b, n);
      timesSigmoidBackward(block.a, block.b, block.e, n);
    }
  }

  private static void tanhSigmoidBackward(float[] tanh, float[] sigmoid, float[] dy, int n) {
    for (int i = 0; i < n; i++) {
      float slope = dy[i] * sigmoid[i];
      float t = tanh[i];
      tanh[i] = slope * (1 - t * t);
      sigmoid[i] = slope * t * (1 - sigmoid[i]);
    }
  }

  private static void timesSigmoidBackward(float[] a, float[] sigmoid, float[] dy, int n) {
    for (int i = 0; i < n; i++) {
      float slope = dy[i] * sigmoid[i];
      sigmoid[i] = slope * a[i] * (1 - sigmoid[i]);
      a[i] = slope;
    }
  }

  /** a = elu(a). */
  void elu(Blocks block, int n) {
    elus(block, n);
  }

  /** a = elu(a) and b = elu(-a). */
  void elus(Blocks block, int n) {
    loops.elus(block.a, block.b, n);
  }

  /** a = c elu'(a) - d elu'(-a): the gradient of both; those of the results are in c and d. */
  void elusBackward(Blocks block, int n) {
    loops.elus(block.a, block.b, n);
    elusBackward(block.a, block.b, block.c, block.d, n);
  }

  private static void elusBackward(float[] a, float[] b, float[] dy, float[] ofNegated, int n) {
    for (int i = 0; i < n; i++) {
      a[i] = dy[i] * (1 + Math.min(a[i], 0)) - ofNegated[i] * (1 + Math.min(b[i], 0));
    }
  }
}
