package dev.gatun.engine.cpu;

import dev.gatun.engine.Backend;
import dev.gatun.engine.Device;
import dev.gatun.engine.DeviceException;
import dev.gatun.ffi.Dnnl;
import dev.gatun.ffi.LibraryException;
import java.util.List;

/** The host processor: oneDNN for convolutions, Java for the rest. */
public final class CpuBackend implements Backend {
  @Override
  public List<DeviceInfo> probe() {
    try {
      return List.of(
          new DeviceInfo(
              "cpu",
              List.of(
                  CpuDevice.processor(),
                  "oneDNN " + Dnnl.version() + ", " + Dnnl.isa() + ": " + Dnnl.library().file(),
                  Loops.best().description()),
              null));
    } catch (LibraryException e) {
      return List.of(new DeviceInfo("cpu", List.of(CpuDevice.processor()), e.getMessage()));
    }
  }

  @Override
  public boolean handles(String spec) {
    return spec.equals("cpu");
  }

  @Override
  public Device open(String spec) {
    try {
      return new CpuDevice();
    } catch (LibraryException e) {
      throw new DeviceException("cannot open cpu: " + e.getMessage(), e);
    }
  }

  @Override
  public int priority() {
    return 0;
  }
}
