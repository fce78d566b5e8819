package dev.gatun.ffi;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import jcuda.driver.CUdevice;
import jcuda.driver.JCudaDriver;

/**
 * The CUDA driver of this process: NVIDIA's, or an emulator that runs kernels on the host.
 *
 * <p>A process has one {@code libcuda.so.1}, which JCuda and the generated bindings both call. So
 * the first driver that is opened stays, and asking for the other one is an error. The system
 * property {@code gatun.cuda.driver} ({@code real} or {@code emulated}) decides beforehand.
 */
public final class CudaLibrary {
  /** Which driver. */
  public enum Kind {
    REAL,
    EMULATED;

    String label() {
      return this == REAL ? "NVIDIA's CUDA driver" : "the CUDA emulator";
    }
  }

  /** A GPU as the driver describes it. */
  public record Properties(
      String name, int major, int minor, long totalBytes, int multiprocessors) {
    /** As people write it: {@code 9.0}. */
    public String computeCapability() {
      return major + "." + minor;
    }
  }

  private static final String EMULATOR = "/dev/gatun/emulator/libcuda.so.1";
  private static final String EMULATED_DNN = "/dev/gatun/emulator/libcudnn.so.9";
  private static final List<String> HOST_CODE = List.of("avx2", "bmi2", "f16c", "fma", "movbe");
  private static volatile CudaLibrary current;

  private final Kind kind;
  private final LibraryFinder.Opened driver;
  private LibraryFinder.Opened dnn;

  private CudaLibrary(Kind kind, LibraryFinder.Opened driver) {
    this.kind = kind;
    this.driver = driver;
  }

  /**
   * Opens the driver, or returns it where it is open already.
   *
   * @throws LibraryException if it cannot be opened, or if this process has the other one
   * @throws CudaException if the driver is there but does not start, as without a GPU
   */
  public static synchronized CudaLibrary open(Kind kind) {
    if (current == null) {
      requireAllowed(kind);
      LibraryFinder.requireLinuxX64();
      LibraryFinder finder = kind == Kind.REAL ? realDriver() : emulatedDriver();
      requireNoOther(kind);
      CudaLibrary library = new CudaLibrary(kind, finder.open());
      // from here on the name libcuda.so.1 is taken, whatever else fails
      current = library;
    }
    if (current.kind != kind) {
      throw new LibraryException(
          "this process runs on "
              + current.kind.label()
              + " ("
              + current.driver.file()
              + ") and a process has one only: start another one for "
              + kind.label());
    }
    JCudaLoader.driver();
    CudaException.check("cuInit", () -> JCudaDriver.cuInit(0));
    return current;
  }

  /** Whether {@code kind} is the driver of this process. */
  public static boolean isOpen(Kind kind) {
    CudaLibrary library = current;
    return library != null && library.kind == kind;
  }

  /**
   * Whether {@link #open} may be asked for {@code kind} here, found without opening anything.
   *
   * @return null, or in one line why not
   */
  public static String refuses(Kind kind) {
    CudaLibrary library = current;
    if (library != null && library.kind != kind) {
      return "this process runs on " + library.kind.label();
    }
    try {
      requireAllowed(kind);
    } catch (LibraryException e) {
      return e.getMessage();
    }
    if (kind == Kind.EMULATED && CudaLibrary.class.getResource(EMULATOR) == null) {
      return "the CUDA emulator was not built: install g++ and build the module 'native' again";
    }
    return null;
  }

  public Kind kind() {
    return kind;
  }

  /** Which file was opened, and which rule found it. */
  public LibraryFinder.Opened file() {
    return driver;
  }

  /** The CUDA version the driver supports, as 1000 * major + 10 * minor. */
  public int version() {
    int[] version = new int[1];
    CudaException.check("cuDriverGetVersion", () -> JCudaDriver.cuDriverGetVersion(version));
    return version[0];
  }

  public int deviceCount() {
    int[] count = new int[1];
    CudaException.check("cuDeviceGetCount", () -> JCudaDriver.cuDeviceGetCount(count));
    return count[0];
  }

  public Properties device(int ordinal) {
    CUdevice device = handle(ordinal);
    byte[] name = new byte[256];
    int[] major = new int[1];
    int[] minor = new int[1];
    long[] bytes = new long[1];
    CudaException.check(
        "cuDeviceGetName", () -> JCudaDriver.cuDeviceGetName(name, name.length, device));
    // the attributes CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR, and
    // MULTIPROCESSOR_COUNT
    CudaException.check(
        "cuDeviceGetAttribute", () -> JCudaDriver.cuDeviceGetAttribute(major, 75, device));
    CudaException.check(
        "cuDeviceGetAttribute", () -> JCudaDriver.cuDeviceGetAttribute(minor, 76, device));
    int[] multiprocessors = new int[1];
    CudaException.check(
        "cuDeviceGetAttribute",
        () -> JCudaDriver.cuDeviceGetAttribute(multiprocessors, 16, device));
    CudaException.check("cuDeviceTotalMem", () -> JCudaDriver.cuDeviceTotalMem(bytes, device));
    int length = 0;
    while (length < name.length && name[length] != 0) {
      length++;
    }
    return new Properties(
        new String(name, 0, length, StandardCharsets.UTF_8),
        major[0],
        minor[0],
        bytes[0],
        multiprocessors[0]);
  }

