package dev.gatun.engine.cpu;

import jdk.incubator.vector.FloatVector;

/**
 * F(5,3) on the Vector API: images of 14 pixels, or pairs of 7, with almost no empty place. Points
 * are three pairs +-p and infinity, chosen by trial: their rounding errors are twice those of
 * F(4,3).
 *
 * <p>Pixels take two loops, since C2 gives up on one of so many operations.
 */
final class VectorTiles5 extends VectorTiles {
  private static final PointPairs POINTS = new PointPairs(0.3, 0.85, 1.7);

  // their powers
  private static final float A = POINTS.power(0, 1);
  private static final float A2 = POINTS.power(0, 2);
  private static final float A3 = POINTS.power(0, 3);
  private static final float A4 = POINTS.power(0, 4);
  private static final float B = POINTS.power(1, 1);
  private static final float B2 = POINTS.power(1, 2);
  private static final float B3 = POINTS.power(1, 3);
  private static final float B4 = POINTS.power(1, 4);
  private static final float C = POINTS.power(2, 1);
  private static final float C2 = POINTS.power(2, 2);
  private static final float C3 = POINTS.power(2, 3);
  private static final float C4 = POINTS.power(2, 4);

  // of the product of (u - q^2) over the other pairs the coefficients
  private static final float PA0 = POINTS.coefficient(0, 0);
  private static final float PA1 = POINTS.coefficient(0, 1);
  private static final float PB0 = POINTS.coefficient(1, 0);
  private static final float PB1 = POINTS.coefficient(1, 1);
  private static final float PC0 = POINTS.coefficient(2, 0);
  private static final float PC1 = POINTS.coefficient(2, 1);

  // of the product over all pairs
  private static final float P0 = POINTS.coefficient(PointPairs.NONE, 0);
  private static final float P1 = POINTS.coefficient(PointPairs.NONE, 1);
  private static final float P2 = POINTS.coefficient(PointPairs.NONE, 2);

  // one over what a point's differences to the others multiply to
  private static final float NA = POINTS.share(0);
  private static final float NB = POINTS.share(1);
  private static final float NC = POINTS.share(2);

  @Override
  public int tile() {
    return 5;
  }

  @Override
  public void pixels(Streams s) {
    pixelsAtTwoPairs(s);
    pixelsAtTheOthers(s);
  }

  private static void pixelsAtTwoPairs(Streams s) {
    long a0 = s.in[0];
    long a1 = s.in[1];
    long a2 = s.in[2];
    long a3 = s.in[3];
    long a4 = s.in[4];
    long a5 = s.in[5];
    long b0 = s.out[0];
    long b1 = s.out[1];
    long b2 = s.out[2];
    long b3 = s.out[3];
    long i = 0;
    long o = 0;
    int left = s.n;
    for (int done = s.groups * s.n; done > 0; done -= L) {
      FloatVector d0 = get(a0 + i);
      FloatVector d1 = get(a1 + i);
      FloatVector d2 = get(a2 + i);
      FloatVector d3 = get(a3 + i);
      FloatVector d4 = get(a4 + i);
      FloatVector d5 = get(a5 + i);
      FloatVector even = add(d0, PA0, add(d2, PA1, d4));
      FloatVector odd = add(d1, PA0, add(d3, PA1, d5));
      put(add(even, A, odd), b0 + o);
      put(add(even, -A, odd), b1 + o);
      even = add(d0, PB0, add(d2, PB1, d4));
      odd = add(d1, PB0, add(d3, PB1, d5));
      put(add(even, B, odd), b2 + o);
      put(add(even, -B, odd), b3 + o);
      i += 4 * L;
      o += 4 * L;
      left -= L;
      if (left == 0) {
        left = s.n;
        i += 4 * (s.inStep - s.n);
        o += 4 * (s.outStep - s.n);
      }
    }
  }

  private static void pixelsAtTheOthers(Streams s) {
    long a0 = s.in[0];
    long a1 = s.in[1];
    long a2 = s.in[2];
    long a3 = s.in[3];
    long a4 = s.in[4];
    long a5 = s.in[5];
    long a6 = s.in[6];
    long b4 = s.out[4];
    long b5 = s.out[5];
    long b6 = s.out[6];
    long i = 0;
    long o = 0;
    int left = s.n;
    for (int done = s.groups * s.n; done > 0; done -= L) {
      FloatVector d0 = get(a0 + i);
      FloatVector d1 = get(a1 + i);
      FloatVector d2 = get(a2 + i);
      FloatVector d3 = get(a3 + i);
      FloatVector d4 = get(a4 + i);
      FloatVector d5 = get(a5 + i);
      FloatVector d6 = get(a6 + i);
      put(add(d0, P0, add(d2, P1, add(d4, P2, d6))), b6 + o);
      FloatVector even = add(d0, PC0, add(d2, PC1, d4));
      FloatVector odd = add(d1, PC0, add(d3, PC1, d5));
      put(add(even, C, odd), b4 + o);
      put(add(even, -C, odd), b5 + o);
      i += 4 * L;
      o += 4 * L;
      left -= L;
      if (left == 0) {
        left = s.n;
        i += 4 * (s.inStep - s.n);
        o += 4 * (s.outStep - s.n);
      }
    }
  }

