package dev.gatun.engine.cuda;

import dev.gatun.engine.DeviceException;
import dev.gatun.ffi.CudaLibrary.Kind;
import dev.gatun.kernels.KernelModule;
import java.nio.file.Path;

/** Where a device's kernels come from: this build's, or a folder of other ones. */
final class CudaKernels {
  /** One of the modules: where it is built, all are. */
  static final String ANY = "group_norm";

  private final Kind kind;
  private final Path folder;

  /**
   * @param folder null for the kernels that were built with the engine
   */
  CudaKernels(Kind kind, Path folder) {
    this.kind = kind;
    this.folder = folder;
  }

  /** As the system property {@code gatun.kernels.dir} says, if it says anything. */
  static CudaKernels fromProperty(Kind kind) {
    String folder = System.getProperty("gatun.kernels.dir");
    return new CudaKernels(kind, folder == null ? null : Path.of(folder));
  }

  /**
   * Code the driver can load.
   *
   * @throws DeviceException if it was not built
   */
  byte[] image(String name) {
    KernelModule module =
        folder == null ? KernelModule.of(name) : KernelModule.fromDirectory(folder, name);
    return (kind == Kind.REAL ? module.fatbin() : module.hostImage())
        .orElseThrow(() ->
            new DeviceException(
                "the CUDA kernels ("
                    + name
                    + (folder == null ? "" : " in " + folder)
                    + ") were not built "
                    + (kind == Kind.REAL
                        ? "for GPUs: install nvcc of CUDA 13"
                        : "for the emulator: install g++")
                    + " and build the module 'kernels' again"));
  }
}
