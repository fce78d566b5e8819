package dev.gatun.engine.cuda;

import static dev.gatun.engine.cuda.CudaTestSupport.openEmulated;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import dev.gatun.ffi.CudaEmulator;
import dev.gatun.ffi.CudaEmulator.Order;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.TreeSet;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

/** The kernels where no op reaches: windows, draws, a convolution's activations and tiles, NaNs. */
class KernelChecksTest {
  /** Modules of kernels that no op launches. */
  private static final Set<String> APART = Set.of("draw", "ceilings");

  private static CudaDevice device;

  @BeforeAll
  static void open() {
    device = openEmulated();
  }

  @AfterAll
  static void close() {
    if (device != null) {
      CudaEmulator.setOrder(Order.FIFO, 0);
      device.close();
      assertEquals(0, device.allocatedBytes());
    }
  }

  @TestFactory
  List<DynamicTest> inEachOrderOfThreads() {
    List<DynamicTest> tests = new ArrayList<>();
    for (Order order : Order.values()) {
      for (KernelCheck check : KernelCheck.others()) {
        tests.add(
            dynamicTest(
                order.name().toLowerCase(Locale.ROOT) + ": " + check,
                () -> {
                  CudaEmulator.setOrder(order, 1);
                  check.run(device);
                }));
      }
    }
    return tests;
  }

  /** Whoever adds a kernel, a tile or a dtype adds the cases that reach it. */
  @Test
  void theContractReachesEveryKernelButThoseThatDraw() throws Exception {
    Set<String> reached = new TreeSet<>();
    KernelCheck.ofContract(device).forEach(check -> reached.addAll(check.kernels()));
    Set<String> all = new TreeSet<>();
    for (String module : KernelNames.modules()) {
      if (!APART.contains(module)) {
        all.addAll(KernelNames.of(module));
      }
    }
    assertEquals(String.join("\n", all), String.join("\n", reached));
    Set<String> others = new TreeSet<>();
    KernelCheck.others().forEach(check -> others.addAll(check.kernels()));
    for (String module : APART) {
      assertTrue(others.containsAll(KernelNames.of(module)), module);
    }
  }
}
