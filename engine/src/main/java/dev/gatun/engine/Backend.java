package dev.gatun.engine;

import java.util.List;

/** A family of devices, found through {@link java.util.ServiceLoader}. */
public interface Backend {
  /**
   * What this backend could open, and what it could not.
   *
   * @return one entry a device; a device that is not usable says why and what to do
   */
  List<DeviceInfo> probe();

  /**
   * Whether {@code spec}, such as {@code cpu} or {@code cuda:1}, names a device of this backend.
   */
  boolean handles(String spec);

  /**
   * Opens a device.
   *
   * @throws DeviceException in one line: what was asked for, why not, what to do
   */
  Device open(String spec);

  /** Where {@code auto} may choose among backends, the highest usable one wins. */
  int priority();

  /**
   * A device as {@code gatun devices} shows it.
   *
   * @param name as on the command line
   * @param description processor or GPU, and each library: found where, which version
   * @param problem null if it can be opened
   */
  record DeviceInfo(String name, List<String> description, String problem) {
    public boolean usable() {
      return problem == null;
    }
  }
}
