package dev.gatun.engine.cuda;

import static dev.gatun.engine.cuda.CudaTestSupport.assertOneLine;
import static dev.gatun.engine.cuda.CudaTestSupport.openEmulated;
import static dev.gatun.engine.cuda.CudaTestSupport.requireEmulator;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.engine.Backend.DeviceInfo;
import dev.gatun.engine.Device;
import dev.gatun.engine.DeviceException;
import dev.gatun.engine.cuda.CudaDevice.Convolution;
import dev.gatun.ffi.CudaLibrary.Kind;
import dev.gatun.ffi.CudaLibrary.Properties;
import dev.gatun.ffi.NativeFiles;
import dev.gatun.ffi.TestProcesses;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Finding devices, and saying why there is none. */
class CudaBackendTest {
  private final CudaBackend backend = new CudaBackend();

  @BeforeAll
  static void emulator() {
    requireEmulator();
  }

  @ParameterizedTest
  @ValueSource(strings = {"cuda", "cuda:0", "cuda:12", "emulated"})
  void handlesItsOwnNames(String spec) {
    assertTrue(backend.handles(spec));
  }

  @ParameterizedTest
  @ValueSource(strings = {"cpu", "auto", "cuda:", "cuda:x", "cuda:-1", "cuda:99999", "emulated:0"})
  void leavesOtherNames(String spec) {
    assertFalse(backend.handles(spec));
  }

  @Test
  void probingSaysWhatIsThereAndWhatIsNot() {
    List<DeviceInfo> found = backend.probe();
    assertTrue(found.stream().anyMatch(d -> d.name().startsWith("cuda")), found.toString());
    assertTrue(found.stream().anyMatch(d -> d.name().equals("emulated")), found.toString());
    for (DeviceInfo device : found) {
      if (!device.usable()) {
        assertOneLine(device.problem());
      }
      device.description().forEach(CudaTestSupport::assertOneLine);
    }
  }

  @Test
  void theProcessOfTheEmulatorHasNoRealDevice() {
    try (Device device = openEmulated()) {
      assertEquals("emulated", device.name());
      assertOneLine(device.description());
      DeviceException e = assertThrows(DeviceException.class, () -> backend.open("cuda"));
      assertOneLine(e.getMessage());
      assertTrue(e.getMessage().contains("runs on the CUDA emulator"), e.getMessage());
    }
  }

  @Test
  void kernelsThatWereNotBuiltAreNamed(@TempDir Path empty) {
    DeviceException e =
        assertThrows(
            DeviceException.class,
            () ->
                backend.open("emulated", Convolution.TAPS, new CudaKernels(Kind.EMULATED, empty)));
    assertOneLine(e.getMessage());
    assertTrue(e.getMessage().contains("install g++"), e.getMessage());
    DeviceException real =
        assertThrows(
            DeviceException.class, () -> new CudaKernels(Kind.REAL, empty).image("conv_taps"));
    assertTrue(real.getMessage().contains("install nvcc"), real.getMessage());
  }

  @Test
  void oldDriversAndOldGpusAreRefused() {
    CudaBackend.requireDriver(13_000);
    CudaBackend.requireDriver(12_000);
    CudaBackend.requireCapability(new Properties("A100", 8, 0, 1, 1));
    DeviceException driver =
        assertThrows(DeviceException.class, () -> CudaBackend.requireDriver(11_080));
    assertOneLine(driver.getMessage());
    assertTrue(driver.getMessage().contains("CUDA 11.8 and too old"), driver.getMessage());
    DeviceException gpu =
        assertThrows(
            DeviceException.class,
            () -> CudaBackend.requireCapability(new Properties("V100", 7, 0, 1, 1)));
    assertOneLine(gpu.getMessage());
    assertTrue(gpu.getMessage().contains("V100 has compute capability 7.0"), gpu.getMessage());
  }

  @Test
  void anUnknownChoiceOfConvolutionIsRefused() {
    System.setProperty("gatun.cuda.conv", "fft");
    try {
      DeviceException e = assertThrows(DeviceException.class, () -> backend.open("emulated"));
      assertOneLine(e.getMessage());
      assertTrue(e.getMessage().contains("expected taps or cudnn"), e.getMessage());
    } finally {
      System.clearProperty("gatun.cuda.conv");
    }
  }

  /** Any libcuda.so.1 will do for NVIDIA's, and its version is what a library before it says. */
  @Test
  void driversAndLibrariesAreToldInOneLineEach(@TempDir Path folder) throws Exception {
    String current = probeReal(folder, 13_000);
    assertTrue(current.contains("driver: for CUDA 13.0, "), current);
    assertTrue(current.contains("(property gatun.libcuda)"), current);
    assertLibrary(current, "NVRTC", "optional: 'pip install nvidia-cuda-nvrtc', or");
    assertLibrary(current, "cuBLASLt", "optional: 'pip install nvidia-cublas', or");
    assertLibrary(current, "cuDNN", "optional: 'pip install nvidia-cudnn-cu13', or");
    String before = probeReal(folder, 12_080);
    assertTrue(before.contains("driver: for CUDA 12.8, "), before);
    boolean missing =
        assertLibrary(before, "NVRTC", "needed here: 'pip install nvidia-cuda-nvrtc-cu12', or");
    assertTrue(
        before.contains(
            missing
                ? "PROBLEM the CUDA kernels (group_norm) need NVRTC"
                : "kernels: compiled at first use by NVRTC 12."),
        before);
    String old = probeReal(folder, 11_080);
    assertTrue(old.contains("PROBLEM the NVIDIA driver is for CUDA 11.8 and too old"), old);
  }

  /** Whether a library is missing, of which there is one line, with what to do. */
  private static boolean assertLibrary(String output, String name, String advice) {
    List<String> lines = output.lines().filter(line -> line.startsWith(name + ": ")).toList();
    assertEquals(1, lines.size(), output);
    boolean missing = lines.getFirst().contains("not found");
    assertEquals(missing, lines.getFirst().contains(advice), lines.getFirst());
    return missing;
  }

  private static String probeReal(Path folder, int version) throws Exception {
    Path source =
        Files.writeString(
            folder.resolve("version.c"),
            "int cuDriverGetVersion(int* v) { *v = " + version + "; return 0; }\n");
    Path library = folder.resolve("version" + version + ".so");
    List<String> gcc = List.of("gcc", "-shared", "-fPIC", source.toString(), "-o", library + "");
    assertEquals(0, TestProcesses.run(gcc, folder.resolve("log"), 60).exitCode());
    List<String> command =
        List.of(
            Path.of(System.getProperty("java.home"), "bin", "java").toString(),
            "--enable-native-access=ALL-UNNAMED",
            "-Dgatun.libcuda=" + NativeFiles.unpack("/dev/gatun/emulator/libcuda.so.1"),
            Probe.class.getName());
    TestProcesses.Outcome outcome =
        TestProcesses.run(
            command,
            folder.resolve("log"),
            120,
            "LD_PRELOAD=" + library,
            "CLASSPATH=" + System.getProperty("java.class.path"));
    assertEquals(0, outcome.exitCode(), outcome.output());
    return outcome.output();
  }

  /** Prints what is known of the real devices, a line a line. */
  static final class Probe {
    public static void main(String[] arguments) {
      for (DeviceInfo device : new CudaBackend().probe()) {
        if (device.name().startsWith("cuda")) {
          device.description().forEach(System.out::println);
          System.out.println("PROBLEM " + device.problem());
        }
      }
    }
  }
}
