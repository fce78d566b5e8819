package dev.gatun.engine.cpu;

import jdk.incubator.vector.FloatVector;

/**
 * F(7,3) on the Vector API: images of 7, 14 and 28 pixels without an empty place. Points are four
 * pairs +-p and infinity, chosen by trial: rounding errors are 40 times those of plain sums, a
 * hundredth of what rounding to bf16 costs.
 *
 * <p>A transform is two or three loops over parts of its outputs, since C2 gives up on loops of so
 * many operations.
 */
final class VectorTiles7 extends VectorTiles {
  private static final PointPairs POINTS = new PointPairs(0.225, 0.7, 1.125, 2.25);

  // their powers
  private static final float A = POINTS.power(0, 1);
  private static final float A2 = POINTS.power(0, 2);
  private static final float A3 = POINTS.power(0, 3);
  private static final float A4 = POINTS.power(0, 4);
  private static final float A5 = POINTS.power(0, 5);
  private static final float A6 = POINTS.power(0, 6);
  private static final float B = POINTS.power(1, 1);
  private static final float B2 = POINTS.power(1, 2);
  private static final float B3 = POINTS.power(1, 3);
  private static final float B4 = POINTS.power(1, 4);
  private static final float B5 = POINTS.power(1, 5);
  private static final float B6 = POINTS.power(1, 6);
  private static final float C = POINTS.power(2, 1);
  private static final float C2 = POINTS.power(2, 2);
  private static final float C3 = POINTS.power(2, 3);
  private static final float C4 = POINTS.power(2, 4);
  private static final float C5 = POINTS.power(2, 5);
  private static final float C6 = POINTS.power(2, 6);
  private static final float D = POINTS.power(3, 1);
  private static final float D2 = POINTS.power(3, 2);
  private static final float D3 = POINTS.power(3, 3);
  private static final float D4 = POINTS.power(3, 4);
  private static final float D5 = POINTS.power(3, 5);
  private static final float D6 = POINTS.power(3, 6);

  // one over what a point's differences to the others multiply to
  private static final float NA = POINTS.share(0);
  private static final float NB = POINTS.share(1);
  private static final float NC = POINTS.share(2);
  private static final float ND = POINTS.share(3);

  private static final Pair[] PAIRS = {pair(0), pair(1), pair(2), pair(3)};

  // of the product of (u - q^2) over all pairs the coefficients
  private static final float P0 = POINTS.coefficient(PointPairs.NONE, 0);
  private static final float P1 = POINTS.coefficient(PointPairs.NONE, 1);
  private static final float P2 = POINTS.coefficient(PointPairs.NONE, 2);
  private static final float P3 = POINTS.coefficient(PointPairs.NONE, 3);

  /** A point p, and of the product over the other pairs the coefficients. */
  private record Pair(float p, float u0, float u1, float u2) {}

  private static Pair pair(int k) {
    return new Pair(
        POINTS.power(k, 1),
        POINTS.coefficient(k, 0),
        POINTS.coefficient(k, 1),
        POINTS.coefficient(k, 2));
  }

  @Override
  public int tile() {
    return 7;
  }

  @Override
  public void pixels(Streams s) {
    pixels(s, 0, PAIRS[0], PAIRS[1]);
    pixels(s, 4, PAIRS[2], PAIRS[3]);
    pixelsAtInfinity(s);
  }

