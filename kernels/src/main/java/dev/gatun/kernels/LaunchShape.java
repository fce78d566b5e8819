package dev.gatun.kernels;

/**
 * How a kernel is launched: blocks in the grid, threads in a block, dynamic shared memory.
 *
 * @param gridX blocks along x, at least 1
 * @param gridY blocks along y, 1 to 65,535
 * @param gridZ blocks along z, 1 to 65,535
 * @param blockX threads along x
 * @param blockY threads along y
 * @param blockZ threads along z
 * @param sharedBytes dynamic shared memory of a block
 */
public record LaunchShape(
    int gridX, int gridY, int gridZ, int blockX, int blockY, int blockZ, int sharedBytes) {

  private static final int MAX_GRID_YZ = 65_535;
  private static final int MAX_BLOCK_THREADS = 1_024;

  /** Checks the limits that hold on every device. */
  public LaunchShape {
    if (gridX < 1 || gridY < 1 || gridZ < 1 || gridY > MAX_GRID_YZ || gridZ > MAX_GRID_YZ) {
      throw new IllegalArgumentException(
          "grid (%d,%d,%d): x must be at least 1, y and z 1 to %d"
              .formatted(gridX, gridY, gridZ, MAX_GRID_YZ));
    }
    long threads = (long) blockX * blockY * blockZ;
    if (blockX < 1 || blockY < 1 || blockZ < 1 || threads > MAX_BLOCK_THREADS) {
      throw new IllegalArgumentException(
          "block (%d,%d,%d): each at least 1, at most %d threads"
              .formatted(blockX, blockY, blockZ, MAX_BLOCK_THREADS));
    }
    if (sharedBytes < 0) {
      throw new IllegalArgumentException("sharedBytes is " + sharedBytes);
    }
  }

  /** A grid and block along x alone, without dynamic shared memory. */
  public static LaunchShape linear(int gridX, int blockX) {
    return new LaunchShape(gridX, 1, 1, blockX, 1, 1, 0);
  }
}
