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
import dev.gatun.engine.op.Conv2d;
import dev.gatun.engine.op.Conv2dBackwardData;
import dev.gatun.kernels.DrawKernels;
import dev.gatun.kernels.KernelCall;
import dev.gatun.kernels.Window;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.function.Function;
import java.util.function.IntConsumer;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * A {@link CausalPlan} on a GPU. Every value keeps all its positions; a step computes some of them
 * by the kernels that compute whole tensors, told by a window where to work. The time lies on the
 * device and indexes a table of positions, so that a step is a recorded graph which serves every
 * pixel that needs the same computations: a handful of graphs draw an image.
 */
final class CudaCausal implements CausalProgram {
  private final CudaDevice device;
  private final CausalPlan plan;
  private final int images;
  private final int height;
  private final int width;
  private final int colours;
  private final Owned owned = new Owned();
  private final Map<Value, Tensor> places = new IdentityHashMap<>();
  private final CausalSteps schedule;
  private final Map<CausalSteps.Part, KernelCall> calls = new HashMap<>();
  private final Map<PixelDistribution, CudaLaunch[]> steps = new HashMap<>();
  private final List<Buffer> used = new ArrayList<>();
  private final Tensor image;
  private final Tensor labels;
  private final Buffer time; // i32
  private final Buffer raster; // i32 by time: the pixel that is drawn
  private final Buffer request;
  private final Buffer pixel; // [N,C] u8
  private final Tensor parameters; // [N,P/passes] f32
  private List<KernelCall> presets;
  private final Set<CausalSteps.Part> products = new HashSet<>();
  private final CudaLaunch[] bare;
  private Tensor given;

  CudaCausal(CudaDevice device, Graph graph, CausalPlan plan, Value labelValue) {
    this.device = device;
    this.plan = plan;
    Shape shape = plan.image().shape();
    images = shape.dim(0);
    height = shape.dim(1);
    width = shape.dim(2);
    colours = shape.dim(3);
    schedule = new CausalSteps(plan, times());
    bare = new CudaLaunch[schedule.kinds().size()];
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
      prepare();
      places.values().forEach(tensor -> used.add(tensor.buffer()));
      for (CausalPlan.Unit unit : plan.units()) {
        unit.inputs().forEach(value -> used.add(place(value).buffer()));
      }
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
    Program once = owned.add(graph.compile(device, plan.constants().toArray(Value[]::new)));
    once.run();
    plan.constants().forEach(value -> places.put(value, once.tensor(value)));
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

  /** Prepares the kernels of all parts. */
  private void prepare() {
    CudaPixels pixels = new CudaPixels(device, this::place, owned);
    presets = pixels.presets(plan);
    Map<Integer, Integer> joined = schedule.joined();
    schedule
        .positions()
        .forEach((part, at) -> {
          if (joined.containsValue(part.unit())) {
            return; // the unit after it takes it along
          }
          CausalPlan.Unit unit = plan.units().get(part.unit());
          boolean conv = unit.op() instanceof Conv2d || unit.op() instanceof Conv2dBackwardData;
          if (conv || joined.containsKey(part.unit())) {
            products.add(part);
          }
          Window window = window(unit, part.group(), table(at));
          Integer before = joined.get(part.unit());
          calls.put(
              part,
              before == null
                  ? pixels.call(unit, window)
                  : both(pixels, plan.units().get(before), unit, window));
        });
  }

  private KernelCall both(
      CudaPixels pixels, CausalPlan.Unit conv, CausalPlan.Unit unit, Window window) {
    boolean keeps = schedule.readers(conv.output()).count() > 1;
    return pixels.call(conv, unit, keeps, window);
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
        unit.byRows() || unit.groups() == 1 ? -1 : group);
  }

  /** A parameter, a value that is computed once, or one that depends on the image. */
  private Tensor place(Value value) {
    Tensor tensor = places.get(value);
    return tensor == null ? value.bound() : tensor;
  }

  /** The launch of a time, the same for all times of a kind; null where there is nothing to do. */
  private CudaLaunch step(int t, PixelDistribution distribution) {
    CudaLaunch[] all =
        steps.computeIfAbsent(distribution, d -> new CudaLaunch[schedule.kinds().size()]);
    return recorded(
        all,
        schedule.kindOf(t),
        kind -> {
          List<KernelCall> now = calls(kind.parts().stream());
          if (distribution != null) {
            now.add(drawn(distribution, kind.pass()));
            now.add(DrawKernels.advance(time.address()));
          }
          return now;
        });
  }

  private List<KernelCall> calls(Stream<CausalSteps.Part> parts) {
    return parts.map(calls::get).filter(Objects::nonNull).collect(Collectors.toList());
  }

  private CudaLaunch recorded(
      CudaLaunch[] all, int k, Function<CausalSteps.Kind, List<KernelCall>> content) {
    if (all[k] == null) {
      List<KernelCall> now = content.apply(schedule.kinds().get(k));
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
      plan.requireLabels(ownLabels); // no step is waited for, to hear that it refuses one
      labels.write(ownLabels);
    }
    // what the first colour of a pixel sees there before any is drawn: the channel of ones
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

  /** Of our convolutions alone, with the units that are in them. */
  @Override
  public double bareSeconds(int lanes) {
    begin(null);
    try (CudaLaunch next =
        device.launchCalls("advance_time", used, List.of(DrawKernels.advance(time.address())))) {
      device.synchronize();
      long start = System.nanoTime();
      for (int t = 0; t < times(); t++) {
        CudaLaunch step =
            recorded(
                bare,
                schedule.kindOf(t),
                kind -> calls(kind.parts().stream().filter(products::contains)));
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
