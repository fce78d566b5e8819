package dev.gatun.engine.cuda;

import dev.gatun.engine.Buffer;
import dev.gatun.engine.CausalPlan;
import dev.gatun.engine.CausalProgram;
import dev.gatun.engine.DType;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Owned;
import dev.gatun.engine.Philox;
import dev.gatun.engine.PixelDistribution;
import dev.gatun.engine.Program;
import dev.gatun.engine.Shape;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.Value;
import dev.gatun.kernels.DrawKernels;
import dev.gatun.kernels.KernelCall;
import dev.gatun.kernels.Window;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.function.IntConsumer;

/**
 * A {@link CausalPlan} on a GPU. Every value keeps all its positions; a step computes some of them
 * by the kernels that compute whole tensors, told by a window where to work. The time lies on the
 * device and indexes a table of positions, so that a step is a recorded graph which serves every
 * pixel that needs the same computations: a handful of graphs draw an image.
 */
final class CudaCausal implements CausalProgram {
  /** A unit's computation that a step may hold; several where one time needs several positions. */
  private record Part(int unit, int group, int turn) {}

  /** What is run before the draw of a pass. */
  private record Kind(List<Part> parts, int pass) {}

  private final CudaDevice device;
  private final CausalPlan plan;
  private final int images;
  private final int height;
  private final int width;
  private final int colours;
  private final Owned owned = new Owned();
  private final Map<Value, Tensor> places = new IdentityHashMap<>();
  private final Map<Part, KernelCall> calls = new HashMap<>();
  private final List<Kind> kinds = new ArrayList<>();
  private final int[] kindOf; // by time
  private final Map<PixelDistribution, CudaLaunch[]> steps = new HashMap<>();
  private final List<Buffer> used = new ArrayList<>();
  private final Tensor image;
  private final Tensor labels;
  private final Buffer time; // i32
  private final Buffer raster; // i32 by time: the pixel that is drawn
  private final Buffer request;
  private final Buffer pixel; // [N,C] u8
  private final Tensor parameters; // [N,P/passes] f32
  private Tensor given;

  CudaCausal(CudaDevice device, Graph graph, CausalPlan plan, Value labelValue) {
    this.device = device;
    this.plan = plan;
    Shape shape = plan.image().shape();
    images = shape.dim(0);
    height = shape.dim(1);
    width = shape.dim(2);
    colours = shape.dim(3);
    kindOf = new int[times()];
    try {
      image = owned.add(Tensor.allocate(device, plan.image().spec()));
      labels = owned.add(Tensor.allocate(device, DType.U8, images));
      places.put(plan.image(), image);
      if (labelValue != null) {
        places.put(labelValue, labels);
      }
      constants(graph);
      for (CausalPlan.Unit unit : plan.units()) {
        places.put(unit.output(), owned.add(Tensor.allocate(device, unit.output().spec())));
      }
      time = owned.add(device.allocate(Integer.BYTES));
      raster = table(rasterOrder());
      request = owned.add(device.allocate(DrawKernels.REQUEST_BYTES));
      pixel = owned.add(device.allocate((long) images * colours));
      int each = plan.output().shape().dim(3) / plan.groups(plan.output());
      parameters = owned.add(Tensor.allocate(device, DType.F32, images, each));
      arrange();
      places.values().forEach(tensor -> used.add(tensor.buffer()));
    } catch (RuntimeException | Error e) {
      close();
      throw e;
    }
  }

  // ---- building

  private void constants(Graph graph) {
    if (plan.constants().isEmpty()) {
      return;
    }
    Value[] values = plan.constants().toArray(Value[]::new);
    try (Program once = graph.compile(device, values)) {
      once.run();
      for (Value value : values) {
        Tensor from = once.tensor(value);
        Tensor to = owned.add(Tensor.allocate(device, from.spec()));
        byte[] bytes = new byte[(int) from.spec().sizeBytes()];
        from.read(MemorySegment.ofArray(bytes));
        places.put(value, to.write(MemorySegment.ofArray(bytes)));
      }
    }
  }

  private int times() {
    return height * width * plan.passes();
  }

  private int[] rasterOrder() {
    int[] pixels = new int[times()];
    Arrays.setAll(pixels, t -> t / plan.passes());
    return pixels;
  }

  private Buffer table(int[] values) {
    Buffer buffer = owned.add(device.allocate((long) Integer.BYTES * values.length));
    device.upload(MemorySegment.ofArray(values), buffer, 0);
    return buffer;
  }

