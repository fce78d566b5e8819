package dev.gatun.engine.cuda;

import dev.gatun.engine.Buffer;
import dev.gatun.ffi.CudaFunction;
import dev.gatun.ffi.CudaParameters;
import dev.gatun.ffi.CudaStream;
import dev.gatun.kernels.KernelCall;
import dev.gatun.kernels.LaunchShape;
import java.util.ArrayList;
import java.util.List;

/** An op as the kernels that compute it, one after another. */
final class KernelsLaunch extends CudaLaunch {
  private record Kernel(CudaFunction function, LaunchShape shape, CudaParameters parameters) {}

  private final List<Kernel> kernels = new ArrayList<>();
  private final List<String> functions;
  private final List<Buffer> owned;
  private final CudaDevice device;
  private final CudaStream own;

  /**
   * Called with the device entered.
   *
   * @param owned memory that ends with the launch, or now if this throws
   */
  KernelsLaunch(
      CudaDevice device,
      String description,
      List<Buffer> buffers,
      List<KernelCall> calls,
      List<Buffer> owned) {
    super(device, description, buffers);
    this.device = device;
    this.own = device.onStream();
    this.owned = owned;
    this.functions = calls.stream().map(KernelCall::function).toList();
    try {
      for (KernelCall call : calls) {
        kernels.add(
            new Kernel(
                device.function(call.module(), call.function()),
                call.shape(),
                new CudaParameters(call.arguments())));
      }
    } catch (RuntimeException | Error e) {
      release(true);
      throw e;
    }
  }

  /** The kernels' names, in the order of their launches. */
  List<String> functions() {
    return functions;
  }

  @Override
  CudaStream stream() {
    return own;
  }

  @Override
  void enqueue(CudaStream stream) {
    for (Kernel kernel : kernels) {
      LaunchShape shape = kernel.shape;
      kernel.function.launch(
          stream,
          shape.gridX(),
          shape.gridY(),
          shape.gridZ(),
          shape.blockX(),
          shape.blockY(),
          shape.blockZ(),
          shape.sharedBytes(),
          kernel.parameters);
      device.check(this, kernel.function.name());
    }
  }

  @Override
  void release(boolean usable) {
    kernels.forEach(kernel -> kernel.parameters.close());
    owned.forEach(Buffer::close);
  }
}
