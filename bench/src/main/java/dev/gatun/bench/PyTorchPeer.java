package dev.gatun.bench;

import com.fasterxml.jackson.databind.JsonNode;
import dev.gatun.bench.Comparison.Contender;
import dev.gatun.engine.Device;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;

/** PyTorch as a contender: a worker that is started again where it had to be killed. */
final class PyTorchPeer implements AutoCloseable {
  /** One of the ways to have PyTorch do something; kernel and layout null where it has no say. */
  record Way(String dtype, String variant, String kernel, String layout) {
    String label() {
      String how = kernel == null ? "" : " " + kernel + (layout == null ? "" : " " + layout);
      return "theirs " + dtype + " " + variant + how;
    }

    Way with(String other) {
      return new Way(dtype, other, kernel, layout);
    }

    Map<String, Object> options() {
      Map<String, Object> all = new LinkedHashMap<>();
      all.put("variant", variant);
      if (kernel != null) {
        all.put("kernel", kernel);
      }
      if (layout != null) {
        all.put("layout", layout);
      }
      return all;
    }
  }

  private static final Duration START = Duration.ofMinutes(3);
  private static final List<String> FACTS =
      List.of(
          "bitsPerDimension",
          "bitsPerDimensionEager",
          "fromEager",
          "cachedFromFull",
          "drawnOtherwise");

  private final String python;
  private final Path work;
  private final Path script;
  private final Device device;
  private final boolean quick;
  private final Console console;
  private final Map<String, Map<String, Object>> loaded = new LinkedHashMap<>();
  private final JsonNode hello;
  private PyTorchWorker worker;

  /**
   * Starts a worker.
   *
   * @param work a folder for its files
   * @param device ours; theirs is the same GPU, or the CPU
   * @throws UsageException if that Python has no PyTorch that works
   */
  PyTorchPeer(String python, Path work, Device device, boolean quick, Console console)
      throws IOException {
    this.python = python;
    this.work = work;
    this.device = device;
    this.quick = quick;
    this.console = console;
    script = PyTorchWorker.scripts(work);
    hello = begin();
  }

  private JsonNode begin() throws IOException {
    worker = PyTorchWorker.start(python, script, work);
    try {
      Map<String, Object> command = new LinkedHashMap<>();
      command.put("command", "hello");
      command.put("device", device.name().startsWith("cuda") ? device.name() : "cpu");
      if (device.name().equals("cpu")) {
        command.put("threads", Runtime.getRuntime().availableProcessors());
      }
      return worker.call(command, START);
    } catch (PyTorchWorker.Refused e) {
      throw new UsageException("--peer pytorch: " + e.getMessage(), e);
    } catch (RuntimeException | Error e) {
      worker.close();
      throw e;
    }
  }

  /** What the worker said of itself. */
  JsonNode hello() {
    return hello;
  }

  /** Whether a variant, such as {@code graph}, can be had. */
  boolean has(String variant) {
    return hello.path("variants").path(variant).isNull();
  }

  /** What PyTorch measures of the machine. */
  JsonNode ceilings() throws PyTorchWorker.Refused {
    return call(Map.of("command", "machine"), START).path("ceilings");
  }

  /** Whether the worker holds a network. */
  boolean has(GpuNetwork network) {
    return loaded.containsKey(network.name());
  }

  void load(GpuNetwork network, Device reference) throws IOException, PyTorchWorker.Refused {
    Map<String, Object> command = network.command(work, reference);
    call(command, START);
    loaded.put(network.name(), command);
  }

  private JsonNode call(Map<String, Object> command, Duration limit) throws PyTorchWorker.Refused {
    if (!worker.isAlive()) {
      again();
    }
    return worker.call(command, limit);
  }

  /** After a time limit: a new process, with the networks that the old one had. */
  private void again() throws PyTorchWorker.Refused {
    worker.close();
    try {
      begin();
    } catch (IOException e) {
      throw new PyTorchWorker.Refused("ended", e.getMessage());
    }
    for (Map<String, Object> network : loaded.values()) {
      worker.call(network, START);
    }
  }

  /** Prepares a way in the worker and adds it to a row; what cannot be had is added as such. */
  void add(Comparison row, Way way, long deadline, Function<Way, Map<String, Object>> command) {
    String name = row.section + " " + row.what + " " + way.label();
    if (!has(way.variant)) {
      String why = hello.path("variants").path(way.variant).asText();
      row.contenders.add(Contender.missing(way.label(), false, Comparison.NOT_AVAILABLE + why));
      return;
    }
    if (row.contenders.stream().anyMatch(c -> !c.ours) && System.nanoTime() > deadline) {
      row.contenders.add(Contender.missing(way.label(), false, "not run: no time left"));
      return;
    }
    Map<String, Object> request = new LinkedHashMap<>();
    request.put("command", "prepare");
    request.put("name", name);
    request.putAll(command.apply(way));
    // compiling may take longer than the row's share, but not than all there is
    long left = Math.max(deadline - System.nanoTime(), 0) / 1_000_000_000;
    Duration limit = Duration.ofSeconds(quick ? 120 : Math.max(45, 2 * left));
    try {
      JsonNode reply = call(request, limit);
      Contender contender =
          new Contender(way.label(), false, !way.dtype.equals("tf32"), () -> seconds(name));
      contender.facts.put("agreement", reply.path("agreement"));
      contender.facts.put("prepareSeconds", reply.path("prepareSeconds").asDouble());
      for (String key : FACTS) {
        if (reply.has(key)) {
          contender.facts.put(key, reply.path(key));
        }
      }
      contender.facts.put("worker", name);
      row.contenders.add(contender);
    } catch (PyTorchWorker.Refused e) {
      row.contenders.add(Contender.missing(way.label(), false, e.kind() + ": " + e.getMessage()));
      if (e.fatal()) {
        lost(row);
      }
    }
  }

  /** The worker was killed, and with it what this row had prepared. */
  private static void lost(Comparison row) {
    for (Contender contender : row.contenders) {
      if (!contender.ours && contender.problem == null) {
        contender.problem = "the worker had to be started again before it was timed in full";
      }
    }
  }

  private double seconds(String name) throws PyTorchWorker.Refused {
    Map<String, Object> time =
        Map.of("command", "time", "name", name, "repeats", 1, "seconds", GpuBench.LEAST_SECONDS);
    return call(time, START).path("seconds").path(0).asDouble();
  }

  /** Has the worker forget what it prepared for a row. */
  void free(Comparison row) {
    for (Contender contender : row.contenders) {
      Object name = contender.facts.get("worker");
      if (name != null && contender.problem == null) {
        try {
          call(Map.of("command", "free", "name", name), START);
        } catch (PyTorchWorker.Refused e) {
          console.say("peer: " + e.getMessage()); // its memory stays taken; nothing else is lost
        }
      }
    }
  }

  @Override
  public void close() {
    worker.close();
  }
}
