package dev.gatun.kernels;

import java.util.List;

/**
 * A kernel with its launch and its arguments, ready for a driver.
 *
 * @param module the .cu file
 * @param function the kernel in it
 * @param arguments each as the kernel's parameter lies in memory, little-endian
 */
public record KernelCall(
    String module, String function, LaunchShape shape, List<byte[]> arguments) {
  public KernelCall {
    arguments = List.copyOf(arguments);
  }

  @Override
  public String toString() {
    return function;
  }
}