  /**
   * Finds out which parts there are, where each works at which time, and prepares their kernels.
   */
  private void arrange() {
    Map<CausalPlan.Unit, Integer> numbers = new IdentityHashMap<>();
    plan.units().forEach(unit -> numbers.put(unit, numbers.size()));
    Map<Part, int[]> positions = new HashMap<>();
    Map<Kind, Integer> known = new HashMap<>();
    for (int t = 0; t < times(); t++) {
      Map<Part, Integer> turns = new HashMap<>();
      List<Part> now = new ArrayList<>();
      for (CausalPlan.Step step : plan.steps(t)) {
        int unit = numbers.get(step.unit());
        int turn = turns.merge(new Part(unit, step.group(), 0), 1, Integer::sum) - 1;
        Part part = new Part(unit, step.group(), turn);
        positions.computeIfAbsent(part, p -> never())[t] =
            step.row() * step.unit().output().shape().dim(2) + Math.max(0, step.column());
        now.add(part);
      }
      Kind kind = new Kind(now, t % plan.passes());
      kindOf[t] = known.computeIfAbsent(kind, k -> kinds.size());
      if (kindOf[t] == kinds.size()) {
        kinds.add(kind);
      }
    }
    CudaPixels pixels = new CudaPixels(device, this::place, owned);
    Map<Integer, Integer> joined = joined(positions);
    positions.forEach((part, at) -> {
      if (!joined.containsValue(part.unit)) {
        CausalPlan.Unit unit = plan.units().get(part.unit);
        Integer conv = joined.get(part.unit);
        Window window = window(unit, part.group, table(at));
        calls.put(
            part,
            conv == null
                ? pixels.call(unit, window)
                : pixels.call(plan.units().get(conv), unit, readers(conv) > 1, window));
      }
    });
  }

  private long readers(int unit) {
    Value output = plan.units().get(unit).output();
    return plan.units().stream().filter(u -> u.inputs().contains(output)).count();
  }

  /**
   * Units that follow a convolution at the same positions and times, each with that convolution.
   */
  private Map<Integer, Integer> joined(Map<Part, int[]> positions) {
    Map<Integer, Map<Part, int[]>> where = new HashMap<>();
    positions.forEach((part, at) ->
        where
            .computeIfAbsent(part.unit, u -> new HashMap<>())
            .put(new Part(0, part.group, part.turn), at));
    Map<Integer, Integer> joined = new HashMap<>();
    for (int u = 0; u < plan.units().size(); u++) {
      CausalPlan.Unit unit = plan.units().get(u);
      Value sums = unit.inputs().getFirst();
      for (int c = 0; c < u; c++) {
        CausalPlan.Unit conv = plan.units().get(c);
        if (conv.output() == sums
            && CudaPixels.joins(conv, unit)
            && !joined.containsValue(c)
            && sums != plan.output()
            && same(where.get(c), where.get(u))
            && plan.units().subList(c + 1, u).stream().noneMatch(b -> b.inputs().contains(sums))) {
          joined.put(u, c);
        }
      }
    }
    return joined;
  }

  private static boolean same(Map<Part, int[]> a, Map<Part, int[]> b) {
    return a != null
        && b != null
        && a.keySet().equals(b.keySet())
        && a.entrySet().stream().allMatch(e -> Arrays.equals(e.getValue(), b.get(e.getKey())));
  }

  private int[] never() {
    int[] none = new int[times()];
    Arrays.fill(none, -1);
    return none;
  }

  private Window window(CausalPlan.Unit unit, int group, Buffer positions) {
    Shape shape = unit.output().shape();
    return new Window(
        positions.address(),
        time.address(),
        images,
        unit.byRows() ? shape.dim(2) : 1,
        shape.dim(1) * shape.dim(2),
        unit.groups(),
        unit.groups() > 1 ? group : -1);
  }

  /** A parameter, a value that is computed once, or one that depends on the image. */
  private Tensor place(Value value) {
    Tensor tensor = places.get(value);
    return tensor == null ? value.bound() : tensor;
  }

  /** The launch of a time, the same for all times of a kind; null where there is nothing to do. */
  private CudaLaunch step(int t, PixelDistribution distribution) {
    CudaLaunch[] all = steps.computeIfAbsent(distribution, d -> new CudaLaunch[kinds.size()]);
    int k = kindOf[t];
    if (all[k] == null) {
      List<KernelCall> now = new ArrayList<>();
      // a convolution that the unit after it takes along has no call of its own
      kinds.get(k).parts.stream().map(calls::get).filter(Objects::nonNull).forEach(now::add);
      if (distribution != null) {
        now.add(drawn(distribution, kinds.get(k).pass));
        now.add(DrawKernels.advance(time.address()));
      }
      if (now.isEmpty()) {
        return null;
      }
      all[k] = owned.add(device.recordCalls("a pixel's step", used, now));
    }
    return all[k];
  }

  private Window pixelWindow(int groups, int group) {
    return new Window(raster.address(), time.address(), images, 1, height * width, groups, group);
  }

  private KernelCall drawn(PixelDistribution distribution, int pass) {
    Tensor from = places.get(plan.output());
    return switch (distribution) {
      case PixelDistribution.Categorical(int levels) ->
          DrawKernels.categorical(
              Work.element(from),
              from.address(),
              request.address(),
              image.address(),
              colours,
              levels,
              pixelWindow(plan.passes(), pass));
      case PixelDistribution.Logistics(int mixtures, int levels) ->
          DrawKernels.mixture(
              Work.element(from),
              from.address(),
              request.address(),
              image.address(),
              colours,
              mixtures,
              levels,
              pixelWindow(1, -1));
    };
  }

