package dev.gatun.engine.cuda;

import static dev.gatun.engine.cuda.CudaTestSupport.openEmulated;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.ffi.CudaEmulator;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Cooperative launches, clusters, graphs of many nodes: each says whether it was done. */
class CudaCeilingsTest {
  @AfterEach
  void usualOrder() {
    CudaEmulator.setOrder(CudaEmulator.Order.FIFO, 0);
  }

  @ParameterizedTest
  @EnumSource
  void everyCeilingIsMeasured(CudaEmulator.Order order) {
    try (CudaDevice device = openEmulated()) {
      CudaEmulator.setOrder(order, 1);
      Map<String, Double> all = CudaCeilings.measure(device, 1e-3);
      assertEquals(
          List.of(
              "copyGigabytesPerSecond",
              "launchMicros",
              "graphNodeMicros",
              "gridSyncMicros",
              "clusterSyncMicros"),
          List.copyOf(all.keySet()));
      all.forEach((name, value) -> assertTrue(value > 0, name + " " + value));
      assertEquals(0, device.allocatedBytes());
    }
  }
}