  @Override
  public void outputs(Streams s) {
    long a0 = s.in[0];
    long a1 = s.in[1];
    long a2 = s.in[2];
    long a3 = s.in[3];
    long a4 = s.in[4];
    long a5 = s.in[5];
    long a6 = s.in[6];
    long b0 = s.out[0];
    long b1 = s.out[1];
    long b2 = s.out[2];
    long b3 = s.out[3];
    long b4 = s.out[4];
    long i = 0;
    long o = 0;
    int left = s.n;
    for (int done = s.groups * s.n; done > 0; done -= L) {
      FloatVector plusA = get(a0 + i);
      FloatVector minusA = get(a1 + i);
      FloatVector plusB = get(a2 + i);
      FloatVector minusB = get(a3 + i);
      FloatVector plusC = get(a4 + i);
      FloatVector minusC = get(a5 + i);
      FloatVector a = plusA.add(minusA);
      FloatVector b = plusB.add(minusB);
      FloatVector c = plusC.add(minusC);
      put(a.add(b).add(c), b0 + o);
      put(add(a, A2, add(b, B2, c.mul(C2))), b2 + o);
      put(add(a, A4, add(b, B4, add(c, C4, get(a6 + i)))), b4 + o);
      a = plusA.sub(minusA);
      b = plusB.sub(minusB);
      c = plusC.sub(minusC);
      put(add(a, A, add(b, B, c.mul(C))), b1 + o);
      put(add(a, A3, add(b, B3, c.mul(C3))), b3 + o);
      i += 4 * L;
      o += 4 * L;
      left -= L;
      if (left == 0) {
        left = s.n;
        i += 4 * (s.inStep - s.n);
        o += 4 * (s.outStep - s.n);
      }
    }
  }

  @Override
  public void slopes(Streams s) {
    long a0 = s.in[0];
    long a1 = s.in[1];
    long a2 = s.in[2];
    long a3 = s.in[3];
    long a4 = s.in[4];
    long b0 = s.out[0];
    long b1 = s.out[1];
    long b2 = s.out[2];
    long b3 = s.out[3];
    long b4 = s.out[4];
    long b5 = s.out[5];
    long b6 = s.out[6];
    long i = 0;
    long o = 0;
    int left = s.n;
    for (int done = s.groups * s.n; done > 0; done -= L) {
      FloatVector y0 = get(a0 + i);
      FloatVector y1 = get(a1 + i);
      FloatVector y2 = get(a2 + i);
      FloatVector y3 = get(a3 + i);
      FloatVector y4 = get(a4 + i);
      put(y4, b6 + o);
      FloatVector even = add(add(y4, A2, y2), A2, y0);
      FloatVector odd = add(y3, A2, y1);
      put(add(odd, A, even), b0 + o);
      put(add(odd, -A, even), b1 + o);
      even = add(add(y4, B2, y2), B2, y0);
      odd = add(y3, B2, y1);
      put(add(odd, B, even), b2 + o);
      put(add(odd, -B, even), b3 + o);
      even = add(add(y4, C2, y2), C2, y0);
      odd = add(y3, C2, y1);
      put(add(odd, C, even), b4 + o);
      put(add(odd, -C, even), b5 + o);
      i += 4 * L;
      o += 4 * L;
      left -= L;
      if (left == 0) {
        left = s.n;
        i += 4 * (s.inStep - s.n);
        o += 4 * (s.outStep - s.n);
      }
    }
  }

  @Override
  public void weights(Streams s) {
    long a0 = s.in[0];
    long a1 = s.in[1];
    long a2 = s.in[2];
    long b0 = s.out[0];
    long b1 = s.out[1];
    long b2 = s.out[2];
    long b3 = s.out[3];
    long b4 = s.out[4];
    long b5 = s.out[5];
    long b6 = s.out[6];
    int bytes = 4 * s.n;
    for (int i = 0; i < bytes; i += 4 * L) {
      FloatVector g0 = get(a0 + i);
      FloatVector g1 = get(a1 + i);
      FloatVector g2 = get(a2 + i);
      put(g2, b6 + i);
      FloatVector even = add(g2, A2, g0).mul(NA);
      FloatVector odd = g1.mul(A * NA);
      put(odd.add(even), b0 + i);
      put(odd.sub(even), b1 + i);
      even = add(g2, B2, g0).mul(NB);
      odd = g1.mul(B * NB);
      put(odd.add(even), b2 + i);
      put(odd.sub(even), b3 + i);
      even = add(g2, C2, g0).mul(NC);
      odd = g1.mul(C * NC);
      put(odd.add(even), b4 + i);
      put(odd.sub(even), b5 + i);
    }
  }

  @Override
  public void weightSlopes(Streams s) {
    long a0 = s.in[0];
    long a1 = s.in[1];
    long a2 = s.in[2];
    long a3 = s.in[3];
    long a4 = s.in[4];
    long a5 = s.in[5];
    long a6 = s.in[6];
    long b0 = s.out[0];
    long b1 = s.out[1];
    long b2 = s.out[2];
    int bytes = 4 * s.n;
    for (int i = 0; i < bytes; i += 4 * L) {
      FloatVector plusA = get(a0 + i);
      FloatVector minusA = get(a1 + i);
      FloatVector plusB = get(a2 + i);
      FloatVector minusB = get(a3 + i);
      FloatVector plusC = get(a4 + i);
      FloatVector minusC = get(a5 + i);
      FloatVector a = plusA.sub(minusA).mul(NA);
      FloatVector b = plusB.sub(minusB).mul(NB);
      FloatVector c = plusC.sub(minusC).mul(NC);
      put(a.add(b).add(c), b0 + i);
      put(add(a, A2, add(b, B2, add(c, C2, get(a6 + i)))), b2 + i);
      a = plusA.add(minusA);
      b = plusB.add(minusB);
      c = plusC.add(minusC);
      put(add(a, A * NA, add(b, B * NB, c.mul(C * NC))), b1 + i);
    }
  }
}
