package dev.gatun.engine.cuda;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * What a kernel says of data that it cannot use: see {@code common/refuse.cuh}.
 *
 * @param kind what was wrong
 * @param place in which row, pixel or image
 */
record Refusal(int kind, int place, int value, int limit) {
  static final long BYTES = 16;

  /** What the device has of it. */
  static final long MARK_BYTES = 16;

  /**
   * The device's part as it is while nothing has been refused.
   *
   * @param words address of the words, for kernels
   */
  static MemorySegment mark(long words) {
    return MemorySegment.ofArray(new long[] {0, words});
  }

  /** What has been said since this was last asked, or null. */
  static Refusal take(MemorySegment words) {
    int kind = words.get(ValueLayout.JAVA_INT, 0);
    if (kind == 0) {
      return null;
    }
    Refusal found =
        new Refusal(
            kind,
            words.get(ValueLayout.JAVA_INT, 4),
            words.get(ValueLayout.JAVA_INT, 8),
            words.get(ValueLayout.JAVA_INT, 12));
    words.fill((byte) 0);
    return found;
  }

  /** One line, as other devices say it. */
  String message() {
    return switch (kind) {
      case 1 ->
          "softmax_cross_entropy: target %d in row %d, but there are %d classes"
              .formatted(value, place, limit);
      case 2 ->
          "logistic_mixture: value %d in pixel %d, but there are %d levels"
              .formatted(value, place, limit);
      case 3 ->
          "add_bias: label %d of image %d, but the table has %d rows"
              .formatted(value, place, limit);
      case 4 -> "dropout: step must be a whole number below 2^31";
      case 5 -> "diffuse: step must be a whole number below 2^31";
      case 7 -> "diffusion_times: step must be a whole number below 2^31";
      case 6 -> "denoise_step: step %d, but the table has %d rows".formatted(value, limit);
      case 8 ->
          "variational_bound: the time of image %d is not a whole number from 1 to %d"
              .formatted(place, limit);
      case 9 -> "gaussian_sample: step must be a whole number below 2^31";
      case 10 -> "kl_objective: step must be a whole number below 2^31";
      case 11 -> "gumbel_softmax: step must be a whole number below 2^31";
      case 12 -> "categorical_sample: step must be a whole number below 2^31";
      case 13 ->
          "code_vectors: index %d at position %d, but the codebook has %d codes"
              .formatted(value, place, limit);
      case 14 ->
          "codebook_sums: index %d at position %d, but the codebook has %d codes"
              .formatted(value, place, limit);
      case 15 ->
          "image_likelihood: value %d in image %d, but there are %d levels"
              .formatted(value, place, limit);
      default -> "a kernel refused its data (%d: %d, %d, %d)".formatted(kind, place, value, limit);
    };
  }
}
