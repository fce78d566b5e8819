package dev.gatun.engine;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class DevicesTest {
  @Test
  void theCpuIsThereAndSaysWhatItIs() {
    Backend.DeviceInfo cpu =
        Devices.list().stream().filter(d -> d.name().equals("cpu")).findFirst().orElseThrow();
    assertTrue(cpu.usable(), cpu.problem());
    assertTrue(cpu.description().stream().anyMatch(s -> s.contains("oneDNN 3.")), cpu.toString());
    try (Device device = Devices.open("cpu")) {
      assertEquals("cpu", device.name());
      assertEquals("cpu", device.toString());
      assertEquals(1, device.description().lines().count());
      assertNull(device.refuses(DType.F32));
      assertNull(device.refuses(device.preferredDType()));
      for (DType type : List.of(DType.U8, DType.I32, DType.F64)) {
        assertNotNull(device.refuses(type), type + " activations");
      }
    }
  }

  @Test
  void everyDeviceThatCannotBeUsedSaysWhyInOneLine() {
    for (Backend.DeviceInfo info : Devices.list()) {
      assertFalse(info.name().isBlank());
      if (!info.usable()) {
        assertEquals(1, info.problem().lines().count(), info.problem());
      }
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"gpu", "", "cuda:", "cuda:x", "CPU", "cpu:0", "cuda:-1", "tpu:0"})
  void unknownDevicesAreRefusedInOneLine(String spec) {
    DeviceException e = assertThrows(DeviceException.class, () -> Devices.open(spec).close());
    assertEquals(1, e.getMessage().lines().count());
    assertTrue(e.getMessage().contains("'" + spec + "'"), e.getMessage());
    assertTrue(e.getMessage().contains("expected auto, cpu, cuda, cuda:N or emulated"));
  }

  @Test
  void autoNeverMeansTheEmulator() {
    if (Devices.list().stream().anyMatch(d -> d.name().startsWith("cuda") && d.usable())) {
      return; // auto would open the real driver, and this process may want the other one
    }
    try (Device device = Devices.open("auto")) {
      assertEquals("cpu", device.name());
      assertNotEquals("emulated", device.name());
    }
  }
}
