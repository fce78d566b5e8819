package dev.gatun.engine.cuda;

import static dev.gatun.engine.cuda.Work.aligned;
import static dev.gatun.engine.cuda.Work.element;

import dev.gatun.engine.Buffer;
import dev.gatun.engine.CausalPlan;
import dev.gatun.engine.DType;
import dev.gatun.engine.Owned;
import dev.gatun.engine.Shape;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.Value;
import dev.gatun.engine.op.Add;
import dev.gatun.engine.op.AddBias;
import dev.gatun.engine.op.ConcatElu;
import dev.gatun.engine.op.Conv2d;
import dev.gatun.engine.op.Conv2dBackwardData;
import dev.gatun.engine.op.Conv2dUnit;
import dev.gatun.engine.op.Elu;
import dev.gatun.engine.op.Gate;
import dev.gatun.engine.op.NormalizePixels;
import dev.gatun.engine.op.Relu;
import dev.gatun.engine.op.Shift;
import dev.gatun.kernels.ConvPlan;
import dev.gatun.kernels.ConvPlan.Activation;
import dev.gatun.kernels.ConvPlan.Output;
import dev.gatun.kernels.ElementwiseKernels;
import dev.gatun.kernels.KernelCall;
import dev.gatun.kernels.Window;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;

/** The kernels of a causal program's ops, each on the window of positions that a step computes. */
final class CudaPixels {
  /** A convolution's plan and where its table and packed weights lie. */
  private record Convolution(ConvPlan plan, long table, long packed, long used) {}

  private final CudaDevice device;
  private final Function<Value, Tensor> places;
  private final Owned owned;
  private final Map<CausalPlan.Unit, Convolution> convolutions = new HashMap<>();

  /**
   * Kernels over the tensors that {@code places} names.
   *
   * @param owned is given the memory that they need
   */
  CudaPixels(CudaDevice device, Function<Value, Tensor> places, Owned owned) {
    this.device = device;
    this.places = places;
    this.owned = owned;
  }

  /** What fills in the pixels as they are before the first is drawn. */
  static List<KernelCall> presets(CausalPlan plan, Function<Value, Tensor> places) {
    List<KernelCall> calls = new ArrayList<>();
    for (CausalPlan.Unit unit : plan.units()) {
      if (unit.op() instanceof NormalizePixels op) {
        Shape x = plan.image().shape();
        calls.add(normalize(op, places, unit, Window.whole(x.dim(0), x.dim(1) * x.dim(2), 1)));
      }
    }
    return calls;
  }

  private static KernelCall normalize(
      NormalizePixels op, Function<Value, Tensor> places, CausalPlan.Unit unit, Window window) {
    Tensor y = places.apply(unit.output());
    Tensor x = places.apply(unit.inputs().getFirst());
    return ElementwiseKernels.normalizePixels(
        element(y), x.address(), y.address(), x.shape().dim(3), op.levels(), window);
  }

  KernelCall call(CausalPlan.Unit unit, Window window) {
    Tensor y = places.apply(unit.output());
    List<Tensor> in = unit.inputs().stream().map(places).toList();
    Tensor x = in.getFirst();
    int channels = y.shape().dim(3) / window.groups();
    return switch (unit.op()) {
      case Conv2d op -> convolve(unit, window, x, in.get(1), op, false, null, false);
      case Conv2dBackwardData op ->
          convolve(unit, window, in.get(1), x, op.forward(), true, null, false);
      // a pixel at a time: its colours lie together with the channel of ones
      case NormalizePixels op -> normalize(op, places, unit, ungrouped(window, 1));
      case Relu op ->
          ElementwiseKernels.relu(element(x), x.address(), y.address(), channels, window);
      case Elu op -> ElementwiseKernels.elu(element(x), x.address(), y.address(), channels, window);
      case ConcatElu op ->
          ElementwiseKernels.concatElu(
              element(x), x.address(), y.address(), x.shape().dim(3), window);
      case Gate op -> gate(op, window, in, y);
      case Add op ->
          ElementwiseKernels.add(
              element(x), x.address(), in.get(1).address(), y.address(), channels, window);
      case AddBias op ->
          ElementwiseKernels.addBias(
              element(x),
              x.address(),
              in.get(1).address(),
              in.size() > 2 ? in.get(2).address() : 0,
              y.address(),
              device.refusal(),
              in.get(1).shape().dim(0),
              channels,
              window);
      case Shift op ->
          ElementwiseKernels.shift(
              element(x),
              x.address(),
              y.address(),
              x.shape().dim(1),
              x.shape().dim(2),
              x.shape().dim(3),
              op.rows(),
              op.columns(),
              window);
      default ->
          throw new IllegalArgumentException(
              unit.op().name() + " cannot be computed pixel by pixel on " + device.name());
    };
  }

