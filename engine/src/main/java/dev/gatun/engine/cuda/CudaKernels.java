package dev.gatun.engine.cuda;

import dev.gatun.engine.DeviceException;
import dev.gatun.ffi.CudaContext;
import dev.gatun.ffi.CudaException;
import dev.gatun.ffi.CudaLibrary.Kind;
import dev.gatun.ffi.CudaLibrary.Properties;
import dev.gatun.ffi.CudaModule;
import dev.gatun.ffi.LibraryException;
import dev.gatun.ffi.Nvrtc;
import dev.gatun.ffi.NvrtcException;
import dev.gatun.kernels.KernelModule;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;

/**
 * Where a device's kernels come from: this build's or a folder of other ones; compiled ahead by
 * nvcc, or where that does not serve, by the machine's NVRTC at first use.
 *
 * <p>What runs where, by CUDA's rules of compatibility (versions are a toolkit's, a driver has the
 * one it came with, cuDriverGetVersion):
 *
 * <ul>
 *   <li>A cubin runs on the compute capability X.Y it was made for and on X.Z with Z >= Y, never on
 *       another X; one for sm_90a on 9.0 alone.
 *   <li>A driver loads cubins of every older major version and of all of its own, newer minor ones
 *       too; of a newer major version none. So our fatbins, which nvcc 13 makes, need a driver for
 *       13.0 (580), and NVRTC's major version may not exceed the driver's.
 *   <li>A driver compiles PTX of its own version and of older ones, not of a newer minor one. So
 *       PTX is made only for a GPU newer than NVRTC, and only by an NVRTC not newer than the
 *       driver.
 * </ul>
 */
final class CudaKernels {
  /** One of the modules: where it is built, all are. */
  static final String ANY = "group_norm";

  /** The oldest driver that loads what nvcc 13 makes. */
  static final int FATBIN_DRIVER = 13_000;

  private static final List<String> OPTIONS = List.of("-std=c++17", "-lineinfo");
  private static final int SM_90 = 90;

  private final Kind kind;
  private final Path folder;
  private final boolean compile;
  private final Properties gpu;
  private final int driver;

  /**
   * @param folder null for the kernels that were built with the engine
   */
  CudaKernels(Kind kind, Path folder) {
    this(kind, folder, false, null, 0);
  }

  private CudaKernels(Kind kind, Path folder, boolean compile, Properties gpu, int driver) {
    this.kind = kind;
    this.folder = folder;
    this.compile = compile;
    this.gpu = gpu;
    this.driver = driver;
  }

  /**
   * As the system properties say: {@code gatun.kernels.dir} names a folder, {@code
   * gatun.cuda.kernels=nvrtc} has kernels compiled here even where nvcc's would do.
   *
   * @throws DeviceException if gatun.cuda.kernels is neither nvcc nor nvrtc
   */
  static CudaKernels fromProperty(Kind kind) {
    String folder = System.getProperty("gatun.kernels.dir");
    String by = System.getProperty("gatun.cuda.kernels", "nvcc");
    if (!by.equals("nvcc") && !by.equals("nvrtc")) {
      throw new DeviceException(
          "property gatun.cuda.kernels is '" + by + "': expected nvcc or nvrtc");
    }
    return new CudaKernels(
        kind, folder == null ? null : Path.of(folder), by.equals("nvrtc"), null, 0);
  }

  /**
   * The same kernels for one GPU.
   *
   * @param driver the CUDA version of its driver, as cuDriverGetVersion numbers them
   */
  CudaKernels on(Properties gpu, int driver) {
    return new CudaKernels(kind, folder, compile, gpu, driver);
  }

  /**
   * Where they come from, in a few words.
   *
   * @throws DeviceException in one line if there are none for this GPU
   */
  String describe() {
    try {
      return described(module(ANY));
    } catch (UncheckedIOException e) {
      throw new DeviceException("the CUDA kernels cannot be read: " + e.getMessage(), e);
    }
  }

  private String described(KernelModule module) {
    if (kind == Kind.EMULATED) {
      built(module);
      return "built by g++";
    }
    String why = whyCompile(module);
    if (why == null) {
      return "built by nvcc";
    }
    Nvrtc nvrtc = nvrtc(module, why);
    return "compiled at first use by NVRTC "
        + version(nvrtc.version())
        + " for "
        + architecture(nvrtc.version(), nvrtc.architectures(), gpu, driver)
        + ", since "
        + why;
  }

  /**
   * Code the driver can load.
   *
   * @throws DeviceException in one line if there is none and none can be made
   */
  byte[] image(String name) {
    KernelModule module = module(name);
    try {
      String why = kind == Kind.EMULATED ? null : whyCompile(module);
      return why == null ? built(module) : compiled(module, nvrtc(module, why));
    } catch (UncheckedIOException e) {
      throw new DeviceException(
          "the CUDA kernels (" + name + ") cannot be read: " + e.getMessage(), e);
    }
  }

