package dev.gatun.engine.cuda;

import dev.gatun.engine.Backend;
import dev.gatun.engine.Device;
import dev.gatun.engine.DeviceException;
import dev.gatun.ffi.CublasLt;
import dev.gatun.ffi.CudaException;
import dev.gatun.ffi.CudaLibrary;
import dev.gatun.ffi.CudaLibrary.Kind;
import dev.gatun.ffi.CudaLibrary.Properties;
import dev.gatun.ffi.LibraryException;
import dev.gatun.ffi.Nvrtc;
import dev.gatun.kernels.KernelModule;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/** GPUs through the CUDA driver ({@code cuda}, {@code cuda:N}), and the emulator of one. */
public final class CudaBackend implements Backend {
  /** The oldest driver whose NVRTC is of use; see {@link CudaKernels} for what it then takes. */
  private static final int MIN_DRIVER = 12_000;

  private static final int MIN_MAJOR = 8;
  private static final String EMULATED = "emulated";

  /** For {@link java.util.ServiceLoader}. */
  public CudaBackend() {}

  @Override
  public int priority() {
    return 100;
  }

  @Override
  public boolean handles(String spec) {
    return spec.equals(EMULATED) || spec.equals("cuda") || spec.matches("cuda:\\d{1,4}");
  }

  @Override
  public Device open(String spec) {
    return open(spec, CudaDevice.Convolution.fromProperty());
  }

  /** As {@link #open(String)}, with a choice of what computes convolutions. */
  public CudaDevice open(String spec, CudaDevice.Convolution convolution) {
    Kind kind = spec.equals(EMULATED) ? Kind.EMULATED : Kind.REAL;
    return open(spec, convolution, CudaKernels.fromProperty(kind));
  }

  CudaDevice open(String spec, CudaDevice.Convolution convolution, CudaKernels kernels) {
    boolean emulated = spec.equals(EMULATED);
    int ordinal = spec.startsWith("cuda:") ? Integer.parseInt(spec.substring(5)) : 0;
    String name = emulated ? EMULATED : "cuda:" + ordinal;
    try {
      String refused = CudaLibrary.refuses(emulated ? Kind.EMULATED : Kind.REAL);
      if (refused != null) {
        throw new DeviceException("cannot open " + name + ": " + refused);
      }
      CudaLibrary library = driver(emulated ? Kind.EMULATED : Kind.REAL, name);
      requireDriver(library.version());
      int count = library.deviceCount();
      if (ordinal >= count) {
        throw new DeviceException(
            "there is no " + name + ": the driver has " + count + (count == 1 ? " GPU" : " GPUs"));
      }
      Properties properties = library.device(ordinal);
      requireCapability(properties);
      CudaKernels ready = kernels.on(properties, library.version());
      ready.describe();
      if (convolution == CudaDevice.Convolution.CUDNN) {
        library.openDnn();
      }
      return new CudaDevice(
          name, library, ordinal, describe(library, properties), ready, convolution);
    } catch (LibraryException | CudaException e) {
      throw new DeviceException("cannot open " + name + ": " + e.getMessage(), e);
    }
  }

  private static CudaLibrary driver(Kind kind, String name) {
    try {
      return CudaLibrary.open(kind);
    } catch (LibraryException | CudaException e) {
      throw new DeviceException(
          "cannot open "
              + name
              + ": "
              + e.getMessage()
              + (kind == Kind.EMULATED
                  ? ""
                  : "; install NVIDIA's driver 580 or newer, or use --device cpu"),
          e);
    }
  }

  private static String describe(CudaLibrary library, Properties properties) {
    return library.kind() == Kind.EMULATED
        ? "CUDA emulator, kernels run on the host (" + library.file().file() + ")"
        : properties.name()
            + ", compute capability "
            + properties.computeCapability()
            + ", "
            + CudaMemory.size(properties.totalBytes())
            + ", driver for CUDA "
            + CudaKernels.version(library.version());
  }

  /** What nvcc made of a .cu file with the build; empty where it was not there. */
  public static Optional<byte[]> fatbin(String module) {
    return KernelModule.of(module).fatbin();
  }

  /** As cuDriverGetVersion numbers them. */
  static void requireDriver(int version) {
    if (version < MIN_DRIVER) {
      throw new DeviceException(
          "the NVIDIA driver is for CUDA "
              + CudaKernels.version(version)
              + " and too old: install driver 580 or newer, which is for CUDA 13.0");
    }
  }

  static void requireCapability(Properties properties) {
    if (properties.major() < MIN_MAJOR) {
      throw new DeviceException(
          properties.name()
              + " has compute capability "
              + properties.computeCapability()
              + ", kernels need 8.0 (Ampere) or newer: use --device cpu");
    }
  }

