package dev.gatun.engine.cuda;

import dev.gatun.engine.Buffer;
import dev.gatun.ffi.CudaFunction;
import dev.gatun.ffi.CudaParameters;
import dev.gatun.ffi.CudaStream;
import dev.gatun.kernels.LaunchShape;
import java.util.List;

/** One kernel with its arguments. */
final class KernelLaunch extends CudaLaunch {
  private final CudaFunction function;
  private final LaunchShape shape;
  private final CudaParameters parameters;
  private final List<Buffer> owned;

  /**
   * @param owned memory that ends with the launch
   */
  KernelLaunch(
      CudaDevice device,
      String description,
      List<Buffer> buffers,
      CudaFunction function,
      LaunchShape shape,
      CudaParameters parameters,
      List<Buffer> owned) {
    super(device, description, buffers);
    this.function = function;
    this.shape = shape;
    this.parameters = parameters;
    this.owned = owned;
  }

  @Override
  void enqueue(CudaStream stream) {
    function.launch(
        stream,
        shape.gridX(),
        shape.gridY(),
        shape.gridZ(),
        shape.blockX(),
        shape.blockY(),
        shape.blockZ(),
        shape.sharedBytes(),
        parameters);
  }

  @Override
  void release(boolean usable) {
    parameters.close();
    owned.forEach(Buffer::close);
  }
}
