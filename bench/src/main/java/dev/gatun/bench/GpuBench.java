package dev.gatun.bench;

import com.fasterxml.jackson.databind.ObjectMapper;
import dev.gatun.bench.Comparison.Contender;
import dev.gatun.bench.PyTorchPeer.Way;
import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.DeviceException;
import dev.gatun.engine.Devices;
import dev.gatun.engine.Launch;
import dev.gatun.engine.Owned;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.cuda.CudaCeilings;
import dev.gatun.engine.cuda.CudaDevice;
import dev.gatun.engine.op.Add;
import dev.gatun.models.Model.ImageShape;
import dev.gatun.models.Models.Preset;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.Function;

/**
 * Ours and PyTorch's in turns, within a budget of minutes: what the machine can do at best, single
 * operations, training steps, sampling. PyTorch runs in a Python process of its own; nothing is
 * timed whose results have not been seen to agree. What a device does not support yet is a row that
 * says so.
 */
final class GpuBench {
  /**
   * How it is run.
   *
   * @param python null to leave the peer out
   * @param quick tiny networks, few rounds: to see that everything works
   * @param only null for all rows, else a part of "section: what" of those that are wanted; all of
   *     the minutes are theirs
   */
  record Options(String python, double minutes, boolean quick, String only) {}

  /** A share of the minutes up to whose end a section may take. */
  private enum Section {
    MACHINE(0.04),
    KERNELS(0.36),
    TRAINING(0.70),
    SAMPLING(1.0);

    final double until;

    Section(double until) {
      this.until = until;
    }
  }

  /** Of a turn, so that clocks and waiting count for little. */
  static final double LEAST_SECONDS = 0.01;

  /** Whole passes that a full sampler's time is extrapolated from. */
  private static final int PASSES = 5;

  private final Options options;
  private final Device device;
  private final Console console;
  private long start; // of the minutes
  private final List<Comparison> rows = new ArrayList<>();
  private final Owned owned = new Owned();
  private Path work;
  private Device reference; // the CPU: what both sides' results are held against
  private PyTorchPeer peer; // null where it is left out

  private GpuBench(Options options, Device device, Console console) {
    this.options = options;
    this.device = device;
    this.console = console;
  }

  static Map<String, Object> run(Options options, Device device, Console console)
      throws IOException {
    GpuBench bench = new GpuBench(options, device, console);
    try {
      return bench.run();
    } finally {
      bench.owned.close();
      if (bench.work != null) {
        Folders.delete(bench.work);
      }
    }
  }

  private int rounds() {
    return options.quick ? 3 : 9;
  }

  private boolean onCpu() {
    return device.name().equals("cpu");
  }

  private Map<String, Object> run() throws IOException {
    work = Files.createTempDirectory("gatun-bench");
    reference = onCpu() ? device : owned.add(Devices.open("cpu"));
    Map<String, Object> result = new LinkedHashMap<>();
    result.put("minutes", options.minutes);
    result.put("quick", options.quick);
    if (options.python != null) {
      peer = owned.add(new PyTorchPeer(options.python, work, device, options.quick, console));
      console.say("peer pytorch: " + peer.hello()); // with the variants that cannot be had here
      result.put("peer", new ObjectMapper().convertValue(peer.hello(), Map.class));
    }
    start = System.nanoTime();
    machine(result);
    kernels();
    List<GpuNetwork> networks = networks();
    for (GpuNetwork network : networks) {
      owned.add(network);
    }
    training(networks);
    sampling(networks);
    console.say("");
    console.say(
        String.format(
            Locale.ROOT,
            "%-62s %10s %10s %s",
            "seconds a call (medians)",
            "ours",
            "theirs",
            " ratio (least to most), the fastest of theirs"));
    rows.forEach(row -> row.lines().forEach(console::say));
    result.put("rows", rows.stream().map(Comparison::toJson).toList());
    result.put("seconds", (System.nanoTime() - start) / 1e9);
    return result;
  }

  // ------------------------------------------------------------------ time

  private long deadline(Section section) {
    return start + (long) (options.minutes * 60e9 * (options.only == null ? section.until : 1));
  }

  /** When a row's share of what its section has left is used up. */
  private long share(Section section, int rowsLeft) {
    long now = System.nanoTime();
    return now + Math.max(0, deadline(section) - now) / Math.max(1, rowsLeft);
  }

  /** Prepares and times one row. */
  private interface Timing {
    void time(Comparison row, long deadline) throws IOException;
  }

