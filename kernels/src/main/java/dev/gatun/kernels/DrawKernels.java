package dev.gatun.kernels;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/** Pixels drawn from what a network says of them, {@code draw.cu}. */
public final class DrawKernels {
  /** As many levels, or components of a mixture, as a draw can choose from. */
  public static final int MOST_CHOICES = 512;

  /** Bytes of a request. */
  public static final int REQUEST_BYTES = 40;

  private static final String MODULE = "draw";
  private static final int THREADS = 128;
  private static final int IMAGES = 4;

  private DrawKernels() {}

  /**
   * What changes from run to run, as it lies in device memory.
   *
   * @param given device address of [count,P,C] u8, or 0
   * @param givenPositions of each image that are kept
   * @param first number of the batch's first image
   * @param count images of the batch that are wanted
   * @param stream of the random numbers
   */
  public static byte[] request(
      long seed,
      double temperature,
      long given,
      int givenPositions,
      int first,
      int count,
      int stream) {
    return ByteBuffer.allocate(REQUEST_BYTES)
        .order(ByteOrder.LITTLE_ENDIAN)
        .putLong(seed)
        .putDouble(temperature)
        .putLong(given)
        .putInt(givenPositions)
        .putInt(first)
        .putInt(count)
        .putInt(stream)
        .array();
  }

  /** Draws colour {@code window.group()}; parameters [N,P,C*levels], images [N,P,C] u8. */
  public static KernelCall categorical(
      Element type,
      long parameters,
      long request,
      long images,
      int colours,
      int levels,
      Window window) {
    return new KernelCall(
        MODULE,
        "draw_categorical_" + type.suffix(),
        LaunchShape.linear(Math.ceilDiv(window.images(), IMAGES), THREADS),
        new Arguments()
            .pointer(parameters)
            .pointer(request)
            .pointer(images)
            .int32(colours)
            .int32(levels)
            .struct(window.members())
            .toList());
  }

  /** Draws all colours; parameters [N,P,3M] or [N,P,10M], images [N,P,C] u8. */
  public static KernelCall mixture(
      Element type,
      long parameters,
      long request,
      long images,
      int colours,
      int mixtures,
      int levels,
      Window window) {
    return new KernelCall(
        MODULE,
        "draw_mixture_" + type.suffix(),
        LaunchShape.linear(Math.ceilDiv(window.images(), IMAGES), THREADS),
        new Arguments()
            .pointer(parameters)
            .pointer(request)
            .pointer(images)
            .int32(colours)
            .int32(mixtures)
            .int32(levels)
            .struct(window.members())
            .toList());
  }

  /** to [N,D] f32 = one position and group of from [N,P,G,D]. */
  public static KernelCall takePosition(
      Element type, long from, long to, int channels, Window window) {
    long elements = (long) window.rows() * channels;
    return new KernelCall(
        MODULE,
        "take_position_" + type.suffix(),
        LaunchShape.linear(Math.toIntExact(Math.ceilDiv(elements, THREADS)), THREADS),
        new Arguments()
            .pointer(from)
            .pointer(to)
            .int32(channels)
            .struct(window.members())
            .toList());
  }

  /** One position of images [N,P,C] u8 = from [N,C] u8. */
  public static KernelCall putPosition(long from, long images, int colours, Window window) {
    long elements = (long) window.rows() * colours;
    return new KernelCall(
        MODULE,
        "put_position_u8",
        LaunchShape.linear(Math.toIntExact(Math.ceilDiv(elements, THREADS)), THREADS),
        new Arguments()
            .pointer(from)
            .pointer(images)
            .int32(colours)
            .struct(window.members())
            .toList());
  }

  /** time [1] i32 += 1. */
  public static KernelCall advance(long time) {
    return new KernelCall(
        MODULE, "advance_time", LaunchShape.linear(1, 1), new Arguments().pointer(time).toList());
  }
}
