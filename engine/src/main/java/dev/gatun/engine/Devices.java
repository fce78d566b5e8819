package dev.gatun.engine;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.ServiceLoader;

/** Finds and opens devices across all backends. */
public final class Devices {
  private Devices() {}

  /**
   * Opens a device; the caller closes it.
   *
   * @param spec {@code cpu}, {@code cuda}, {@code cuda:N}, {@code emulated}, or {@code auto}: the
   *     first GPU if one is usable, else the CPU
   * @throws DeviceException in one line if there is none such or it cannot be opened
   */
  public static Device open(String spec) {
    List<Backend> backends = backends();
    if (spec.equals("auto")) {
      for (Backend backend : backends) {
        List<Backend.DeviceInfo> usable =
            backend.probe().stream()
                .filter(d -> d.usable() && !d.name().equals("emulated"))
                .toList();
        if (!usable.isEmpty()) {
          return backend.open(usable.getFirst().name());
        }
      }
      throw new DeviceException("no usable device: run 'gatun devices' to see why");
    }
    for (Backend backend : backends) {
      if (backend.handles(spec)) {
        return backend.open(spec);
      }
    }
    throw new DeviceException(
        "unknown device '" + spec + "': expected auto, cpu, cuda, cuda:N or emulated");
  }

  /** What there is on this machine, best first, usable or not. */
  public static List<Backend.DeviceInfo> list() {
    return backends().stream().flatMap(b -> b.probe().stream()).toList();
  }

  private static List<Backend> backends() {
    List<Backend> backends = new ArrayList<>();
    ServiceLoader.load(Backend.class, Devices.class.getClassLoader()).forEach(backends::add);
    backends.sort(Comparator.comparingInt(Backend::priority).reversed());
    return backends;
  }
}
