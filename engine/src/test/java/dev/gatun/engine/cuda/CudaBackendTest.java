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
    CudaBackend.requireCapability(new Properties("A100", 8, 0, 1));
    DeviceException driver =
        assertThrows(DeviceException.class, () -> CudaBackend.requireDriver(11_080));
    assertOneLine(driver.getMessage());
    assertTrue(driver.getMessage().contains("CUDA 11.8 and too old"), driver.getMessage());
    DeviceException gpu =
        assertThrows(
            DeviceException.class,
            () -> CudaBackend.requireCapability(new Properties("V100", 7, 0, 1)));
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
}
