package dev.gatun.engine.cuda;

import static dev.gatun.engine.cuda.Work.aligned;
import static dev.gatun.engine.cuda.Work.element;

import dev.gatun.engine.Buffer;
import dev.gatun.engine.CausalPlan;
import dev.gatun.engine.Owned;
import dev.gatun.engine.Shape;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.Value;
import dev.gatun.engine.op.Conv2d;
import dev.gatun.engine.op.Conv2dBackwardData;
import dev.gatun.engine.op.Conv2dUnit;
import dev.gatun.engine.op.Gate;
import dev.gatun.engine.op.NormalizePixels;
import dev.gatun.kernels.ConvPlan;
import dev.gatun.kernels.ConvPlan.Output;
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
  List<KernelCall> presets(CausalPlan plan) {
    Shape x = plan.image().shape();
    return plan.units().stream()
        .filter(unit -> unit.op() instanceof NormalizePixels)
        .map(unit -> call(unit, Window.whole(x.dim(0), x.dim(1) * x.dim(2), 1)))
        .toList();
  }

  KernelCall call(CausalPlan.Unit unit, Window window) {
    Tensor y = places.apply(unit.output());
    List<Tensor> in = unit.inputs().stream().map(places).toList();
    Tensor x = in.getFirst();
    return switch (unit.op()) {
      case Conv2d op -> convolve(unit, window, x, in.get(1), op, false, null, false);
      case Conv2dBackwardData op ->
          convolve(unit, window, in.get(1), x, op.forward(), true, null, false);
      // a pixel at a time: its colours lie together with the channel of ones
      case NormalizePixels op ->
          CudaElementwise.call(op, in, y, x.shape().dim(3), ungrouped(window, 1), device.refusal());
      // its own groups even where all of them are computed together
      case Gate op when window.groups() != op.groups() ->
          CudaElementwise.call(
              op,
              in,
              y,
              y.shape().dim(3) / op.groups(),
              ungrouped(window, op.groups()),
              device.refusal());
      default ->
          CudaElementwise.call(
              unit.op(), in, y, y.shape().dim(3) / window.groups(), window, device.refusal());
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
    int half = unit == null ? 0 : CudaConvolution.half(unit.op(), sums.shape());
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
    Output output =
        CudaConvolution.plus(
                CudaConvolution.output(y, filters),
                sums.shape(),
                bias ? places.apply(conv.inputs().get(2)) : null,
                addend ? places.apply(conv.inputs().getLast()) : null)
            // a few of the colour before are computed again: eight are written together
            .channels(from / 8 * 8, to);
    if (unit != null) {
      boolean residual = unit.inputs().size() > 1;
      output =
          output.through(
              CudaConvolution.activation(unit.op()),
              half,
              residual ? places.apply(unit.inputs().get(1)).address() : 0,
              keeps ? sums.address() : 0);
    }
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
