package dev.gatun.bench;

import dev.gatun.engine.Backend.DeviceInfo;
import dev.gatun.engine.Devices;
import dev.gatun.models.Models;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** {@code gatun devices}. */
@Command(name = "devices", description = "Lists what could run a model here, and why not.")
final class DevicesCommand implements Callable<Integer> {
  private final Console console;

  @Option(names = "--json", description = "a JSON object on standard output")
  private boolean json;

  DevicesCommand(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() {
    List<DeviceInfo> devices = Devices.list();
    for (DeviceInfo device : devices) {
      console.say(
          String.format("%-10s %s", device.name(), device.usable() ? "usable" : "not usable"));
      device.description().forEach(line -> console.say("           " + line));
      if (!device.usable()) {
        console.say("           " + device.problem());
      }
    }
    if (json) {
      Map<String, Object> all = new LinkedHashMap<>();
      all.put("gatun", Models.VERSION);
      all.put("java", Runtime.version().toString());
      all.put("devices", devices.stream().map(DevicesCommand::fields).toList());
      console.json(all);
    }
    return 0;
  }

  private static Map<String, Object> fields(DeviceInfo device) {
    Map<String, Object> all = new LinkedHashMap<>();
    all.put("name", device.name());
    all.put("usable", device.usable());
    all.put("problem", device.problem());
    all.put("description", device.description());
    return all;
  }
}
