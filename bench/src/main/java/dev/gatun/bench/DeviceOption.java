package dev.gatun.bench;

import dev.gatun.engine.Backend.DeviceInfo;
import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.DeviceException;
import dev.gatun.engine.Devices;
import picocli.CommandLine.Option;

/** {@code --device}, for the commands that have it. */
final class DeviceOption {
  @Option(
      names = "--device",
      paramLabel = "D",
      description = "auto, cpu, cuda, cuda:N or emulated (default: ${DEFAULT-VALUE})")
  private String spec = "auto";

  /** Opens the device, and says which it is and, for {@code auto}, why it is no GPU. */
  Device open(Console console) {
    Device device;
    try {
      device = Devices.open(spec);
    } catch (DeviceException e) {
      throw new UsageException("--device " + spec + ": " + e.getMessage(), e);
    }
    String why = "";
    if (spec.equals("auto")) {
      why =
          Devices.list().stream()
              .filter(d -> d.name().startsWith("cuda") && !d.usable())
              .map(DeviceInfo::problem)
              .findFirst()
              .filter(problem -> !device.name().startsWith("cuda"))
              .map(problem -> "; no GPU: " + problem)
              .orElse("");
    }
    console.say("device " + device.name() + ": " + device.description() + why);
    return device;
  }

  /**
   * The dtype that was asked for, or the device's own choice.
   *
   * @param label null for the device's choice
   */
  static DType dtype(Device device, String label) {
    if (label == null) {
      return device.preferredDType();
    }
    DType type = UsageException.ifRefused(() -> DType.fromLabel(label));
    String refusal = device.refuses(type);
    if (refusal != null) {
      throw new UsageException("--dtype " + label + " on " + device.name() + ": " + refusal);
    }
    return type;
  }

  /** The dtype a run was trained in, or the device's own where it cannot do that one. */
  static DType dtype(Console console, Device device, DType trained) {
    String refusal = device.refuses(trained);
    if (refusal == null) {
      return trained;
    }
    console.say(
        "trained in "
            + trained.label()
            + ", run in "
            + device.preferredDType().label()
            + ": "
            + refusal);
    return device.preferredDType();
  }
}
