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
    float[] tile = new float[size * TILE]; // (D, TILE)
    float[] row = new float[size];
    for (int first = 0; first < targets.count(); first += TILE) {
      int count = Math.min(TILE, targets.count() - first);
      for (int j = 0; j < count; j++) {
        targets.copy(first + j, row, 0);
        for (int d = 0; d < size; d++) {
          tile[d * TILE + j] = row[d];
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
      float[] query, float[] tile, int size, float[] sums, double[] squared) {
    for (int j = 0; j < TILE; j++) {
      squared[j] = 0;
    }
    for (int from = 0; from < size; from += CHUNK) {
      int to = Math.min(size, from + CHUNK);
      for (int j = 0; j < TILE; j++) {
        sums[j] = 0;
      }
      int d = from;
      for (; d <= to - 8; d += 8) {
        add(query, d, tile, sums);
      }
      for (; d < to; d++) {
        float x = query[d];
        for (int j = 0; j < TILE; j++) {
          float difference = x - tile[d * TILE + j];
          sums[j] += difference * difference;
        }
      }
      for (int j = 0; j < TILE; j++) {
        squared[j] += sums[j];
      }
    }
  }

  /** Eight dimensions at a time: the sums are then loaded and stored an eighth as often. */
  private static void add(float[] query, int d, float[] tile, float[] sums) {
    float q0 = query[d];
    float q1 = query[d + 1];
    float q2 = query[d + 2];
    float q3 = query[d + 3];
    float q4 = query[d + 4];
    float q5 = query[d + 5];
    float q6 = query[d + 6];
    float q7 = query[d + 7];
    int at = d * TILE;
    for (int j = 0; j < TILE; j++) {
      float d0 = q0 - tile[at + j];
      float d1 = q1 - tile[at + TILE + j];
      float d2 = q2 - tile[at + 2 * TILE + j];
      float d3 = q3 - tile[at + 3 * TILE + j];
      float d4 = q4 - tile[at + 4 * TILE + j];
      float d5 = q5 - tile[at + 5 * TILE + j];
      float d6 = q6 - tile[at + 6 * TILE + j];
      float d7 = q7 - tile[at + 7 * TILE + j];
      sums[j] +=
          ((d0 * d0 + d1 * d1) + (d2 * d2 + d3 * d3)) + ((d4 * d4 + d5 * d5) + (d6 * d6 + d7 * d7));
    }
  }
}