  static CUdevice handle(int ordinal) {
    CUdevice device = new CUdevice();
    CudaException.check("cuDeviceGet", () -> JCudaDriver.cuDeviceGet(device, ordinal));
    return device;
  }

  /**
   * Opens cuDNN 9 for this driver and makes JCudnn ready.
   *
   * @throws LibraryException naming each place tried
   */
  public LibraryFinder.Opened openDnn() {
    synchronized (CudaLibrary.class) {
      if (dnn == null) {
        dnn =
            (kind == Kind.REAL
                    ? NvidiaLibraries.dnn()
                    : new LibraryFinder("the cuDNN emulator").resource(EMULATED_DNN))
                .open();
      }
      JCudaLoader.dnn();
      return dnn;
    }
  }

  /** cuDNN's version, such as {@code 9.19.0}; opens it if need be. */
  public String dnnVersion() {
    openDnn();
    long version = jcuda.jcudnn.JCudnn.cudnnGetVersion();
    return version / 10000 + "." + version / 100 % 100 + "." + version % 100;
  }

  private static void requireAllowed(Kind kind) {
    String only = System.getProperty("gatun.cuda.driver");
    if (only == null || only.equalsIgnoreCase(kind.name())) {
      if (kind == Kind.EMULATED) {
        requireProcessor(Path.of("/proc/cpuinfo"));
      }
      return;
    }
    if (!only.equalsIgnoreCase("real") && !only.equalsIgnoreCase("emulated")) {
      throw new LibraryException(
          "property gatun.cuda.driver is '" + only + "': expected real or emulated");
    }
    throw new LibraryException("property gatun.cuda.driver=" + only + " keeps this process to it");
  }

  /** The kernels' host code is for x86-64-v3: on a processor without it the JVM would be gone. */
  static void requireProcessor(Path cpuinfo) {
    try (Stream<String> lines = Files.lines(cpuinfo)) {
      List<String> flags =
          lines
              .filter(line -> line.startsWith("flags"))
              .findFirst()
              .map(line -> List.of(line.split("\\s+")))
              .orElse(HOST_CODE);
      for (String flag : HOST_CODE) {
        if (!flags.contains(flag)) {
          throw new LibraryException(
              "the CUDA emulator needs a processor of x86-64-v3 (2013 or newer); this one lacks "
                  + flag);
        }
      }
    } catch (IOException e) {
      throw new LibraryException("cannot read " + cpuinfo + ": " + e, e);
    }
  }

  /** JCuda finds its driver by name, so one that somebody else opened would be taken for ours. */
  private static void requireNoOther(Kind kind) {
    if (kind == Kind.REAL) {
      return;
    }
    try (Stream<String> lines = Files.lines(Path.of("/proc/self/maps"))) {
      lines
          .filter(line -> line.contains("/libcuda.so"))
          .findFirst()
          .ifPresent(line -> {
            throw new LibraryException(
                "this process has "
                    + line.substring(line.indexOf('/'))
                    + " open already and can have one driver only: start another one for "
                    + kind.label());
          });
    } catch (IOException e) {
      throw new LibraryException("cannot read /proc/self/maps: " + e, e);
    }
  }

  private static LibraryFinder emulatedDriver() {
    return new LibraryFinder("the CUDA emulator").resource(EMULATOR);
  }

  private static LibraryFinder realDriver() {
    return new LibraryFinder("the CUDA driver (libcuda.so.1)")
        .property("gatun.libcuda")
        .variable("GATUN_LIBCUDA", "")
        .loaderPath("libcuda.so.1")
        .path("/usr/lib/x86_64-linux-gnu/libcuda.so.1")
        .path("/usr/lib64/libcuda.so.1")
        .path("/usr/lib/libcuda.so.1")
        .path("/usr/local/nvidia/lib64/libcuda.so.1")
        .path("/usr/lib/wsl/lib/libcuda.so.1")
        .path("/run/opengl-driver/lib/libcuda.so.1")
        .variable("CUDA_PATH", "compat/libcuda.so.1")
        .path("/usr/local/cuda/compat/libcuda.so.1");
  }
}
