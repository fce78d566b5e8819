package dev.gatun.engine.cpu;

import dev.gatun.engine.Launch;

/** A matrix in pieces that fit a block: whole rows, or parts of one where a row is longer. */
final class Pieces {
  private Pieces() {}

  /** Rows {@code row} to {@code row + rows}, of each {@code width} elements from {@code column}. */
  interface Body {
    void run(int row, int column, int rows, int width);
  }

  /** Runs {@code body} on rows {@code from} to {@code to}, in order. */
  static void forEach(int from, int to, int channels, Body body) {
    int most = Math.max(1, Blocks.SIZE / channels);
    for (int row = from; row < to; row += most) {
      int rows = Math.min(most, to - row);
      for (int column = 0; column < channels; column += Blocks.SIZE) {
        body.run(row, column, rows, Math.min(Blocks.SIZE, channels - column));
      }
    }
  }

  /** Runs {@code body} on all rows, split between the workers. */
  static Launch launch(CpuDevice d, int rows, int channels, Body body) {
    return () ->
        d.workers()
            .forRange(
                rows,
                Math.max(1, Blocks.SIZE / channels),
                (from, to) -> forEach(from, to, channels, body));
  }
}