  private record Planned(Comparison row, Timing timing) {}

  /** Runs the rows that are wanted, each within its share of what the section has left. */
  private void run(Section section, List<Planned> planned) throws IOException {
    List<Planned> wanted =
        planned.stream()
            .filter(p -> options.only == null || p.row.title().contains(options.only))
            .toList();
    int left = wanted.size();
    for (Planned one : wanted) {
      if (System.nanoTime() > deadline(section)) {
        one.row.contenders.add(Contender.missing("ours", true, "not run: no time left"));
        rows.add(one.row);
      } else {
        one.timing.time(one.row, share(section, left--));
      }
    }
  }

  /** Times a row, says it, and forgets what the worker holds of it. */
  private void finish(Comparison row, int rounds, long deadline) {
    row.run(rounds, deadline);
    rows.add(row);
    row.lines().forEach(console::say);
    if (peer != null) {
      peer.free(row);
    }
  }

  // ------------------------------------------------------------------ the machine

  private void machine(Map<String, Object> result) {
    Map<String, Object> all = new LinkedHashMap<>();
    all.put("ours", ourCeilings());
    if (peer != null) {
      try {
        all.put("pytorch", new ObjectMapper().convertValue(peer.ceilings(), Map.class));
      } catch (PyTorchWorker.Refused e) {
        all.put("pytorch", e.kind() + ": " + e.getMessage());
      }
    }
    result.put("ceilings", all);
    console.say("ceilings " + all);
  }

  /** Copies, launches, graph nodes and barriers of ours; on a CPU launches with hardly any work. */
  private Map<String, Object> ourCeilings() {
    Map<String, Object> all = new LinkedHashMap<>();
    try {
      if (device instanceof CudaDevice cuda) {
        boolean emulated = device.name().equals("emulated");
        all.putAll(CudaCeilings.measure(cuda, emulated ? 1e-3 : 1));
        if (!emulated) {
          all.put("matmulBf16Tflops", CudaCeilings.matmulTeraflops(cuda, 8192));
        }
      } else {
        launches(all);
      }
    } catch (DeviceException | IllegalStateException e) {
      all.put("problem", e.getMessage());
    }
    return all;
  }

  private void launches(Map<String, Object> all) {
    int nodes = 200;
    try (Owned here = new Owned()) {
      Tensor a = here.add(Tensor.allocate(device, DType.F32, 64));
      Tensor b = here.add(Tensor.allocate(device, DType.F32, 64));
      Tensor c = here.add(Tensor.allocate(device, DType.F32, 64));
      Launch one = here.add(device.launch(new Add(), List.of(a, b), List.of(c)));
      List<Launch> chain = new ArrayList<>();
      for (int i = 0; i < nodes; i++) {
        chain.add(device.launch(new Add(), List.of(a, b), List.of(c)));
      }
      Launch many = here.add(device.record(chain));
      all.put("launchMicros", 1e6 * best(one, 2000));
      all.put("recordedNodeMicros", 1e6 * best(many, 20) / nodes);
    }
  }

  /** Seconds a run, of the fastest of several tries. */
  private static double best(Launch launch, int calls) {
    double best = Double.POSITIVE_INFINITY;
    for (int attempt = 0; attempt < 7; attempt++) {
      long before = System.nanoTime();
      for (int i = 0; i < calls; i++) {
        launch.run();
      }
      best = Math.min(best, (System.nanoTime() - before) / 1e9 / calls);
    }
    return best;
  }

  // ------------------------------------------------------------------ single operations

  private List<DType> types() {
    return List.of(DType.F32, DType.BF16);
  }

  private void kernels() throws IOException {
    List<Planned> planned = new ArrayList<>();
    for (GpuKernels.Case kernel : GpuKernels.all(options.quick)) {
      for (DType type : kernel.types()) {
        planned.add(
            new Planned(
                new Comparison("kernels", kernel.name() + " " + type.label()),
                (row, deadline) -> kernel(row, kernel, type, deadline)));
      }
    }
    run(Section.KERNELS, planned);
  }

