package dev.gatun.engine;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.engine.Philox.Stream;
import java.util.Arrays;
import java.util.HashSet;
import java.util.Set;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

class PhiloxTest {
  private static int[] words(long seed, int c0, int c1, int c2, int c3) {
    int[] out = new int[4];
    new Philox(seed).words(c0, c1, c2, c3, out);
    return out;
  }

  /** The file kat_vectors of the Random123 distribution, lines philox4x32 10. */
  @Test
  void knownAnswersOfRandom123() {
    assertArrayEquals(
        new int[] {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}, words(0, 0, 0, 0, 0));
    assertArrayEquals(
        new int[] {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}, words(-1L, -1, -1, -1, -1));
    assertArrayEquals(
        new int[] {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1},
        words(0x299f31d0a4093822L, 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344));
  }

  @Test
  void aWordIsNamedByStreamSubsequenceAndIndex() {
    Philox philox = new Philox(42);
    for (Stream stream : Stream.values()) {
      for (long index : new long[] {0, 1, 5, 1L << 34, (1L << 34) + 3}) {
        int[] block = words(42, (int) (index >>> 2), (int) (index >>> 34), 9, stream.ordinal());
        assertEquals(block[(int) (index & 3)], philox.word(stream, 9, index));
      }
    }
  }

  @Test
  void seedsStreamsSubsequencesAndBlocksDoNotRepeatEachOther() {
    Set<Integer> seen = new HashSet<>();
    int drawn = 0;
    for (long seed : new long[] {0, 1, 1L << 32}) {
      Philox philox = new Philox(seed);
      for (Stream stream : Stream.values()) {
        for (int subsequence : new int[] {0, 1, -1}) {
          for (long index : new long[] {0, 1, 2, 3, 4, 8, 1L << 34, 1L << 40}) {
            seen.add(philox.word(stream, subsequence, index));
            drawn++;
          }
        }
      }
    }
    assertEquals(drawn, seen.size());
  }

  /** Streams are uncorrelated: the mean product of centred uniforms is 0 within five sigma. */
  @Test
  void streamsAreIndependent() {
    int n = 20_000;
    Philox philox = new Philox(3);
    for (Stream a : Stream.values()) {
      for (Stream b : Stream.values()) {
        double sum = 0;
        for (int i = 0; i < n; i++) {
          // a stream against itself is held against the next subsequence
          sum += (philox.uniform(a, 0, i) - 0.5) * (philox.uniform(b, a == b ? 1 : 0, i) - 0.5);
        }
        assertEquals(0, sum / n, 5.0 / 12 / Math.sqrt(n), a + " and " + b);
      }
    }
  }

  @Test
  void uniformsFillTheUnitIntervalEvenly() {
    int n = 200_000;
    int cells = 64;
    int[] counts = new int[cells];
    Philox philox = new Philox(17);
    for (int i = 0; i < n; i++) {
      float u = philox.uniform(Stream.SAMPLE, 2, i);
      assertTrue(u >= 0 && u < 1, "uniform " + u);
      assertEquals(u * 0x1p24f, Math.rint(u * 0x1p24f), "a multiple of 2^-24");
      counts[(int) (u * cells)]++;
    }
    double expected = (double) n / cells;
    double chiSquare =
        Arrays.stream(counts).mapToDouble(c -> (c - expected) * (c - expected) / expected).sum();
    // 63 degrees of freedom: mean 63, deviation 11.2
    assertEquals(63, chiSquare, 5 * 11.2);
  }

  @Test
  void wholeNumbersStayBelowTheBoundAndReachAll() {
    Philox philox = new Philox(5);
    int[] counts = new int[7];
    for (int i = 0; i < 70_000; i++) {
      counts[philox.below(7, Stream.TEST, 0, i)]++;
    }
    for (int count : counts) {
      assertEquals(10_000, count, 5 * Math.sqrt(10_000 * 6.0 / 7));
    }
    for (int i = 0; i < 1000; i++) {
      int v = philox.below(Integer.MAX_VALUE, Stream.TEST, 1, i);
      assertTrue(v >= 0 && v < Integer.MAX_VALUE);
      assertEquals(0, philox.below(1, Stream.TEST, 1, i));
    }
  }

