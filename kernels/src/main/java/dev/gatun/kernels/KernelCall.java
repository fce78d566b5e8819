package dev.gatun.kernels;

import java.util.List;

/**
 * A kernel with its launch and its arguments, ready for a driver.
 *
 * @param module the .cu file
 * @param function the kernel in it
 * @param arguments each as the kernel's parameter lies in memory, little-endian
 * @param blocks whether they wait for each other
 * @param cluster blocks of a cluster, along x; 1 for none
 */
public record KernelCall(
    String module,
    String function,
    LaunchShape shape,
    List<byte[]> arguments,
    Blocks blocks,
    int cluster) {
  /** What the blocks of a grid may expect of each other. */
  public enum Blocks {
    INDEPENDENT,
    /** All run at once, so that they can wait for each other. */
    COOPERATIVE
  }

  public KernelCall {
    arguments = List.copyOf(arguments);
  }

  /** Of blocks that know nothing of each other. */
  public KernelCall(String module, String function, LaunchShape shape, List<byte[]> arguments) {
    this(module, function, shape, arguments, Blocks.INDEPENDENT, 1);
  }

  @Override
  public String toString() {
    return function;
  }
}