  // ---- running

  @Override
  public int laneImages() {
    return images;
  }

  @Override
  public int lanes() {
    return 1;
  }

  @Override
  public boolean draws(PixelDistribution distribution) {
    int channels = plan.output().shape().dim(3);
    return switch (distribution) {
      case PixelDistribution.Categorical(int levels) ->
          levels <= DrawKernels.MOST_CHOICES
              && plan.passes() == colours
              && channels == levels * colours;
      case PixelDistribution.Logistics(int mixtures, int levels) ->
          mixtures <= DrawKernels.MOST_CHOICES
              && plan.passes() == 1
              && channels == (colours == 3 ? 10 : 3) * mixtures;
    };
  }

  @Override
  public byte[] draw(byte[] ownLabels, Drawing drawing, IntConsumer rows) {
    begin(ownLabels);
    int size = height * width * colours;
    give(drawing, size);
    for (int row = 0; row < height; row++) {
      for (int t = row * width * plan.passes(); t < (row + 1) * width * plan.passes(); t++) {
        step(t, drawing.distribution()).run();
      }
      device.synchronize();
      rows.accept(row + 1);
    }
    byte[] all = new byte[drawing.count() * size];
    device.download(image.buffer(), 0, MemorySegment.ofArray(all));
    return all;
  }

  private void give(Drawing drawing, int size) {
    long address = 0;
    if (drawing.givenRows() > 0) {
      if (given == null) {
        given = owned.add(Tensor.allocate(device, image.spec()));
      }
      device.upload(
          MemorySegment.ofArray(drawing.given()).asSlice(0, (long) drawing.count() * size),
          given.buffer(),
          0);
      address = given.address();
    }
    byte[] bytes =
        DrawKernels.request(
            drawing.seed(),
            drawing.temperature(),
            address,
            drawing.givenRows() * width,
            drawing.first(),
            drawing.count(),
            Philox.Stream.SAMPLE.ordinal());
    device.upload(MemorySegment.ofArray(bytes), request, 0);
  }

  private void begin(byte[] ownLabels) {
    device.upload(MemorySegment.ofArray(new int[1]), time, 0);
    device.upload(
        MemorySegment.ofArray(new byte[(int) image.spec().sizeBytes()]), image.buffer(), 0);
    if (ownLabels != null) {
      labels.write(ownLabels);
    }
    // what the first colour of a pixel sees there before any is drawn: the channel of ones
    List<KernelCall> presets = CudaPixels.presets(plan, this::place);
    if (!presets.isEmpty()) {
      try (CudaLaunch launch = device.launchCalls("what is known at first", used, presets)) {
        launch.run();
      }
    }
  }

  @Override
  public void run(int lanes, byte[][] laneLabels, Draw draw) {
    begin(laneLabels == null ? null : laneLabels[0]);
    Tensor from = places.get(plan.output());
    int groups = plan.groups(plan.output());
    byte[] chosen = new byte[images * colours];
    try (Owned here = new Owned()) {
      List<CudaLaunch> takes = new ArrayList<>();
      for (int group = 0; group < groups; group++) {
        KernelCall take =
            DrawKernels.takePosition(
                Work.element(from),
                from.address(),
                parameters.address(),
                parameters.shape().dim(1),
                pixelWindow(groups, group));
        takes.add(here.add(device.launchCalls("take_position", used, List.of(take))));
      }
      List<KernelCall> put =
          List.of(
              DrawKernels.putPosition(
                  pixel.address(), image.address(), colours, pixelWindow(1, -1)),
              DrawKernels.advance(time.address()));
      CudaLaunch puts = here.add(device.launchCalls("put_position", used, put));
      for (int t = 0; t < times(); t++) {
        int pass = t % plan.passes();
        int at = t / plan.passes();
        CudaLaunch step = step(t, null);
        if (step != null) {
          step.run();
        }
        takes.get(groups > 1 ? pass : 0).run();
        draw.draw(0, at / width, at % width, pass, parameters.toFloats(), chosen);
        device.upload(MemorySegment.ofArray(chosen), pixel, 0);
        puts.run();
      }
    }
  }

  @Override
  public double bareSeconds(int lanes) {
    begin(null);
    try (CudaLaunch next =
        device.launchCalls("advance_time", used, List.of(DrawKernels.advance(time.address())))) {
      device.synchronize();
      long start = System.nanoTime();
      for (int t = 0; t < times(); t++) {
        CudaLaunch step = step(t, null);
        if (step != null) {
          step.run();
        }
        next.run();
      }
      device.synchronize();
      return (System.nanoTime() - start) / 1e9;
    }
  }

  @Override
  public void close() {
    owned.close();
  }
}
