package dev.gatun.engine.cpu;

/** Computes one step of a causal plan: a row of a value, or a pixel's group of channels. */
interface CausalRunner {
  void run(int row, int column, int group);

  /** Only what a library does of it. */
  default void bare(int row, int column, int group) {}
}
