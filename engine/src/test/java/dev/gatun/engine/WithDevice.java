package dev.gatun.engine;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;

/**
 * Tests that each have a device of their own, and leave nothing on it: the CPU, or what {@code
 * -Dgatun.test.device} names.
 */
public abstract class WithDevice {
  /** Open while a test runs. */
  protected Device device;

  /** Opens the device that tests are to run on. */
  public static Device open() {
    return Devices.open(System.getProperty("gatun.test.device", "cpu"));
  }

  @BeforeEach
  void openDevice() {
    device = open();
  }

  @AfterEach
  void closeDevice() {
    device.close();
    assertEquals(0, device.allocatedBytes(), "a test left memory behind");
  }
}