  /**
   * Loads a module into the current context.
   *
   * @throws KernelImageException if it has no code for this GPU and driver
   * @throws DeviceException as {@link #image}
   */
  CudaModule load(CudaContext context, String name) {
    byte[] image = image(name);
    try {
      return context.load(image);
    } catch (CudaException e) {
      if (!e.isMissingImage()) {
        throw e;
      }
      throw new KernelImageException(
          "the CUDA kernels ("
              + name
              + ") have no code for "
              + (gpu == null
                  ? "this GPU"
                  : gpu.name() + ", compute capability " + gpu.computeCapability())
              + ", that its driver takes: "
              + e.getMessage()
              + "; install a newer driver, or NVRTC of the driver's version and set"
              + " gatun.cuda.kernels=nvrtc",
          e);
    }
  }

  private KernelModule module(String name) {
    return folder == null ? KernelModule.of(name) : KernelModule.fromDirectory(folder, name);
  }

  /** Null where what was built does. */
  private String whyCompile(KernelModule module) {
    if (gpu == null) {
      return null;
    }
    if (compile) {
      return "gatun.cuda.kernels=nvrtc";
    }
    if (driver < FATBIN_DRIVER) {
      return "the driver is for CUDA " + version(driver) + " and nvcc's code for 13.0";
    }
    return module.fatbin().isPresent() ? null : "they were built without nvcc";
  }

  private byte[] built(KernelModule module) {
    Optional<byte[]> image = kind == Kind.REAL ? module.fatbin() : module.hostImage();
    return image.orElseThrow(() ->
        new DeviceException(
            "the CUDA kernels ("
                + module.name()
                + (folder == null ? "" : " in " + folder)
                + ") were not built "
                + (kind == Kind.REAL
                    ? "for GPUs: install nvcc of CUDA 13"
                    : "for the emulator: install g++")
                + " and build the module 'kernels' again"));
  }

  private Nvrtc nvrtc(KernelModule module, String why) {
    try {
      return Nvrtc.open(driver / 1000);
    } catch (LibraryException e) {
      throw new DeviceException(
          "the CUDA kernels ("
              + module.name()
              + ") need NVRTC, since "
              + why
              + "; NVRTC "
              + Math.min(driver / 1000, 13)
              + ": "
              + e.summary()
              + "; 'pip install "
              + wheel("nvidia-cuda-nvrtc", driver)
              + "', let gatun.nvrtc name the file"
              + (driver < FATBIN_DRIVER ? ", or install driver 580 or newer" : ""),
          e);
    }
  }

  private byte[] compiled(KernelModule module, Nvrtc nvrtc) {
    String architecture = architecture(nvrtc.version(), nvrtc.architectures(), gpu, driver);
    try {
      String source = module.source();
      Map<String, String> headers = new TreeMap<>(module.headers());
      List<String> parts = new ArrayList<>(List.of(source));
      headers.forEach((path, text) -> parts.addAll(List.of(path, text)));
      parts.addAll(OPTIONS);
      parts.addAll(List.of(architecture, "NVRTC " + nvrtc.version()));
      KernelCache cache = KernelCache.ofUser();
      String key = module.name() + "-" + architecture + "-" + KernelCache.key(parts);
      Optional<byte[]> known = cache.find(key);
      if (known.isPresent()) {
        return known.get();
      }
      byte[] image = nvrtc.compile(source, module.name() + ".cu", headers, architecture, OPTIONS);
      cache.store(key, image);
      return image;
    } catch (NvrtcException e) {
      throw new DeviceException(
          "the CUDA kernels ("
              + module.name()
              + ") do not compile for "
              + architecture
              + " with NVRTC "
              + version(nvrtc.version())
              + ": "
              + e.getMessage(),
          e);
    }
  }

  /**
   * What NVRTC is to compile for: machine code where it knows the GPU or an older one of the same
   * major capability, else PTX.
   *
   * @param known capabilities as 10 * major + minor, ascending
   * @throws DeviceException if no code of this NVRTC would run
   */
  static String architecture(int nvrtc, List<Integer> known, Properties gpu, int driver) {
    if (nvrtc / 1000 > driver / 1000) {
      throw new DeviceException(
          "NVRTC "
              + version(nvrtc)
              + " is too new for the driver for CUDA "
              + version(driver)
              + ": install NVRTC "
              + driver / 1000
              + " or a newer driver");
    }
    int wanted = 10 * gpu.major() + gpu.minor();
    int nearest = known.stream().filter(a -> a <= wanted).mapToInt(a -> a).max().orElse(0);
    if (nearest / 10 == gpu.major()) {
      return "sm_" + nearest + (nearest == SM_90 && wanted == SM_90 ? "a" : "");
    }
    if (nearest == 0 || nvrtc > driver) {
      throw new DeviceException(
          "NVRTC "
              + version(nvrtc)
              + " makes no code for "
              + gpu.name()
              + ", compute capability "
              + gpu.computeCapability()
              + ", and its driver for CUDA "
              + version(driver)
              + ": install the newest NVRTC "
              + driver / 1000);
    }
    return "compute_" + nearest;
  }

  /** NVIDIA's wheel for this driver: those of CUDA 12 have it in their name. */
  static String wheel(String name, int driver) {
    return driver < FATBIN_DRIVER ? name + "-cu12" : name;
  }

  static String version(int version) {
    return version / 1000 + "." + version % 1000 / 10;
  }
}
