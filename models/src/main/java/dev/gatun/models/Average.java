package dev.gatun.models;

/**
 * A mean.
 *
 * @param standardError how far it may be off: the deviation of the numbers over the root of how
 *     many there are; 0 of a single one
 */
public record Average(double mean, double standardError, int count) {
  /**
   * Of numbers.
   *
   * @throws IllegalArgumentException if there are none
   */
  public static Average of(double[] numbers) {
    if (numbers.length == 0) {
      throw new IllegalArgumentException("a mean of no numbers");
    }
    int count = numbers.length;
    double sum = 0;
    for (double x : numbers) {
      sum += x;
    }
    double mean = sum / count;
    double squares = 0;
    for (double x : numbers) {
      squares += (x - mean) * (x - mean);
    }
    return new Average(mean, Math.sqrt(squares / Math.max(1, count - 1) / count), count);
  }
}
