package dev.gatun.models.metrics;

import java.util.Arrays;

/** The k nearest targets of each query so far, nearest first; of equal ones the first. */
final class Nearest {
  private final int k;
  private final double[] squared; // (queries, k)
  private final int[] indices;

  Nearest(int queries, int k) {
    this.k = k;
    squared = new double[Math.multiplyExact(queries, k)];
    indices = new int[squared.length];
    Arrays.fill(squared, Double.POSITIVE_INFINITY);
    Arrays.fill(indices, -1);
  }

  /** Takes in the distances to targets from {@code first} on. */
  void offer(int query, int first, int count, double[] distances) {
    int start = query * k;
    int last = start + k - 1;
    double limit = squared[last];
    for (int j = 0; j < count; j++) {
      if (distances[j] < limit) {
        int at = last;
        for (; at > start && squared[at - 1] > distances[j]; at--) {
          squared[at] = squared[at - 1];
          indices[at] = indices[at - 1];
        }
        squared[at] = distances[j];
        indices[at] = first + j;
        limit = squared[last];
      }
    }
  }

  double squared(int query, int rank) {
    return squared[query * k + rank];
  }

  int index(int query, int rank) {
    return indices[query * k + rank];
  }
}