  @Override
  public List<DeviceInfo> probe() {
    List<DeviceInfo> found = new ArrayList<>();
    try {
      found.addAll(probeReal());
    } catch (RuntimeException | LinkageError e) {
      found.add(new DeviceInfo("cuda", List.of(), oneLine(e)));
    }
    try {
      found.add(probeEmulator());
    } catch (RuntimeException | LinkageError e) {
      found.add(new DeviceInfo(EMULATED, List.of(), oneLine(e)));
    }
    return List.copyOf(found);
  }

  private static List<DeviceInfo> probeReal() {
    String refused = CudaLibrary.refuses(Kind.REAL);
    if (refused != null) {
      return List.of(new DeviceInfo("cuda", List.of("driver: not looked for"), refused));
    }
    CudaLibrary library;
    try {
      library = CudaLibrary.open(Kind.REAL);
    } catch (LibraryException e) {
      return List.of(
          new DeviceInfo(
              "cuda",
              List.of("driver: libcuda.so.1 " + e.summary()),
              "no CUDA driver here: install NVIDIA's driver 580 or newer"));
    } catch (CudaException e) {
      return List.of(
          new DeviceInfo("cuda", List.of(), "the CUDA driver does not start: " + e.getMessage()));
    }
    String driver =
        "driver: for CUDA "
            + CudaKernels.version(library.version())
            + ", "
            + library.file().file()
            + " ("
            + library.file().place()
            + ")";
    int count = library.deviceCount();
    if (count == 0) {
      return List.of(
          new DeviceInfo("cuda", List.of(driver), "the driver finds no GPU: see nvidia-smi"));
    }
    List<String> libraries =
        List.of(describeNvrtc(library), describeCublasLt(library), describeDnn(library));
    List<DeviceInfo> found = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      Properties properties = library.device(i);
      List<String> description = new ArrayList<>(List.of(describe(library, properties), driver));
      String problem = null;
      try {
        requireDriver(library.version());
        requireCapability(properties);
        CudaKernels kernels = CudaKernels.fromProperty(Kind.REAL).on(properties, library.version());
        description.add("kernels: " + kernels.describe());
      } catch (DeviceException e) {
        problem = e.getMessage();
      }
      description.addAll(libraries);
      found.add(new DeviceInfo("cuda:" + i, description, problem));
    }
    return found;
  }

  private static String describeNvrtc(CudaLibrary library) {
    try {
      Nvrtc nvrtc = Nvrtc.open(library.version() / 1000);
      return "NVRTC: " + CudaKernels.version(nvrtc.version()) + ", " + nvrtc.library().file();
    } catch (LibraryException e) {
      return without(
          "NVRTC",
          library.version() < CudaKernels.FATBIN_DRIVER,
          CudaKernels.wheel("nvidia-cuda-nvrtc", library.version()),
          "gatun.nvrtc",
          e);
    }
  }

  private static String describeCublasLt(CudaLibrary library) {
    try {
      return "cuBLASLt: " + CublasLt.describe(library.version() / 1000);
    } catch (LibraryException e) {
      return without(
          "cuBLASLt",
          false,
          CudaKernels.wheel("nvidia-cublas", library.version()),
          "gatun.cublaslt",
          e);
    }
  }

  private static String describeDnn(CudaLibrary library) {
    try {
      return "cuDNN: " + library.dnnVersion() + ", " + library.openDnn().file();
    } catch (LibraryException e) {
      return without(
          "cuDNN",
          false,
          "nvidia-cudnn-cu" + (library.version() < CudaKernels.FATBIN_DRIVER ? 12 : 13),
          "gatun.libcudnn",
          e);
    } catch (CudaException e) {
      return "cuDNN: " + e.getMessage();
    }
  }

  private static String without(
      String name, boolean needed, String wheel, String property, LibraryException e) {
    return name
        + ": "
        + e.summary()
        + (needed ? "; needed here" : "; optional")
        + ": 'pip install "
        + wheel
        + "', or let "
        + property
        + " name the file";
  }

  /** Opens nothing: the process may yet want the real driver. */
  private static DeviceInfo probeEmulator() {
    List<String> description = List.of("runs CUDA kernels on the host, for tests: slow");
    String problem = CudaLibrary.refuses(Kind.EMULATED);
    if (problem == null) {
      try {
        CudaKernels.fromProperty(Kind.EMULATED).image(CudaKernels.ANY);
      } catch (DeviceException e) {
        problem = e.getMessage();
      }
    }
    return new DeviceInfo(EMULATED, description, problem);
  }

  private static String oneLine(Throwable e) {
    String message = e.getMessage() == null ? e.toString() : e.getMessage();
    return message.lines().findFirst().orElse(e.toString());
  }
}
