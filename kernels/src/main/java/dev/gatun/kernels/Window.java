package dev.gatun.kernels;

/**
 * Which part of a tensor [N,P,G,D] an element-wise kernel works on: N images of P positions, G
 * groups of D channels; a row is one group at one position.
 *
 * @param first device address of [times] i32, the first position by time, below 0 where there is
 *     nothing to do; 0 for the whole tensor
 * @param time device address of [1] i32
 * @param images N
 * @param count positions of an image at a time
 * @param positions P
 * @param groups G
 * @param group the one to work on, or -1 for all
 */
public record Window(
    long first, long time, int images, int count, int positions, int groups, int group) {

  /** All of a tensor. */
  public static Window whole(int images, int positions, int groups) {
    return new Window(0, 0, images, positions, positions, groups, -1);
  }

  /** All of a tensor of no particular structure: one row. */
  public static Window flat() {
    return whole(1, 1, 1);
  }

  int rows() {
    return Math.multiplyExact(Math.multiplyExact(images, count), group < 0 ? groups : 1);
  }

  Arguments members() {
    return new Arguments()
        .pointer(first)
        .pointer(time)
        .int32(rows())
        .int32(count)
        .int32(positions)
        .int32(groups)
        .int32(group);
  }
}
