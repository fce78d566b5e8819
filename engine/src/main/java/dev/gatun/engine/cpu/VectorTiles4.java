package dev.gatun.engine.cpu;

import jdk.incubator.vector.FloatVector;

/**
 * F(4,3) on the Vector API. Points are 0, +-sqrt(1/2), +-sqrt(2) and infinity, by which rounding
 * errors are five to six times those of plain sums.
 */
final class VectorTiles4 extends VectorTiles {
  private static final float A = (float) Math.sqrt(0.5);
  private static final float B = (float) Math.sqrt(2);
  private static final float A3 = (float) (Math.sqrt(0.5) / 2); // A^3; A^2 = 1/2, B^2 = 2
  private static final float B3 = (float) (2 * Math.sqrt(2));

  // what the differences of a point to the others multiply to
  private static final float NA = -1 / 1.5f;
  private static final float NB = 1 / 6f;

  @Override
  public int tile() {
    return 4;
  }

  @Override
  public void pixels(Streams s) {
    long[] in = s.in;
    long[] out = s.out;
    long a0 = in[0];
    long a1 = in[1];
    long a2 = in[2];
    long a3 = in[3];
    long a4 = in[4];
    long a5 = in[5];
    long b0 = out[0];
    long b1 = out[1];
    long b2 = out[2];
    long b3 = out[3];
    long b4 = out[4];
    long b5 = out[5];
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
      put(d0.add(d4).sub(d2.mul(2.5f)), b0 + o);
      put(d1.add(d5).sub(d3.mul(2.5f)), b5 + o);
      FloatVector even = d4.sub(d2.mul(2));
      FloatVector odd = d3.mul(A).sub(d1.mul(B));
      put(even.add(odd), b1 + o);
      put(even.sub(odd), b2 + o);
      even = d4.sub(d2.mul(0.5f));
      odd = d3.mul(B).sub(d1.mul(A));
      put(even.add(odd), b3 + o);
      put(even.sub(odd), b4 + o);
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
    long[] in = s.in;
    long[] out = s.out;
    long a0 = in[0];
    long a1 = in[1];
    long a2 = in[2];
    long a3 = in[3];
    long a4 = in[4];
    long a5 = in[5];
    long b0 = out[0];
    long b1 = out[1];
    long b2 = out[2];
    long b3 = out[3];
    long i = 0;
    long o = 0;
    int left = s.n;
    for (int done = s.groups * s.n; done > 0; done -= L) {
      FloatVector m1 = get(a1 + i);
      FloatVector m2 = get(a2 + i);
      FloatVector m3 = get(a3 + i);
      FloatVector m4 = get(a4 + i);
      FloatVector even = m1.add(m2);
      FloatVector odd = m1.sub(m2);
      FloatVector even2 = m3.add(m4);
      FloatVector odd2 = m3.sub(m4);
      put(get(a0 + i).add(even).add(even2), b0 + o);
      put(odd.mul(A).add(odd2.mul(B)), b1 + o);
      put(even.mul(0.5f).add(even2.mul(2)), b2 + o);
      put(odd.mul(A3).add(odd2.mul(B3)).add(get(a5 + i)), b3 + o);
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
    long[] in = s.in;
    long[] out = s.out;
    long a0 = in[0];
    long a1 = in[1];
    long a2 = in[2];
    long a3 = in[3];
    long b0 = out[0];
    long b1 = out[1];
    long b2 = out[2];
    long b3 = out[3];
    long b4 = out[4];
    long b5 = out[5];
    long i = 0;
    long o = 0;
    int left = s.n;
    for (int done = s.groups * s.n; done > 0; done -= L) {
      FloatVector y0 = get(a0 + i);
      FloatVector y1 = get(a1 + i);
      FloatVector y2 = get(a2 + i);
      FloatVector y3 = get(a3 + i);
      put(y0, b0 + o);
      put(y3, b5 + o);
      FloatVector even = y0.add(y2.mul(0.5f));
      FloatVector odd = y1.mul(A).add(y3.mul(A3));
      put(even.add(odd), b1 + o);
      put(even.sub(odd), b2 + o);
      even = y0.add(y2.mul(2));
      odd = y1.mul(B).add(y3.mul(B3));
      put(even.add(odd), b3 + o);
      put(even.sub(odd), b4 + o);
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
    long[] in = s.in;
    long[] out = s.out;
    int bytes = 4 * s.n;
    for (int i = 0; i < bytes; i += 4 * L) {
      FloatVector g0 = get(in[0] + i);
      FloatVector g1 = get(in[1] + i);
      FloatVector g2 = get(in[2] + i);
      put(g0, out[0] + i);
      put(g2, out[5] + i);
      FloatVector even = g0.add(g2.mul(0.5f)).mul(NA);
      FloatVector odd = g1.mul(A * NA);
      put(even.add(odd), out[1] + i);
      put(even.sub(odd), out[2] + i);
      even = g0.add(g2.mul(2)).mul(NB);
      odd = g1.mul(B * NB);
      put(even.add(odd), out[3] + i);
      put(even.sub(odd), out[4] + i);
    }
  }

  @Override
  public void weightSlopes(Streams s) {
    long[] in = s.in;
    long[] out = s.out;
    int bytes = 4 * s.n;
    for (int i = 0; i < bytes; i += 4 * L) {
      FloatVector u1 = get(in[1] + i);
      FloatVector u2 = get(in[2] + i);
      FloatVector u3 = get(in[3] + i);
      FloatVector u4 = get(in[4] + i);
      FloatVector even = u1.add(u2).mul(NA);
      FloatVector even2 = u3.add(u4).mul(NB);
      put(get(in[0] + i).add(even).add(even2), out[0] + i);
      put(u1.sub(u2).mul(A * NA).add(u3.sub(u4).mul(B * NB)), out[1] + i);
      put(get(in[5] + i).add(even.mul(0.5f)).add(even2.mul(2)), out[2] + i);
    }
  }
}
