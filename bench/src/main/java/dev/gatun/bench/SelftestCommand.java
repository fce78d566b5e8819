package dev.gatun.bench;

import dev.gatun.engine.Device;
import dev.gatun.engine.contract.Contract;
import dev.gatun.engine.contract.ContractSuite;
import dev.gatun.engine.contract.OpCase;
import dev.gatun.ffi.CudaEmulator;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeSet;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code gatun selftest}. */
@Command(
    name = "selftest",
    description = {
      "Holds a device's ops to the double-precision reference, and whole models to the CPU's and",
      "to each other: training steps, and both samplers.",
      "share is the largest part of the error budget that an element used; above 1 fails."
    })
final class SelftestCommand implements Callable<Integer> {
  private static final long SHUFFLE_SEED = 1;

  private final Console console;

  @Mixin private DeviceOption device = new DeviceOption();

  @Option(names = "--json", description = "a JSON object on standard output, with every case")
  private boolean json;

  SelftestCommand(Console console) {
    this.console = console;
  }

  /** One case, run in one order of the emulator's threads; null elsewhere. */
  private record Run(CudaEmulator.Order order, Contract.Outcome outcome) {}

  @Override
  public Integer call() {
    try (Device opened = device.open(console)) {
      List<OpCase> cases = ContractSuite.cases(opened);
      List<Run> runs = new ArrayList<>();
      try (Progress progress =
          new Progress(console, "selftest", (long) cases.size() * orders(opened).size())) {
        for (CudaEmulator.Order order : orders(opened)) {
          if (order != null) {
            CudaEmulator.setOrder(order, SHUFFLE_SEED);
          }
          for (OpCase opCase : cases) {
            runs.add(new Run(order, Contract.check(opened, opCase)));
            progress.update(runs.size(), opCase.op().name());
          }
        }
      }
      if (opened.name().equals("emulated")) {
        CudaEmulator.setOrder(CudaEmulator.Order.FIFO, 0);
      }
      List<DeviceCheck> models = new ArrayList<>();
      if (opened.name().startsWith("cuda")) {
        SassCheck.find().ifPresent(sass -> models.addAll(sass.run()));
      }
      models.addAll(ModelChecks.run(opened, family -> console.say("looking at " + family)));
      return report(opened, runs, models);
    }
  }

  private static List<CudaEmulator.Order> orders(Device opened) {
    List<CudaEmulator.Order> orders = new ArrayList<>();
    if (opened.name().equals("emulated")) {
      orders.addAll(List.of(CudaEmulator.Order.values()));
    } else {
      orders.add(null);
    }
    return orders;
  }

  private int report(Device opened, List<Run> runs, List<DeviceCheck> models) {
    table(runs);
    console.say("");
    models.forEach(m ->
        console.say(
            String.format("%-36s %s%s", m.name(), m.detail(), m.passed() ? "" : "  FAILED")));
    console.say("");
    List<Run> failed = runs.stream().filter(r -> !r.outcome().passed()).toList();
    failed.forEach(r -> console.say("FAILED " + r.outcome().failure()));
    List<String> absent = absent(opened);
    if (!absent.isEmpty()) {
      console.say(
          "without an implementation on " + opened.name() + ": " + String.join(", ", absent));
    }
    int wrong = failed.size() + (int) models.stream().filter(m -> !m.passed()).count();
    int right = runs.size() + models.size() - wrong;
    boolean good = wrong == 0 && !runs.isEmpty();
    console.say(
        runs.isEmpty()
            ? "no case ran: " + opened.name() + " has no op at all"
            : right + " passed, " + wrong + " failed");
    if (json) {
      Map<String, Object> all = new LinkedHashMap<>();
      all.put("device", opened.name());
      all.put("description", opened.description());
      all.put("passed", right);
      all.put("failed", wrong);
      all.put("absent", absent);
      all.put("checks", models);
      all.put("cases", runs.stream().map(SelftestCommand::fields).toList());
      console.json(all);
    }
    return good ? 0 : 1;
  }

  /** Ops and dtypes of the suite that the device has no implementation of. */
  private static List<String> absent(Device opened) {
    TreeSet<String> names = new TreeSet<>();
    for (OpCase c : ContractSuite.cases()) {
      names.add(label(c));
    }
    for (OpCase c : ContractSuite.cases(opened)) {
      names.remove(label(c));
    }
    return List.copyOf(names);
  }

  private static String label(OpCase c) {
    return c.op().name() + " " + c.dtype().label();
  }

  private void table(List<Run> runs) {
    Map<String, Row> rows = new LinkedHashMap<>();
    runs.forEach(r -> rows.computeIfAbsent(label(r.outcome().opCase()), k -> new Row()).add(r));
    console.say(String.format("%-36s %6s %8s  %s", "op dtype", "shapes", "share", "result"));
    rows.forEach((label, row) ->
        console.say(
            String.format(
                Locale.ROOT,
                "%-36s %6d %8.3f  %s",
                label,
                row.shapes.size(),
                row.share,
                row.failed == 0 ? "passed" : row.failed + " of " + row.runs + " FAILED")));
  }

  private static final class Row {
    private final TreeSet<String> shapes = new TreeSet<>();
    private double share;
    private int runs;
    private int failed;

    void add(Run run) {
      runs++;
      shapes.add(run.outcome().opCase().inputs().toString());
      // a NaN is what a failed case may have, and stays
      share =
          Double.isNaN(share) || !(run.outcome().share() <= share) ? run.outcome().share() : share;
      failed += run.outcome().passed() ? 0 : 1;
    }
  }

  private static Map<String, Object> fields(Run run) {
    OpCase c = run.outcome().opCase();
    Map<String, Object> all = new LinkedHashMap<>();
    all.put("op", c.op().name());
    all.put("attributes", c.op().toString());
    all.put("dtype", c.dtype().label());
    all.put("inputs", c.inputs().stream().map(Object::toString).toList());
    all.put("order", run.order() == null ? null : run.order().name().toLowerCase(Locale.ROOT));
    all.put("share", Double.isFinite(run.outcome().share()) ? run.outcome().share() : null);
    all.put("passed", run.outcome().passed());
    all.put("failure", run.outcome().failure());
    return all;
  }
}
