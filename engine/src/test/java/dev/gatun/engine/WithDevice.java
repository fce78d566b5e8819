package dev.gatun.engine;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;

/** Tests that each have a CPU device of their own, and leave nothing on it. */
public abstract class WithDevice {
  /** Open while a test runs. */
  protected Device device;

  @BeforeEach
  void openDevice() {
    device = Devices.open(System.getProperty("gatun.test.device", "cpu"));
  }

  @AfterEach
  void closeDevice() {
    device.close();
    assertEquals(0, device.allocatedBytes(), "a test left memory behind");
  }
}
