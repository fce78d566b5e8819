package dev.gatun.engine;

/**
 * Philox4x32-10: a counter turned into 128 random bits under a key. The same (seed, stream, index)
 * gives the same bits everywhere, whatever was drawn before and on however many threads.
 *
 * @see "Salmon et al. 2011, Parallel Random Numbers: As Easy as 1, 2, 3, section 3.3"
 */
public final class Philox {
  private static final int M0 = 0xD2511F53;
  private static final int M1 = 0xCD9E8D57;
  private static final int W0 = 0x9E3779B9;
  private static final int W1 = 0xBB67AE85;

  private final int key0;
  private final int key1;

  public Philox(long seed) {
    key0 = (int) seed;
    key1 = (int) (seed >>> 32);
  }

  /** Streams of one seed that are independent of each other; a number of its own for each use. */
  public enum Stream {
    INIT,
    SHUFFLE,
    SAMPLE,
    DROPOUT,
    NOISE,
    TEST,
    TIMES,
    FLIP,
    LABELS,
    SAMPLER,
    LATENT,
    POINTS
  }

  /** The 4 words of counter (c0,c1,c2,c3), written to {@code out}. */
  public void words(int c0, int c1, int c2, int c3, int[] out) {
    int k0 = key0;
    int k1 = key1;
    for (int round = 0; round < 10; round++) {
      long p0 = (M0 & 0xFFFFFFFFL) * (c0 & 0xFFFFFFFFL);
      long p1 = (M1 & 0xFFFFFFFFL) * (c2 & 0xFFFFFFFFL);
      int n0 = (int) (p1 >>> 32) ^ c1 ^ k0;
      int n2 = (int) (p0 >>> 32) ^ c3 ^ k1;
      c1 = (int) p1;
      c3 = (int) p0;
      c0 = n0;
      c2 = n2;
      k0 += W0;
      k1 += W1;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
  }

  /** Word {@code index & 3} of block {@code index >> 2} of a stream. */
  public int word(Stream stream, int subsequence, long index) {
    int[] out = new int[4];
    long block = index >>> 2;
    words((int) block, (int) (block >>> 32), subsequence, stream.ordinal(), out);
    return out[(int) (index & 3)];
  }

  /** Uniform in [0,1), a multiple of 2^-24. */
  public float uniform(Stream stream, int subsequence, long index) {
    return (word(stream, subsequence, index) >>> 8) * 0x1p-24f;
  }

  /** Uniform in 0..bound-1, by multiplication; the bias is below bound / 2^32. */
  public int below(int bound, Stream stream, int subsequence, long index) {
    return (int) (((word(stream, subsequence, index) & 0xFFFFFFFFL) * bound) >>> 32);
  }

  /** Standard normal, by Box and Muller from words 2*index and 2*index+1. */
  public double normal(Stream stream, int subsequence, long index) {
    double u = ((word(stream, subsequence, 2 * index) >>> 8) + 1) * 0x1p-24;
    double v = (word(stream, subsequence, 2 * index + 1) >>> 8) * 0x1p-24;
    return Math.sqrt(-2 * Math.log(u)) * Math.cos(2 * Math.PI * v);
  }

  /** Standard Gumbel, -log(-log(u)) of u in the middles of 2^24 intervals: never infinite. */
  public double gumbel(Stream stream, int subsequence, long index) {
    double u = ((word(stream, subsequence, index) >>> 8) + 0.5) * 0x1p-24;
    return -Math.log(-Math.log(u));
  }

  /** The numbers 0..n-1 in an order drawn from a stream (Fisher and Yates). */
  public int[] permutation(int n, Stream stream, int subsequence) {
    int[] order = new int[n];
    for (int i = 0; i < n; i++) {
      order[i] = i;
    }
    for (int i = n - 1; i > 0; i--) {
      int j = below(i + 1, stream, subsequence, i);
      int swap = order[i];
      order[i] = order[j];
      order[j] = swap;
    }
    return order;
  }
}
