package dev.gatun.engine.cuda;

import dev.gatun.engine.Buffer;
import dev.gatun.ffi.CudaFunction;
import dev.gatun.ffi.CudaLaunchConfig;
import dev.gatun.ffi.CudaParameters;
import dev.gatun.ffi.CudaStream;
import dev.gatun.kernels.KernelCall;
import dev.gatun.kernels.LaunchShape;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.List;

/** An op as the kernels that compute it, one after another. */
final class KernelsLaunch extends CudaLaunch {
  /** A config only where blocks are to know of each other. */
  private record Kernel(
      CudaFunction function,
      LaunchShape shape,
      CudaParameters parameters,
      CudaLaunchConfig config) {}

  private final Arena arena = Arena.ofShared(); // whoever closes may be another thread
  private final List<Kernel> kernels = new ArrayList<>();
  private final List<String> functions;
  private final List<Buffer> owned;
  private final CudaDevice device;
  private final CudaStream own;
  private final boolean waits;

  /**
   * Called with the device entered.
   *
   * @param owned memory that ends with the launch, or now if this throws
   * @param waits whether a run is waited for
   */
  KernelsLaunch(
      CudaDevice device,
      String description,
      List<Buffer> buffers,
      List<KernelCall> calls,
      List<Buffer> owned,
      boolean waits) {
    super(device, description, buffers);
    this.device = device;
    this.own = device.onStream();
    this.owned = owned;
    this.waits = waits;
    this.functions = calls.stream().map(KernelCall::function).toList();
    try {
      for (KernelCall call : calls) {
        CudaFunction function = device.function(call.module(), call.function());
        kernels.add(
            new Kernel(
                function,
                call.shape(),
                new CudaParameters(arena, call.arguments()),
                config(device, call)));
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

  private CudaLaunchConfig config(CudaDevice device, KernelCall call) {
    boolean together = call.blocks() == KernelCall.Blocks.COOPERATIVE;
    if (!together && call.cluster() == 1) {
      return null;
    }
    LaunchShape shape = call.shape();
    CudaLaunchConfig config =
        new CudaLaunchConfig(
            arena,
            own == null ? device.stream() : own,
            shape.gridX(),
            shape.gridY(),
            shape.gridZ(),
            shape.blockX(),
            shape.blockY(),
            shape.blockZ(),
            shape.sharedBytes());
    if (together) {
      config.cooperative();
    }
    return call.cluster() == 1 ? config : config.cluster(call.cluster(), 1, 1);
  }

  @Override
  CudaStream stream() {
    return own;
  }

  @Override
  boolean waits() {
    return waits;
  }

  @Override
  void enqueue(CudaStream stream) {
    for (Kernel kernel : kernels) {
      LaunchShape shape = kernel.shape;
      if (kernel.config != null) {
        kernel.function.launchEx(kernel.config, kernel.parameters);
      } else {
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
      }
      device.check(this, kernel.function.name());
    }
  }

  @Override
  void release(boolean usable) {
    arena.close();
    owned.forEach(Buffer::close);
  }
}