  /** To out[at] and the three that follow. */
  private static void pixels(Streams s, int at, Pair first, Pair second) {
    float p = first.p;
    float p0 = first.u0;
    float p1 = first.u1;
    float p2 = first.u2;
    float q = second.p;
    float q0 = second.u0;
    float q1 = second.u1;
    float q2 = second.u2;
    long a0 = s.in[0];
    long a1 = s.in[1];
    long a2 = s.in[2];
    long a3 = s.in[3];
    long a4 = s.in[4];
    long a5 = s.in[5];
    long a6 = s.in[6];
    long a7 = s.in[7];
    long b0 = s.out[at];
    long b1 = s.out[at + 1];
    long b2 = s.out[at + 2];
    long b3 = s.out[at + 3];
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
      FloatVector d7 = get(a7 + i);
      FloatVector even = add(d0, p0, add(d2, p1, add(d4, p2, d6)));
      FloatVector odd = add(d1, p0, add(d3, p1, add(d5, p2, d7)));
      put(add(even, p, odd), b0 + o);
      put(add(even, -p, odd), b1 + o);
      even = add(d0, q0, add(d2, q1, add(d4, q2, d6)));
      odd = add(d1, q0, add(d3, q1, add(d5, q2, d7)));
      put(add(even, q, odd), b2 + o);
      put(add(even, -q, odd), b3 + o);
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

  private static void pixelsAtInfinity(Streams s) {
    long a0 = s.in[0];
    long a2 = s.in[2];
    long a4 = s.in[4];
    long a6 = s.in[6];
    long a8 = s.in[8];
    long b8 = s.out[8];
    long i = 0;
    long o = 0;
    int left = s.n;
    for (int done = s.groups * s.n; done > 0; done -= L) {
      FloatVector d0 = get(a0 + i);
      FloatVector d2 = get(a2 + i);
      FloatVector d4 = get(a4 + i);
      FloatVector d6 = get(a6 + i);
      FloatVector d8 = get(a8 + i);
      put(add(d0, P0, add(d2, P1, add(d4, P2, add(d6, P3, d8)))), b8 + o);
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
    evenOutputs(s);
    oddOutputs(s);
  }

  private static void evenOutputs(Streams s) {
    long a0 = s.in[0];
    long a1 = s.in[1];
    long a2 = s.in[2];
    long a3 = s.in[3];
    long a4 = s.in[4];
    long a5 = s.in[5];
    long a6 = s.in[6];
    long a7 = s.in[7];
    long a8 = s.in[8];
    long b0 = s.out[0];
    long b2 = s.out[2];
    long b4 = s.out[4];
    long b6 = s.out[6];
    long i = 0;
    long o = 0;
    int left = s.n;
    for (int done = s.groups * s.n; done > 0; done -= L) {
      FloatVector a = get(a0 + i).add(get(a1 + i));
      FloatVector b = get(a2 + i).add(get(a3 + i));
      FloatVector c = get(a4 + i).add(get(a5 + i));
      FloatVector d = get(a6 + i).add(get(a7 + i));
      put(a.add(b).add(c.add(d)), b0 + o);
      put(add(a, A2, add(b, B2, add(c, C2, d.mul(D2)))), b2 + o);
      put(add(a, A4, add(b, B4, add(c, C4, d.mul(D4)))), b4 + o);
      put(add(a, A6, add(b, B6, add(c, C6, add(d, D6, get(a8 + i))))), b6 + o);
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

  private static void oddOutputs(Streams s) {
    long a0 = s.in[0];
    long a1 = s.in[1];
    long a2 = s.in[2];
    long a3 = s.in[3];
    long a4 = s.in[4];
    long a5 = s.in[5];
    long a6 = s.in[6];
    long a7 = s.in[7];
    long b1 = s.out[1];
    long b3 = s.out[3];
    long b5 = s.out[5];
    long i = 0;
    long o = 0;
    int left = s.n;
    for (int done = s.groups * s.n; done > 0; done -= L) {
      FloatVector a = get(a0 + i).sub(get(a1 + i));
      FloatVector b = get(a2 + i).sub(get(a3 + i));
      FloatVector c = get(a4 + i).sub(get(a5 + i));
      FloatVector d = get(a6 + i).sub(get(a7 + i));
      put(add(a, A, add(b, B, add(c, C, d.mul(D)))), b1 + o);
      put(add(a, A3, add(b, B3, add(c, C3, d.mul(D3)))), b3 + o);
      put(add(a, A5, add(b, B5, add(c, C5, d.mul(D5)))), b5 + o);
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
    slopes(s, 0, A, B);
    slopes(s, 4, C, D);
    slopesAtInfinity(s);
  }

  /** To out[at] and the three that follow. */
  private static void slopes(Streams s, int at, float p, float q) {
    float p2 = p * p;
    float q2 = q * q;
    long a0 = s.in[0];
    long a1 = s.in[1];
    long a2 = s.in[2];
    long a3 = s.in[3];
    long a4 = s.in[4];
    long a5 = s.in[5];
    long a6 = s.in[6];
    long b0 = s.out[at];
    long b1 = s.out[at + 1];
    long b2 = s.out[at + 2];
    long b3 = s.out[at + 3];
    long i = 0;
    long o = 0;
    int left = s.n;
    for (int done = s.groups * s.n; done > 0; done -= L) {
      FloatVector y0 = get(a0 + i);
      FloatVector y1 = get(a1 + i);
      FloatVector y2 = get(a2 + i);
      FloatVector y3 = get(a3 + i);
      FloatVector y4 = get(a4 + i);
      FloatVector y5 = get(a5 + i);
      FloatVector y6 = get(a6 + i);
      FloatVector even = add(add(add(y6, p2, y4), p2, y2), p2, y0);
      FloatVector odd = add(add(y5, p2, y3), p2, y1);
      put(add(odd, p, even), b0 + o);
      put(add(odd, -p, even), b1 + o);
      even = add(add(add(y6, q2, y4), q2, y2), q2, y0);
      odd = add(add(y5, q2, y3), q2, y1);
      put(add(odd, q, even), b2 + o);
      put(add(odd, -q, even), b3 + o);
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

  private static void slopesAtInfinity(Streams s) {
    long a6 = s.in[6];
    long b8 = s.out[8];
    long i = 0;
    long o = 0;
    int left = s.n;
    for (int done = s.groups * s.n; done > 0; done -= L) {
      put(get(a6 + i), b8 + o);
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
    long b7 = s.out[7];
    long b8 = s.out[8];
    int bytes = 4 * s.n;
    for (int i = 0; i < bytes; i += 4 * L) {
      FloatVector g0 = get(a0 + i);
      FloatVector g1 = get(a1 + i);
      FloatVector g2 = get(a2 + i);
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
      even = add(g2, D2, g0).mul(ND);
      odd = g1.mul(D * ND);
      put(odd.add(even), b6 + i);
      put(odd.sub(even), b7 + i);
      put(g2, b8 + i);
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
    long a7 = s.in[7];
    long a8 = s.in[8];
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
      FloatVector plusD = get(a6 + i);
      FloatVector minusD = get(a7 + i);
      FloatVector a = plusA.sub(minusA).mul(NA);
      FloatVector b = plusB.sub(minusB).mul(NB);
      FloatVector c = plusC.sub(minusC).mul(NC);
      FloatVector d = plusD.sub(minusD).mul(ND);
      put(a.add(b).add(c.add(d)), b0 + i);
      put(add(a, A2, add(b, B2, add(c, C2, add(d, D2, get(a8 + i))))), b2 + i);
      a = plusA.add(minusA);
      b = plusB.add(minusB);
      c = plusC.add(minusC);
      d = plusD.add(minusD);
      put(add(a, A * NA, add(b, B * NB, add(c, C * NC, d.mul(D * ND)))), b1 + i);
    }
  }
}