  private void kernel(Comparison row, GpuKernels.Case kernel, DType type, long deadline)
      throws IOException {
    if (kernel.gigaflops() > 0) {
      row.facts.put("gigaflops", kernel.gigaflops());
    }
    Path file = work.resolve("kernel.safetensors");
    kernel.export(file, reference, type);
    try (Owned here = new Owned()) {
      row.contenders.add(
          ours(() -> {
            String refused = device.refuses(type);
            if (refused != null) {
              throw new DeviceException(refused);
            }
            Agreement.require(row, kernel.results(device, type), file, type);
            GpuKernels.Timed timed = here.add(kernel.open(device, type));
            return turns(timed::run, timed.calls());
          }));
      if (peer != null) {
        boolean conv = kernel.gigaflops() > 0;
        List<Way> ways = new ArrayList<>();
        String dtype = type.label();
        if (conv) {
          String first = peer.has("graph") ? "graph" : "eager";
          ways.add(new Way(dtype, first, "cropped", null));
          ways.add(new Way(dtype, first, "masked", null));
          if (type == DType.F32 && !onCpu()) {
            ways.add(new Way("tf32", first, "cropped", null));
          }
          // a compiler leaves a convolution as it is
          ways.add(new Way(dtype, first.equals("graph") ? "eager" : "graph", "cropped", null));
        } else {
          for (String variant : List.of("graph", "eager", "compile+graph")) {
            ways.add(new Way(dtype, variant, null, null));
          }
        }
        for (Way way : ways) {
          if (way.variant().startsWith("compile")) {
            row.run(2, deadline); // should compiling take too long, the others have been timed
          }
          peer.add(
              row,
              way,
              deadline,
              w -> {
                Map<String, Object> spec = new LinkedHashMap<>(kernel.spec());
                spec.put("dtype", w.dtype());
                Map<String, Object> more = new LinkedHashMap<>(w.options());
                more.put("workload", "kernel");
                more.put("spec", spec);
                more.put("ours", file.toString());
                return more;
              });
        }
      }
      finish(row, rounds(), deadline);
    }
  }

  /** Prepares ours; a device that cannot is a contender without figures. */
  private static Contender ours(java.util.concurrent.Callable<Comparison.Sample> prepare) {
    try {
      return new Contender("ours", true, true, prepare.call());
    } catch (DeviceException | UnsupportedOperationException e) {
      return Contender.missing("ours", true, "not supported: " + e.getMessage());
    } catch (Exception e) {
      return Contender.missing("ours", true, "failed: " + e);
    }
  }

  /** Warms up, and times as many runs at once as take {@link #LEAST_SECONDS}. */
  private static Comparison.Sample turns(Runnable run, int callsARun) {
    for (int i = 0; i < 3; i++) {
      run.run();
    }
    long before = System.nanoTime();
    run.run();
    double once = Math.max(1e-7, (System.nanoTime() - before) / 1e9);
    int runs = (int) Math.max(1, Math.min(100_000, Math.ceil(LEAST_SECONDS / once)));
    return () -> {
      long from = System.nanoTime();
      for (int i = 0; i < runs; i++) {
        run.run();
      }
      return (System.nanoTime() - from) / 1e9 / runs / callsARun;
    };
  }

  // ------------------------------------------------------------------ networks

  private List<GpuNetwork> networks() {
    ImageShape grey = options.quick ? new ImageShape(10, 9, 1) : new ImageShape(28, 28, 1);
    ImageShape colour = options.quick ? new ImageShape(9, 10, 3) : new ImageShape(32, 32, 3);
    Preset small = options.quick ? Preset.TINY : Preset.SMALL;
    Map<String, String> none = Map.of();
    Map<String, String> deep =
        options.quick ? none : Map.of("layers", "15", "filters", "64", "headFilters", "256");
    int batch = options.quick ? 4 : 32;
    List<GpuNetwork> all = new ArrayList<>();
    all.add(new GpuPixelCnn("gated-pixelcnn", small, grey, deep, batch));
    all.add(new GpuPixelCnn("pixelcnn++", small, grey, none, batch));
    all.add(new GpuPixelCnn("pixelcnn", small, grey, none, batch));
    Preset large = options.quick ? Preset.TINY : Preset.PAPER;
    all.add(new GpuPixelCnn("pixelcnn++", large, colour, none, options.quick ? 4 : 16));
    ImageShape even = options.quick ? new ImageShape(8, 12, 3) : colour; // halves, too
    all.add(new GpuUNet(large, even, options.quick ? 4 : 128, options.quick));
    return all;
  }

  /** Has the worker load a network, once; returns a line that says why it could not, or null. */
  private String load(GpuNetwork network) throws IOException {
    if (peer == null || peer.has(network)) {
      return null;
    }
    try {
      peer.load(network, reference);
      return null;
    } catch (PyTorchWorker.Refused e) {
      return e.kind() + ": " + e.getMessage();
    }
  }