  /** Whether the unit can be computed together with the convolution before it. */
  static boolean joins(CausalPlan.Unit conv, CausalPlan.Unit unit) {
    boolean alike = conv.byRows() == unit.byRows() && conv.groups() == unit.groups();
    if (!alike || !(conv.op() instanceof Conv2d op) || !Conv2dUnit.isUnit(unit.op())) {
      return false;
    }
    // a gate's halves lie apart: both of one colour are more than a range of channels
    boolean whole = conv.groups() == 1 || !(unit.op() instanceof Gate);
    boolean residual = unit.inputs().size() > 1;
    List<Value> inputs = new ArrayList<>(conv.inputs());
    if (residual) {
      inputs.add(unit.inputs().get(1));
    }
    Conv2dUnit both = new Conv2dUnit(op, unit.op(), residual, true);
    return whole
        && CudaConvolution.refuses(both, inputs.stream().map(Value::spec).toList()) == null;
  }

  /** A convolution and the unit after it, which {@link #joins}; {@code keeps} the sums, or not. */
  KernelCall call(CausalPlan.Unit conv, CausalPlan.Unit unit, boolean keeps, Window window) {
    return convolve(
        conv,
        window,
        places.apply(conv.inputs().getFirst()),
        places.apply(conv.inputs().get(1)),
        (Conv2d) conv.op(),
        false,
        unit,
        keeps);
  }

  private static Window ungrouped(Window w, int groups) {
    return new Window(w.first(), w.time(), w.images(), w.count(), w.positions(), groups, -1);
  }

  private static KernelCall gate(Gate op, Window window, List<Tensor> in, Tensor y) {
    // its own groups even where all of them are computed together
    Window own = window.groups() == op.groups() ? window : ungrouped(window, op.groups());
    return ElementwiseKernels.gate(
        element(y),
        in.getFirst().address(),
        in.size() > 1 ? in.get(1).address() : 0,
        y.address(),
        y.shape().dim(3) / op.groups(),
        op.kind() == Gate.Kind.LINEAR,
        own);
  }

  private KernelCall convolve(
      CausalPlan.Unit conv,
      Window window,
      Tensor x,
      Tensor weights,
      Conv2d op,
      boolean backward,
      CausalPlan.Unit unit,
      boolean keeps) {
    Tensor sums = places.apply(conv.output());
    int filters = sums.shape().dim(3);
    int half = unit != null && unit.op() instanceof Gate gate ? filters / 2 / gate.groups() : 0;
    Convolution c =
        convolutions.computeIfAbsent(
            conv, u -> prepare(x, sums, weights, op, backward, half, window.count()));
    List<TensorSpec> specs = conv.inputs().stream().map(Value::spec).toList();
    boolean bias = !backward && Conv2d.hasBias(specs);
    boolean addend = backward ? specs.size() > 2 : Conv2d.hasAddend(specs);
    int each = filters / window.groups();
    int from = window.group() < 0 ? 0 : window.group() * each;
    int to = window.group() < 0 ? filters : from + each;
    Tensor y = unit == null ? sums : places.apply(unit.output());
    boolean residual = unit != null && unit.inputs().size() > 1;
    Output output =
        new Output(
            bias ? places.apply(conv.inputs().get(2)).address() : 0,
            addend ? places.apply(conv.inputs().getLast()).address() : 0,
            keeps ? sums.address() : 0,
            residual ? places.apply(unit.inputs().get(1)).address() : 0,
            y.address(),
            y.dtype() == DType.F32,
            unit == null ? Activation.NONE : CudaConvolution.activation(unit.op()),
            half,
            // a few of the colour before are computed again: eight are written together
            from / 8 * 8,
            to);
    return c.plan.convolve(x.address(), c.table, c.packed, c.used, output, window);
  }

  /** Weights do not change while images are drawn: they are packed once. */
  private Convolution prepare(
      Tensor x, Tensor y, Tensor weights, Conv2d op, boolean backward, int half, int positions) {
    ConvPlan plan =
        new ConvPlan(
            element(x),
            y.shape().dim(0),
            CudaConvolution.image(x.shape()),
            CudaConvolution.image(y.shape()),
            op.taps().toArray(),
            op.strideH(),
            op.strideW(),
            backward,
            aligned(x),
            positions,
            device.multiprocessors());
    int[] table = plan.table();
    Buffer tables = owned.add(device.allocate((long) Integer.BYTES * table.length));
    device.upload(MemorySegment.ofArray(table), tables, 0);
    Buffer packed = owned.add(device.allocate(Math.max(1, plan.packedBytes())));
    Buffer used = owned.add(device.allocate(Math.max(1, plan.usedBytes())));
    if (plan.hasWeights()) {
      KernelCall pack =
          plan.pack(weights.address(), tables.address(), packed.address(), used.address(), half);
      try (CudaLaunch launch =
          device.launchCalls("conv_pack", List.of(weights.buffer(), packed, used), List.of(pack))) {
        launch.run();
      }
    }
    return new Convolution(plan, tables.address(), packed.address(), used.address());
  }
}
