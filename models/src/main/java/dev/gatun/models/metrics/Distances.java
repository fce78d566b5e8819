package dev.gatun.models.metrics;

import java.util.stream.IntStream;

/**
 * All squared Euclidean distances between two sets of vectors. The differences themselves are
 * squared and summed, so that equal vectors are at 0 and the relative error is below 2^-16: 128
 * squares are summed in f32, sums of these in f64. Of whole numbers up to 255 the result is exact.
 */
final class Distances {
  private static final int TILE = 256; // targets, so that a loop over them is long
  private static final int CHUNK = 128; // 128 * 255^2 < 2^24
  private static final int GROUP = 32; // queries a task

  private Distances() {}

  /** Takes a query's distances to some of the targets. */
  @FunctionalInterface
  interface Visitor {
    /**
     * Called for each query from the first target to the last, by one thread at a time; for
     * different queries at the same time.
     *
     * @param squared the distances to targets {@code first} to {@code first + count - 1}; not kept
     */
    void accept(int query, int first, int count, double[] squared);
  }

  static void scan(Rows queries, Rows targets, Visitor visitor) {
    int size = targets.size();
    // an array a dimension: C2 vectorizes loops over arrays only where their indices are the same
    float[][] tile = new float[size][TILE];
    float[] row = new float[size];
    for (int first = 0; first < targets.count(); first += TILE) {
      int count = Math.min(TILE, targets.count() - first);
      for (int j = 0; j < count; j++) {
        targets.copy(first + j, row, 0);
        for (int d = 0; d < size; d++) {
          tile[d][j] = row[d];
        }
      }
      int from = first;
      IntStream.range(0, Math.ceilDiv(queries.count(), GROUP))
          .parallel()
          .forEach(group -> {
            float[] query = new float[size];
            float[] sums = new float[TILE];
            double[] squared = new double[TILE];
            int end = Math.min(queries.count(), (group + 1) * GROUP);
            for (int q = group * GROUP; q < end; q++) {
              queries.copy(q, query, 0);
              squares(query, tile, size, sums, squared);
              visitor.accept(q, from, count, squared);
            }
          });
    }
  }

  private static void squares(
      float[] query, float[][] tile, int size, float[] sums, double[] squared) {
    for (int j = 0; j < TILE; j++) {
      squared[j] = 0;
    }
    for (int from = 0; from < size; from += CHUNK) {
      int to = Math.min(size, from + CHUNK);
      for (int j = 0; j < TILE; j++) {
        sums[j] = 0;
      }
      int d = from;
      for (; d <= to - 4; d += 4) {
        add(query, d, tile, sums);
      }
      for (; d < to; d++) {
        float x = query[d];
        float[] t = tile[d];
        for (int j = 0; j < TILE; j++) {
          sums[j] += (x - t[j]) * (x - t[j]);
        }
      }
      for (int j = 0; j < TILE; j++) {
        squared[j] += sums[j];
      }
    }
  }

  /** Four dimensions at a time: of eight C2 makes no vectors. */
  private static void add(float[] query, int d, float[][] tile, float[] sums) {
    float q0 = query[d];
    float q1 = query[d + 1];
    float q2 = query[d + 2];
    float q3 = query[d + 3];
    float[] t0 = tile[d];
    float[] t1 = tile[d + 1];
    float[] t2 = tile[d + 2];
    float[] t3 = tile[d + 3];
    for (int j = 0; j < TILE; j++) {
      float d0 = q0 - t0[j];
      float d1 = q1 - t1[j];
      float d2 = q2 - t2[j];
      float d3 = q3 - t3[j];
      sums[j] += (d0 * d0 + d1 * d1) + (d2 * d2 + d3 * d3);
    }
  }
}
