package dev.gatun.engine.cuda;

import dev.gatun.engine.DType;
import dev.gatun.engine.Shape;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.op.GroupNorm;
import dev.gatun.ffi.CudaFunction;
import dev.gatun.ffi.CudaParameters;
import dev.gatun.kernels.GroupNormKernel;
import java.util.List;

/** {@link GroupNorm} forward in f32, by {@code group_norm_f32}. */
final class GroupNormOp implements CudaOp<GroupNorm> {
  private static final int MAX_GRID_Y = 65_535;

  @Override
  public String refuses(GroupNorm op, List<TensorSpec> inputs) {
    if (inputs.getFirst().dtype() != DType.F32) {
      return "no kernel for " + inputs.getFirst().dtype().label() + " yet";
    }
    return inputs.getFirst().shape().dim(0) > MAX_GRID_Y
        ? "at most " + MAX_GRID_Y + " images at once"
        : null;
  }

  @Override
  public CudaLaunch prepare(
      CudaDevice device, GroupNorm op, List<Tensor> inputs, List<Tensor> outputs) {
    Shape x = inputs.get(0).shape();
    int pixels = x.dim(1) * x.dim(2);
    CudaFunction function = device.function(GroupNormKernel.MODULE, GroupNormKernel.FUNCTION);
    CudaParameters parameters =
        new CudaParameters(10)
            .pointer(inputs.get(0).address())
            .pointer(inputs.get(1).address())
            .pointer(inputs.get(2).address())
            .pointer(outputs.get(0).address())
            .pointer(outputs.get(1).address())
            .pointer(outputs.get(2).address())
            .int32(pixels)
            .int32(x.dim(3))
            .int32(op.groups())
            .float32(op.epsilon());
    return new KernelLaunch(
        device,
        CudaLaunch.describe(op, inputs),
        CudaLaunch.buffersOf(inputs, outputs),
        function,
        GroupNormKernel.launch(x.dim(0), op.groups()),
        parameters,
        List.of());
  }
}
