package dev.gatun.ffi;

import jcuda.driver.CUmodule;
import jcuda.driver.JCudaDriver;

/** Loaded code. */
public final class CudaModule implements AutoCloseable {
  private final CUmodule handle;

  CudaModule(CUmodule handle) {
    this.handle = handle;
  }

  /** The kernel of that name. */
  public CudaFunction function(String name) {
    CudaFunction.Handle function = new CudaFunction.Handle();
    CudaException.check(
        "cuModuleGetFunction " + name,
        () -> JCudaDriver.cuModuleGetFunction(function, handle, name));
    return new CudaFunction(name, function);
  }

  @Override
  public void close() {
    CudaException.check("cuModuleUnload", () -> JCudaDriver.cuModuleUnload(handle));
  }
}
