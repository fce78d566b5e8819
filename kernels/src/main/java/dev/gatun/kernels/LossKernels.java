package dev.gatun.kernels;

/**
 * Losses and their gradients: {@code cross_entropy.cu}, {@code logistic_mixture.cu}. What they, and
 * other kernels that meet labels, take as {@code refusal} is 16 bytes of device memory: a zero i32,
 * another, and the address of 4 i32 of host memory; see {@code common/refuse.cuh}.
 */
public final class LossKernels {
  private static final int THREADS = 128;
  private static final int ROWS = 4;

  private LossKernels() {}

  /** logits [M,K]; targets [M] u8; nats, logSumExp [M] f32, written. */
  public static KernelCall crossEntropy(
      Element type,
      long logits,
      long targets,
      long nats,
      long logSumExp,
      long refusal,
      int rows,
      int classes) {
    return new KernelCall(
        "cross_entropy",
        "softmax_cross_entropy_" + type.suffix(),
        shape(rows),
        new Arguments()
            .pointer(logits)
            .pointer(targets)
            .pointer(nats)
            .pointer(logSumExp)
            .pointer(refusal)
            .int32(rows)
            .int32(classes)
            .toList());
  }

  /** logits [M,K]; targets [M] u8; logSumExp [M] f32; dmean [1] f32; dlogits [M,K], written. */
  public static KernelCall crossEntropyBackward(
      Element type,
      Element gradient,
      long logits,
      long targets,
      long logSumExp,
      long dmean,
      long dlogits,
      long refusal,
      int rows,
      int classes) {
    return new KernelCall(
        "cross_entropy",
        "softmax_cross_entropy_backward_" + type.suffix() + "_" + gradient.suffix(),
        shape(rows),
        new Arguments()
            .pointer(logits)
            .pointer(targets)
            .pointer(logSumExp)
            .pointer(dmean)
            .pointer(dlogits)
            .pointer(refusal)
            .int32(rows)
            .int32(classes)
            .toList());
  }

  /** parameters [rows,P] f32; images [rows,C] u8; nats [rows] f32, written. */
  public static KernelCall mixture(
      long parameters,
      long images,
      long nats,
      long refusal,
      int rows,
      int colours,
      int mixtures,
      int levels) {
    return new KernelCall(
        "logistic_mixture",
        "logistic_mixture_" + colours + "_f32",
        shape(rows),
        new Arguments()
            .pointer(parameters)
            .pointer(images)
            .pointer(nats)
            .pointer(refusal)
            .int32(rows)
            .int32(mixtures)
            .int32(levels)
            .toList());
  }

  /** parameters [rows,P] f32; images [rows,C] u8; dmean [1] f32; the gradient [rows,P], written. */
  public static KernelCall mixtureBackward(
      Element gradient,
      long parameters,
      long images,
      long dmean,
      long dparameters,
      long refusal,
      int rows,
      int colours,
      int mixtures,
      int levels) {
    return new KernelCall(
        "logistic_mixture",
        "logistic_mixture_backward_" + colours + "_" + gradient.suffix(),
        shape(rows),
        new Arguments()
            .pointer(parameters)
            .pointer(images)
            .pointer(dmean)
            .pointer(dparameters)
            .pointer(refusal)
            .int32(rows)
            .int32(mixtures)
            .int32(levels)
            .toList());
  }

  private static LaunchShape shape(int rows) {
    return LaunchShape.linear(Math.ceilDiv(rows, ROWS), THREADS);
  }
}