  /**
   * Adds theirs: each way to build the network, and then what is to be compiled, on the fastest.
   *
   * @param command what the worker prepares
   */
  private void theirs(
      Comparison row,
      GpuNetwork network,
      DType type,
      long deadline,
      boolean builds,
      Function<Way, Map<String, Object>> command)
      throws IOException {
    if (peer == null) {
      return;
    }
    String refused = load(network);
    if (refused != null) {
      row.contenders.add(Contender.missing("theirs", false, refused));
      return;
    }
    String dtype = type.label();
    String first = peer.has("graph") ? "graph" : "eager";
    Way plain = new Way(dtype, first, builds ? "cropped" : null, builds ? "nhwc" : null);
    peer.add(row, plain, deadline, command);
    if (builds) {
      if (network.masked()) {
        peer.add(row, new Way(dtype, first, "masked", "nhwc"), deadline, command);
      }
      peer.add(row, new Way(dtype, first, "cropped", "nchw"), deadline, command);
      row.run(2, deadline);
    }
    Way best = plain;
    Contender fastest = row.fastest();
    if (fastest != null) {
      for (Way way :
          List.of(
              new Way(dtype, first, "masked", "nhwc"), new Way(dtype, first, "cropped", "nchw"))) {
        best = way.label().equals(fastest.name) ? way : best;
      }
    }
    if (!first.equals("eager")) {
      peer.add(row, best.with("eager"), deadline, command);
    } else {
      peer.add(row, best.with("graph"), deadline, command);
    }
    if (type == DType.F32 && !onCpu()) {
      peer.add(row, new Way("tf32", first, plain.kernel(), plain.layout()), deadline, command);
    }
    row.run(2, deadline); // should compiling take too long, the others have been timed
    peer.add(row, best.with("compile+graph"), deadline, command);
    if (builds) {
      peer.add(row, best.with("compile"), deadline, command);
    }
  }

  private void training(List<GpuNetwork> networks) throws IOException {
    List<Planned> planned = new ArrayList<>();
    for (GpuNetwork network : networks) {
      for (DType type : types()) {
        planned.add(
            new Planned(
                new Comparison(
                    "training", "step of " + network.batch() + ", " + network.label(type)),
                (row, deadline) -> training(row, network, type, deadline)));
      }
    }
    run(Section.TRAINING, planned);
  }

  private void training(Comparison row, GpuNetwork network, DType type, long deadline)
      throws IOException {
    network.describe(row.facts);
    try (Owned here = new Owned()) {
      row.contenders.add(
          ours(() -> {
            network.requireAgreement(row, device, reference, type);
            var trainer = here.add(network.trainer(device, type));
            return turns(trainer::step, 1);
          }));
      theirs(
          row,
          network,
          type,
          deadline,
          true,
          way -> network.prepare("train", network.batch(), way.dtype(), way.options()));
      finish(row, rounds(), deadline);
    }
  }

  private void sampling(List<GpuNetwork> networks) throws IOException {
    List<Planned> planned = new ArrayList<>();
    for (GpuNetwork network : networks) {
      for (DType type : types()) {
        for (GpuNetwork.Use use : network.uses(options.quick)) {
          planned.add(
              new Planned(
                  new Comparison(use.section(), use.what() + ", " + network.label(type)),
                  (row, deadline) -> sampling(row, network, type, use, deadline)));
        }
      }
    }
    run(Section.SAMPLING, planned);
  }

  private void sampling(
      Comparison row, GpuNetwork network, DType type, GpuNetwork.Use use, long deadline)
      throws IOException {
    network.describe(row.facts);
    row.facts.put("images", use.count());
    boolean pass = use.passes() > 0;
    try (Owned here = new Owned()) {
      row.contenders.add(
          ours(() -> {
            network.requireAgreement(row, device, reference, type);
            return turns(here.add(network.open(use, device, type)).work(), 1);
          }));
      theirs(
          row,
          network,
          type,
          deadline,
          pass,
          way -> network.prepare(use.workload(), use.count(), way.dtype(), way.options()));
      finish(row, pass ? Math.max(PASSES, rounds()) : rounds(), deadline);
      if (pass) {
        row.facts.put("passesOfASampler", use.passes());
        for (Contender contender : row.contenders) {
          if (!contender.seconds.isEmpty()) {
            contender.facts.put("sampleSeconds", use.passes() * contender.median());
            contender.facts.put(
                "sampleSecondsAre",
                "extrapolated from " + contender.seconds.size() + " samples of a pass");
          }
        }
      }
    }
  }
}
