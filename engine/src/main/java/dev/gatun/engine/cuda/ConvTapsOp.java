package dev.gatun.engine.cuda;

import dev.gatun.engine.Buffer;
import dev.gatun.engine.DType;
import dev.gatun.engine.Shape;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.op.Conv2d;
import dev.gatun.ffi.CudaFunction;
import dev.gatun.ffi.CudaParameters;
import dev.gatun.kernels.ConvTapsKernel;
import java.lang.foreign.MemorySegment;
import java.util.List;

/** {@link Conv2d} forward in f32, by {@code conv_taps_f32}. */
final class ConvTapsOp implements CudaOp<Conv2d> {
  // the kernel marks pixels past the last by a row this far outside every image
  private static final int MAX_OFFSET = 1 << 24;
  private static final int MAX_FILTERS = 65_535 * 64;

  @Override
  public String refuses(Conv2d op, List<TensorSpec> inputs) {
    DType type = inputs.getFirst().dtype();
    if (type != DType.F32) {
      return "no kernel for " + type.label() + " yet";
    }
    if (Conv2d.hasAddend(inputs)) {
      return "no kernel that adds to the result yet";
    }
    if (inputs.get(1).shape().dim(2) > MAX_FILTERS) {
      return "at most " + MAX_FILTERS + " filters";
    }
    boolean far =
        op.taps().list().stream()
            .anyMatch(t -> Math.abs(t.dy()) > MAX_OFFSET || Math.abs(t.dx()) > MAX_OFFSET);
    return far ? "a tap lies more than " + MAX_OFFSET + " pixels away" : null;
  }

  @Override
  public CudaLaunch prepare(
      CudaDevice device, Conv2d op, List<Tensor> inputs, List<Tensor> outputs) {
    Shape x = inputs.get(0).shape();
    Shape y = outputs.get(0).shape();
    int[] offsets = op.taps().toArray();
    CudaFunction function = device.function(ConvTapsKernel.MODULE, ConvTapsKernel.FUNCTION);
    Buffer taps = device.allocate((long) Integer.BYTES * offsets.length);
    try {
      device.upload(MemorySegment.ofArray(offsets), taps, 0);
      CudaParameters parameters =
          new CudaParameters(15)
              .pointer(inputs.get(0).address())
              .pointer(inputs.get(1).address())
              .pointer(inputs.size() == 3 ? inputs.get(2).address() : 0)
              .pointer(taps.address())
              .pointer(outputs.get(0).address())
              .int32(x.dim(0))
              .int32(x.dim(1))
              .int32(x.dim(2))
              .int32(x.dim(3))
              .int32(y.dim(3))
              .int32(op.taps().count())
              .int32(y.dim(1))
              .int32(y.dim(2))
              .int32(op.strideH())
              .int32(op.strideW());
      return new KernelLaunch(
          device,
          CudaLaunch.describe(op, inputs),
          CudaLaunch.buffersOf(inputs, outputs),
          function,
          ConvTapsKernel.launch(y.dim(0), y.dim(1), y.dim(2), y.dim(3)),
          parameters,
          List.of(taps));
    } catch (RuntimeException | Error e) {
      taps.close();
      throw e;
    }
  }
}
