package dev.gatun.kernels;

import dev.gatun.kernels.KernelCall.Blocks;

/** What a machine can do at most, {@code ceilings.cu}: only for measuring. */
public final class CeilingKernels {
  private static final String MODULE = "ceilings";
  private static final int THREADS = 256;
  private static final int EACH = 4 * 8;

  private CeilingKernels() {}

  /** y = x; x, y [elements] f32. */
  public static KernelCall copy(long x, long y, long elements) {
    int blocks = Math.toIntExact(Math.ceilDiv(elements, (long) EACH * THREADS));
    return new KernelCall(
        MODULE,
        "copy_f32",
        LaunchShape.linear(blocks, THREADS),
        new Arguments().pointer(x).pointer(y).int64(elements).toList());
  }

  /** count [1] u32 += 1. */
  public static KernelCall tick(long count) {
    return new KernelCall(
        MODULE, "tick", LaunchShape.linear(1, 1), new Arguments().pointer(count).toList());
  }

  /**
   * Barriers over the whole grid: {@code rounds} of them.
   *
   * @param values [2][blocks] u32, zero; the half {@code rounds % 2} then holds {@code rounds}
   * @param barrier [1] u32, zero
   */
  public static KernelCall gridRounds(long values, long barrier, int blocks, int rounds) {
    return new KernelCall(
        MODULE,
        "grid_rounds",
        LaunchShape.linear(blocks, THREADS),
        new Arguments().pointer(values).pointer(barrier).int32(rounds).toList(),
        Blocks.COOPERATIVE,
        1);
  }

  /**
   * Barriers over clusters of blocks: {@code rounds} of them.
   *
   * @param out [blocks] u32: {@code rounds}, and the number in its cluster of the block so many to
   *     the right
   */
  public static KernelCall clusterRounds(long out, int blocks, int cluster, int rounds) {
    return new KernelCall(
        MODULE,
        "cluster_rounds",
        LaunchShape.linear(blocks, THREADS),
        new Arguments().pointer(out).int32(rounds).toList(),
        Blocks.INDEPENDENT,
        cluster);
  }
}