  @Test
  void normalsHaveTheMomentsOfANormal() {
    int n = 100_000;
    double[] powers = new double[5];
    double inOne = 0;
    Philox philox = new Philox(11);
    for (int i = 0; i < n; i++) {
      double x = philox.normal(Stream.NOISE, 4, i);
      assertTrue(Double.isFinite(x));
      for (int k = 1; k < 5; k++) {
        powers[k] += Math.pow(x, k) / n;
      }
      inOne += Math.abs(x) < 1 ? 1.0 / n : 0;
    }
    double sigma = 1 / Math.sqrt(n);
    assertEquals(0, powers[1], 5 * sigma);
    assertEquals(1, powers[2], 5 * Math.sqrt(2) * sigma);
    assertEquals(0, powers[3], 5 * Math.sqrt(15) * sigma);
    assertEquals(3, powers[4], 5 * Math.sqrt(96) * sigma);
    assertEquals(0.6827, inOne, 5 * 0.5 * sigma);
  }

  @Test
  void normalsNeverMeetTheLogarithmOfZero() {
    // the smallest uniform is 2^-24, so that |x| <= sqrt(48 ln 2)
    Philox philox = new Philox(0);
    double bound = Math.sqrt(48 * Math.log(2)) + 1e-9;
    for (int i = 0; i < 50_000; i++) {
      assertTrue(Math.abs(philox.normal(Stream.INIT, 0, i)) <= bound);
    }
  }

  @Test
  void aPermutationHasEachNumberOnce() {
    for (int n : new int[] {0, 1, 2, 3, 1000}) {
      int[] order = new Philox(9).permutation(n, Stream.SHUFFLE, 3);
      assertArrayEquals(
          IntStream.range(0, n).toArray(), Arrays.stream(order).sorted().toArray(), "n=" + n);
      assertArrayEquals(order, new Philox(9).permutation(n, Stream.SHUFFLE, 3));
    }
    int[] first = new Philox(9).permutation(1000, Stream.SHUFFLE, 0);
    assertNotEquals(
        Arrays.toString(first),
        Arrays.toString(new Philox(9).permutation(1000, Stream.SHUFFLE, 1)));
    assertNotEquals(
        Arrays.toString(first),
        Arrays.toString(new Philox(10).permutation(1000, Stream.SHUFFLE, 0)));
  }

  /** Every order of four appears about as often as every other. */
  @Test
  void permutationsAreUnbiased() {
    int n = 24_000;
    int[] counts = new int[256];
    Philox philox = new Philox(1);
    for (int i = 0; i < n; i++) {
      int[] p = philox.permutation(4, Stream.SHUFFLE, i);
      counts[p[0] * 64 + p[1] * 16 + p[2] * 4 + p[3]]++;
    }
    int[] reached = Arrays.stream(counts).filter(c -> c > 0).toArray();
    assertEquals(24, reached.length);
    for (int count : reached) {
      assertEquals(1000, count, 5 * Math.sqrt(1000));
    }
  }

  /** Mean: Euler's constant; variance: pi^2 / 6. Never infinite, whatever the word. */
  @Test
  void gumbelNumbersHaveTheirMeanAndVariance() {
    Philox philox = new Philox(5);
    int n = 400_000;
    double sum = 0;
    double squares = 0;
    for (int i = 0; i < n; i++) {
      double g = philox.gumbel(Stream.LATENT, 3, i);
      assertTrue(Double.isFinite(g) && g > -2.9 && g < 17.4, "number " + i + ": " + g);
      sum += g;
      squares += g * g;
    }
    double mean = sum / n;
    // of n numbers the mean is off by 1.28 / sqrt(n), the variance by 3.5 / sqrt(n)
    assertEquals(0.5772156649, mean, 4 * 1.28 / Math.sqrt(n));
    assertEquals(Math.PI * Math.PI / 6, squares / n - mean * mean, 4 * 3.5 / Math.sqrt(n));
  }
}
