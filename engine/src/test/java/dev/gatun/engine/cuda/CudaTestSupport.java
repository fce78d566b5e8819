package dev.gatun.engine.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.fail;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.gatun.engine.Backend.DeviceInfo;
import dev.gatun.engine.cuda.CudaDevice.Convolution;

/** What the tests of this backend share. */
final class CudaTestSupport {
  private CudaTestSupport() {}

  static {
    // a process has one driver: that of these tests, even where there is a GPU and somebody looks
    if (System.getProperty("gatun.cuda.driver") == null) {
      System.setProperty("gatun.cuda.driver", "emulated");
    }
  }

  /** Skips the test where the emulator or its kernels were not built; in CI that is a failure. */
  static void requireEmulator() {
    DeviceInfo emulated =
        new CudaBackend()
            .probe().stream().filter(d -> d.name().equals("emulated")).findFirst().orElseThrow();
    if (!emulated.usable()) {
      if ("true".equals(System.getenv("CI"))) {
        fail(emulated.problem());
      }
      assumeTrue(false, emulated.problem());
    }
  }

  static CudaDevice openEmulated() {
    return openEmulated(Convolution.TAPS);
  }

  static CudaDevice openEmulated(Convolution convolution) {
    requireEmulator();
    return new CudaBackend().open("emulated", convolution);
  }

  static void assertOneLine(String message) {
    assertEquals(1, message.lines().count(), message);
  }
}
