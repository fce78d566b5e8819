package dev.gatun.models.metrics;

/** Vectors of one size. */
interface Rows {
  int count();

  int size();

  /** Copies a vector to {@code to}, from {@code at} on. */
  void copy(int row, float[] to, int at);
}
