package dev.gatun.engine;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.engine.contract.Reference;
import dev.gatun.engine.op.Add;
import dev.gatun.engine.op.AddBias;
import dev.gatun.engine.op.ConcatElu;
import dev.gatun.engine.op.Conv2d;
import dev.gatun.engine.op.Conv2dBackwardData;
import dev.gatun.engine.op.Elu;
import dev.gatun.engine.op.Gate;
import dev.gatun.engine.op.GroupNorm;
import dev.gatun.engine.op.MaskChannels;
import dev.gatun.engine.op.NormalizePixels;
import dev.gatun.engine.op.Relu;
import dev.gatun.engine.op.Shift;
import dev.gatun.engine.op.Taps;
import dev.gatun.engine.op.WeightNorm;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

/** Networks computed pixel by pixel, against the same networks computed at once. */
class CausalTest {
  private static final int[][] SIZES = {{5, 7}, {7, 5}, {6, 9}};
  private static final Philox.Stream DRAWN = Philox.Stream.TEST;

  private static Device device;

  @BeforeAll
  static void open() {
    device = WithDevice.open();
  }

  @AfterAll
  static void close() {
    device.close();
    assertEquals(0, device.allocatedBytes());
  }

  // ------------------------------------------------------------------ networks

  private interface Form {
    Value build(Net net);
  }

  /** A network in the making. Its weights depend on their number alone. */
  private static final class Net implements AutoCloseable {
    final Graph graph = new Graph();
    final DType type;
    final int colours;
    final int passes;
    final Philox philox = new Philox(11);
    final List<Tensor> tensors = new ArrayList<>();
    final Tensor imageTensor;
    final Tensor labelTensor;
    final Value image;
    final Value labels;
    boolean normed;
    Value output;

    Net(DType type, int images, int height, int width, int colours, int passes, Form form) {
      this.type = type;
      this.colours = colours;
      this.passes = passes;
      imageTensor = own(Tensor.allocate(device, DType.U8, images, height, width, colours));
      labelTensor = own(Tensor.allocate(device, DType.U8, images));
      image = graph.bind(imageTensor);
      labels = graph.bind(labelTensor);
      output = form.build(this);
    }

    private Tensor own(Tensor tensor) {
      tensors.add(tensor);
      return tensor;
    }

    CausalPlan plan() {
      return new CausalPlan(image, output, passes);
    }

    CausalProgram causal() {
      return device.causal(graph, plan(), labels);
    }

    Value normal(double deviation, int... dims) {
      Tensor tensor = own(Tensor.allocate(device, DType.F32, dims));
      float[] values = new float[tensor.elements()];
      for (int i = 0; i < values.length; i++) {
        values[i] = (float) (deviation * philox.normal(DRAWN, tensors.size(), i));
      }
      return graph.bind(tensor.write(values));
    }

    /** Weights under which a convolution's results are about as large as what it reads. */
    Value weights(int taps, int channels, int filters) {
      Value w = normal(1 / Math.sqrt(taps * channels), taps, channels, filters);
      return normed ? graph.apply(new WeightNorm(2), w, normal(0.5, filters)) : w;
    }

    Value pixels() {
      return graph.apply(new NormalizePixels(256, type), image);
    }

    static int channels(Value x) {
      return x.shape().dim(3);
    }

    Value conv(Conv2d op, Value x, int filters) {
      return graph.apply(
          op, x, weights(op.taps().count(), channels(x), filters), normal(0.3, filters));
    }

    Value conv(Taps taps, Value x, int filters) {
      return conv(new Conv2d(taps), x, filters);
    }

    Value conv(Taps taps, Value x, int filters, Value addend) {
      Value w = weights(taps.count(), channels(x), filters);
      return graph.apply(new Conv2d(taps), x, w, normal(0.3, filters), addend);
    }

    /** As {@link #conv}, within a pixel from a colour to those after it. */
    Value masked(Taps taps, boolean strict, Value x, int filters, Value addend) {
      int centre = taps.list().indexOf(new Taps.Tap(0, 0));
      int free = channels(x) % colours;
      Value w = weights(taps.count(), channels(x), filters);
      List<Value> in = new ArrayList<>();
      in.add(x);
      in.add(graph.apply(new MaskChannels(centre, colours, strict, free), w));
      in.add(normal(0.3, filters));
      if (addend != null) {
        in.add(addend);
      }
      return graph.apply(new Conv2d(taps), in).getFirst();
    }

    Value larger(Taps taps, Value x, Value like, Value addend) {
      int filters = channels(x);
      Value w = normal(1 / Math.sqrt(2 * filters), taps.count(), channels(like), filters);
      if (normed) {
        w = graph.apply(new WeightNorm(1), w, normal(1, channels(like)));
      }
      Op op = new Conv2dBackwardData(new Conv2d(taps, 2, 2, null), like.shape());
      return addend == null ? graph.apply(op, w, x) : graph.apply(op, w, x, addend);
    }

    Value apply(Op op, Value... inputs) {
      return graph.apply(op, inputs);
    }

    @Override
    public void close() {
      tensors.forEach(Tensor::close);
    }
  }

  /** One stack: a 7x7 layer and 3x3 layers. */
  private static Value oneStack(Net net) {
    Value x = net.conv(Taps.masked(7, false), net.pixels(), 16);
    for (int i = 0; i < 3; i++) {
      Value h = net.apply(i == 1 ? new Elu() : new Relu(), x);
      x = net.conv(Taps.masked(3, true), h, 16, x);
    }
    return net.conv(Taps.point(), net.apply(new Relu(), x), 5);
  }

  /** The same without addends. */
  private static Value plainStack(Net net) {
    Value x = net.apply(new Relu(), net.conv(Taps.masked(7, false), net.pixels(), 20));
    x = net.apply(new Relu(), net.conv(Taps.masked(3, true), x, 20));
    return net.conv(Taps.point(), x, 3);
  }

  /** A vertical and a horizontal stack, gated, linked, with residuals and labels. */
  private static Value twoStacks(Net net) {
    int f = 16;
    Value table = net.normal(0.5, 10, 2 * f);
    Value v = net.conv(Taps.rectangle(-3, 0, -3, 3), net.pixels(), 2 * f);
    Value across = net.conv(Taps.point(), net.apply(new Shift(1, 0), v), 2 * f);
    Value h = net.conv(Taps.rectangle(0, 0, -3, -1), net.pixels(), 2 * f, across);
    h = net.apply(new Gate(), net.apply(new AddBias(), h, table, net.labels));
    v = net.apply(new Gate(), net.apply(new AddBias(), v, table, net.labels));
    for (int i = 0; i < 2; i++) {
      Value wide = net.conv(Taps.rectangle(-1, 0, -1, 1), v, 2 * f);
      across = net.conv(Taps.point(), net.apply(new Shift(1, 0), wide), 2 * f);
      v = net.apply(new Gate(), net.apply(new AddBias(), wide, net.normal(0.5, 1, 2 * f)));
      Value in = net.conv(Taps.rectangle(0, 0, -1, 0), h, 2 * f, across);
      in = net.apply(new AddBias(), in, table, net.labels);
      h = net.conv(Taps.point(), net.apply(new Gate(), in), f, h);
    }
    return net.conv(new Conv2d(Taps.point(), 1, 1, DType.F32), net.apply(new Relu(), h), 12);
  }

  private static final Taps ROW_TAPS = Taps.rectangle(-1, 0, -1, 1);
  private static final Taps PIXEL_TAPS = Taps.rectangle(-1, 0, -1, 0);

  /** A residual block with a short-cut {@code other}, which may be null. */
  private static Value block(Net net, Taps taps, Value x, Value other) {
    int f = Net.channels(x);
    Value one = net.apply(new ConcatElu(), x);
    Value c =
        other == null
            ? net.conv(taps, one, f)
            : net.conv(taps, one, f, net.conv(Taps.point(), net.apply(new ConcatElu(), other), f));
    Value two = net.conv(taps, net.apply(new ConcatElu(), c), 2 * f);
    return net.apply(new Gate(Gate.Kind.LINEAR, 1), two, x);
  }

  /** Two stacks that go down to half the size and up again, with short-cuts. */
  private static Value levels(Net net) {
    int f = 16;
    net.normed = true;
    Value rows = net.pixels();
    Value pixels = net.pixels();
    Value u = net.apply(new Shift(1, 0), net.conv(ROW_TAPS, rows, f));
    Value above = net.conv(Taps.rectangle(0, 0, -1, 1), rows, f);
    Value before = net.conv(Taps.rectangle(-1, 0, 0, 0), pixels, f);
    Value l =
        net.apply(new Add(), net.apply(new Shift(1, 0), above), net.apply(new Shift(0, 1), before));
    Value u0 = block(net, ROW_TAPS, u, null);
    Value l0 = block(net, PIXEL_TAPS, l, u0);
    Value u1 = net.conv(new Conv2d(ROW_TAPS, 2, 2, null), u0, f);
    Value l1 = net.conv(new Conv2d(PIXEL_TAPS, 2, 2, null), l0, f);
    u1 = block(net, ROW_TAPS, u1, null);
    l1 = block(net, PIXEL_TAPS, l1, u1);
    Value u2 = net.larger(Taps.rectangle(0, 1, -1, 1), u1, u0, u0);
    Value l2 = net.larger(Taps.rectangle(0, 1, 0, 1), l1, l0, null);
    u2 = block(net, ROW_TAPS, u2, u0);
    l2 = block(net, PIXEL_TAPS, net.apply(new Add(), l2, u2), l0);
    Value l3 = net.larger(Taps.rectangle(0, 1, 0, 1), l1, l0, l2);
    return net.conv(new Conv2d(Taps.point(), 1, 1, DType.F32), net.apply(new Elu(), l3), 10);
  }

  /** Three colours, one drawn after another. */
  private static Value colours(Net net) {
    int f = 18;
    Value table = net.normal(0.5, 10, 2 * f);
    Value x = net.masked(Taps.masked(5, true), true, net.pixels(), 2 * f, null);
    x = net.apply(new AddBias(), x, table, net.labels);
    Value h = net.apply(new Gate(Gate.Kind.TANH, 3), x);
    for (int i = 0; i < 2; i++) {
      Value in = net.masked(Taps.masked(3, true), false, h, 2 * f, null);
      Gate.Kind kind = i == 0 ? Gate.Kind.LINEAR : Gate.Kind.TANH;
      Value gated = net.apply(new Gate(kind, 3), in, h);
      h = net.masked(Taps.point(), false, net.apply(new Elu(), gated), f, h);
    }
    return net.masked(Taps.point(), false, net.apply(new Relu(), h), 12, null);
  }

  /** Three colours in turn, with a vertical stack over whole pixels. */
  private static Value colourStacks(Net net) {
    int f = 12;
    Value v = net.conv(Taps.rectangle(-2, 0, -2, 2), net.pixels(), 2 * f);
    Value across = net.conv(Taps.point(), net.apply(new Shift(1, 0), v), 2 * f);
    Value h = net.masked(Taps.rectangle(0, 0, -2, 0), true, net.pixels(), 2 * f, across);
    h = net.apply(new Gate(Gate.Kind.TANH, 3), h);
    v = net.apply(new Gate(Gate.Kind.TANH, 3), v);
    Value wide = net.conv(ROW_TAPS, v, 2 * f);
    across = net.conv(Taps.point(), net.apply(new Shift(1, 0), wide), 2 * f);
    Value in = net.masked(Taps.rectangle(0, 0, -1, 0), false, h, 2 * f, across);
    h = net.masked(Taps.point(), false, net.apply(new Gate(Gate.Kind.TANH, 3), in), f, h);
    return net.masked(Taps.point(), false, h, 9, null);
  }

  /** Three colours in turn: rows that keep them apart, and a unit on the pixels themselves. */
  private static Value colourRows(Net net) {
    int f = 12;
    Value apart = net.masked(Taps.masked(3, true), true, net.pixels(), 2 * f, null);
    apart = net.apply(new Gate(Gate.Kind.TANH, 3), apart);
    Value above = net.conv(Taps.rectangle(-1, -1, -1, 1), apart, 2 * f);
    Value positive = net.apply(new Relu(), net.pixels());
    Value before = net.conv(Taps.rectangle(0, 0, -2, -1), positive, 2 * f, above);
    Value h = net.masked(Taps.rectangle(0, 0, -1, 0), true, net.pixels(), 2 * f, before);
    return net.masked(Taps.point(), false, net.apply(new Gate(Gate.Kind.TANH, 3), h), 9, null);
  }

  /** Dilated rows and columns, values read at several distances, all that is odd at once. */
  private static Value odd(Net net) {
    Value far = net.conv(Taps.rectangle(-2, -2, -1, 2), net.pixels(), 17);
    Value near = net.conv(Taps.rectangle(0, 0, -2, -1), net.pixels(), 17, far);
    Value low = net.conv(Taps.rectangle(-2, 0, -1, 1, 2), net.apply(new Elu(), far), 17);
    Value h = net.conv(Taps.masked(5, true), near, 17);
    h = net.conv(Taps.rectangle(-1, 0, 0, 0), h, 17, near);
    h = net.apply(new Add(), h, net.apply(new Shift(0, 2), near));
    h = net.apply(new Add(), h, net.apply(new Shift(2, 0), near));
    return net.apply(new Gate(Gate.Kind.TANH, 1), net.conv(Taps.point(), h, 34), low);
  }

  private record Network(String name, int colours, int passes, Form form) {
    Net net(DType type, int images, int height, int width) {
      return new Net(type, images, height, width, colours, passes, form);
    }
  }

  private static final List<Network> NETWORKS =
      List.of(
          new Network("one stack", 1, 1, CausalTest::oneStack),
          new Network("one stack, no addends, three colours at once", 3, 1, CausalTest::plainStack),
          new Network("two stacks", 1, 1, CausalTest::twoStacks),
          new Network("levels", 3, 1, CausalTest::levels),
          new Network("levels in grey", 1, 1, CausalTest::levels),
          new Network("colours in turn", 3, 3, CausalTest::colours),
          new Network("two stacks, colours in turn", 3, 3, CausalTest::colourStacks),
          new Network("rows of colours in turn", 3, 3, CausalTest::colourRows),
          new Network("odd", 1, 1, CausalTest::odd));

  // ------------------------------------------------------------------ what rounding can do

  /**
   * The values of a network in f64, and for each element how far off any order of f32 sums can be:
   * what its inputs are off by, through the op's slopes, and the op's own rounding, gamma_K times
   * its terms and half an ulp.
   */
  private static final class Bounds {
    record Known(double[] value, double[] error) {}

    private final Map<Value, Known> known = new IdentityHashMap<>();
    private final Map<Value, double[]> constants = new IdentityHashMap<>();

    Bounds(Net net, CausalPlan plan) {
      // as the device has them: both ways of computing the network use the same
      Value[] values = plan.constants().toArray(Value[]::new);
      try (Program once = net.graph.compile(device, values)) {
        once.run();
        for (Value value : values) {
          constants.put(value, once.tensor(value).toDoubles());
        }
      }
    }

    Known of(Value value) {
      Known found = known.get(value);
      if (found == null) {
        double[] constant =
            value.producer == null ? value.storage.toDoubles() : constants.get(value);
        found =
            constant == null
                ? computed(value.producer)
                : new Known(constant, new double[constant.length]);
        known.put(value, found);
      }
      return found;
    }

    private Known computed(Graph.Node node) {
      List<TensorSpec> specs = node.inputs().stream().map(Value::spec).toList();
      List<double[]> values = new ArrayList<>();
      List<double[]> errors = new ArrayList<>();
      DType type = node.outputs().getFirst().dtype();
      for (Value input : node.inputs()) {
        Known in = of(input);
        boolean weights = input.shape().rank() == 3;
        values.add(weights ? rounded(in.value, activations(specs)) : in.value);
        errors.add(in.error);
      }
      Reference.Result result = Reference.run(node.op(), specs, values).getFirst();
      double[] passed = passed(node, specs, values, errors);
      double[] error = new double[passed.length];
      double terms = terms(node.op(), specs);
      double gamma = terms * 0x1p-24 / (1 - terms * 0x1p-24);
      double half = type == DType.BF16 ? 0x1p-8 : 0x1p-24;
      for (int i = 0; i < error.length; i++) {
        double arithmetic = passed[i] + gamma * (result.magnitude()[i] + passed[i]);
        error[i] = arithmetic + half * (Math.abs(result.value()[i]) + arithmetic);
      }
      return new Known(result.value(), error);
    }

    private static DType activations(List<TensorSpec> specs) {
      return specs.stream()
          .map(TensorSpec::dtype)
          .filter(t -> t == DType.BF16)
          .findFirst()
          .orElse(DType.F32);
    }

    private static double[] rounded(double[] values, DType type) {
      return type == DType.BF16
          ? Arrays.stream(values).map(v -> DType.fromBf16(DType.toBf16((float) v))).toArray()
          : values;
    }

    private static double terms(Op op, List<TensorSpec> specs) {
      return switch (op) {
        case Conv2d conv -> conv.taps().count() * specs.get(0).shape().dim(3) + 3;
        case Conv2dBackwardData conv ->
            conv.forward().taps().count() * specs.get(1).shape().dim(3) + 3;
        default -> 24;
      };
    }

    /** What errors of the inputs become. */
    private static double[] passed(
        Graph.Node node, List<TensorSpec> specs, List<double[]> in, List<double[]> errors) {
      return switch (node.op()) {
        case Conv2d conv -> {
          List<double[]> sizes = new ArrayList<>(errors);
          sizes.set(1, absolute(in.get(1)));
          yield run(conv, specs, sizes);
        }
        case Conv2dBackwardData conv -> {
          List<double[]> sizes = new ArrayList<>(errors);
          sizes.set(0, absolute(in.get(0)));
          yield run(conv, specs, sizes);
        }
        case Gate gate -> {
          // tanh and sigmoid have slopes of at most 1 and 1/4
          int width = specs.get(0).shape().dim(3) / 2 / gate.groups();
          double[] sum = new double[in.get(0).length / 2];
          for (int i = 0; i < sum.length; i++) {
            int a = i / width * 2 * width + i % width;
            double size =
                gate.kind() == Gate.Kind.TANH ? 1 : Math.abs(in.get(0)[a]) + errors.get(0)[a];
            sum[i] = errors.get(0)[a] + size * errors.get(0)[a + width] / 4;
            sum[i] += in.size() > 1 ? errors.get(1)[i] : 0;
          }
          yield sum;
        }
        case ConcatElu elu -> {
          int channels = specs.get(0).shape().dim(3);
          double[] both = new double[2 * in.get(0).length];
          for (int i = 0; i < both.length; i++) {
            both[i] = errors.get(0)[i / (2 * channels) * channels + i % channels];
          }
          yield both;
        }
        case Relu relu -> errors.get(0);
        case Elu elu -> errors.get(0);
        case AddBias bias -> errors.get(0);
        case NormalizePixels normalize ->
            new double
                [in.get(0).length
                    / specs.get(0).shape().dim(3)
                    * (specs.get(0).shape().dim(3) + 1)];
        default -> run(node.op(), specs, errors);
      };
    }

    private static double[] run(Op op, List<TensorSpec> specs, List<double[]> in) {
      return Reference.run(op, specs, in).getFirst().value();
    }

    private static double[] absolute(double[] values) {
      return Arrays.stream(values).map(Math::abs).toArray();
    }
  }

  // ------------------------------------------------------------------ agreement

  private static byte[] pixelsOf(Net net, int lane) {
    byte[] pixels = new byte[net.imageTensor.elements()];
    for (int i = 0; i < pixels.length; i++) {
      pixels[i] = (byte) net.philox.below(256, DRAWN, 1000 + lane, i);
    }
    return pixels;
  }

  private static byte[] labelsOf(Net net, int lane) {
    byte[] labels = new byte[net.labelTensor.elements()];
    for (int i = 0; i < labels.length; i++) {
      labels[i] = (byte) net.philox.below(10, DRAWN, 2000 + lane, i);
    }
    return labels;
  }

  private static void write(Net net, int lane) {
    net.imageTensor.write(MemorySegment.ofArray(pixelsOf(net, lane)));
    net.labelTensor.write(MemorySegment.ofArray(labelsOf(net, lane)));
  }

  private static float[] atOnce(Net net, int lane) {
    write(net, lane);
    try (Program program = net.graph.compile(device, net.output)) {
      program.run();
      return program.tensor(net.output).toFloats();
    }
  }

  /** The output of each lane, when each pixel drawn is the one that the images have there. */
  private static float[][] pixelByPixel(Net net, CausalProgram program, int lanes) {
    int images = net.image.shape().dim(0);
    int width = net.image.shape().dim(2);
    int pixels = net.image.shape().dim(1) * width;
    int all = net.output.shape().dim(3);
    float[][] outputs = new float[lanes][images * pixels * all];
    byte[][] drawn = new byte[lanes][];
    byte[][] labels = new byte[lanes][];
    for (int lane = 0; lane < lanes; lane++) {
      drawn[lane] = pixelsOf(net, lane);
      labels[lane] = labelsOf(net, lane);
    }
    int each = all / net.passes;
    int coloursEach = net.colours / net.passes;
    program.run(
        lanes,
        labels,
        (lane, row, column, pass, parameters, pixel) -> {
          assertEquals(images * each, parameters.length);
          for (int n = 0; n < images; n++) {
            int at = n * pixels + row * width + column;
            System.arraycopy(parameters, n * each, outputs[lane], at * all + pass * each, each);
            for (int c = 0; c < net.colours; c++) {
              int from = at * net.colours + c;
              if (c < pass * coloursEach) {
                assertEquals(drawn[lane][from], pixel[n * net.colours + c]);
              } else if (c < (pass + 1) * coloursEach) {
                pixel[n * net.colours + c] = drawn[lane][from];
              } else {
                pixel[n * net.colours + c] = (byte) 0xA5; // to be drawn later: nobody may look
              }
            }
          }
        });
    return outputs;
  }

  private static Stream<DType> types() {
    return Stream.of(DType.F32, DType.BF16).filter(t -> device.refuses(t) == null);
  }

  @TestFactory
  Stream<DynamicTest> agreesWithTheWholeNetwork() {
    return types()
        .flatMap(type ->
            NETWORKS.stream()
                .flatMap(network ->
                    Arrays.stream(SIZES)
                        .map(size ->
                            DynamicTest.dynamicTest(
                                network.name + " " + type.label() + " " + Arrays.toString(size),
                                () -> agrees(network, type, size)))));
  }

  private static void agrees(Network network, DType type, int[] size) {
    Map<Integer, float[][]> outputs = new HashMap<>();
    for (int images : new int[] {16, 32}) {
      try (Net net = network.net(type, images, size[0], size[1]);
          CausalProgram program = net.causal()) {
        assertEquals(images, program.laneImages());
        float[][] one = pixelByPixel(net, program, 1);
        float[][] all = pixelByPixel(net, program, program.lanes());
        assertArrayEquals(one[0], all[0], "one lane and all of them give the same bits");
        float[][] again = pixelByPixel(net, program, program.lanes());
        for (int lane = 0; lane < all.length; lane++) {
          assertArrayEquals(all[lane], again[lane], "two runs give the same bits");
          if (images == 16) {
            agree(net, lane, all[lane]);
          }
        }
        outputs.put(images, all);
      }
    }
    for (int lane = 0; lane < outputs.get(16).length; lane++) {
      // the first 16 of 32 images are drawn as the 16 are
      float[] more = outputs.get(32)[lane];
      assertArrayEquals(
          outputs.get(16)[lane],
          Arrays.copyOf(more, more.length / 2),
          "16 images a lane give other bits than 32");
    }
  }

  private static void agree(Net net, int lane, float[] actual) {
    float[] expected = atOnce(net, lane);
    Bounds.Known known = new Bounds(net, net.plan()).of(net.output);
    int all = net.output.shape().dim(3);
    int width = net.image.shape().dim(2);
    double squares = 0;
    double errors = 0;
    for (int i = 0; i < expected.length; i++) {
      double error = Math.abs(actual[i] - expected[i]);
      int pixel = i / all;
      // both are off by so much at most
      if (!(error <= 2 * known.error[i])) {
        throw new AssertionError(
            "row "
                + pixel / width % net.image.shape().dim(1)
                + ", column "
                + pixel % width
                + ", channel "
                + i % all
                + ": "
                + actual[i]
                + ", not "
                + expected[i]
                + " within "
                + 2 * known.error[i]);
      }
      squares += known.value[i] * known.value[i];
      errors += error * error;
    }
    // bounds of bf16 allow much; but roundings do not all go one way: some 16 of them in a row
    double share = Math.sqrt(errors / squares);
    assertTrue(share <= (net.type == DType.BF16 ? 0x1p-6 : 0x1p-18), "root mean square " + share);
  }

  // ------------------------------------------------------------------ the plan

  @Test
  void eachPositionIsComputedOnceAndNoneThatIsNotNeeded() {
    for (Network network : NETWORKS) {
      for (int[] size : SIZES) {
        try (Net net = network.net(DType.F32, 2, size[0], size[1])) {
          CausalPlan plan = net.plan();
          Map<CausalPlan.Unit, Set<String>> done = new IdentityHashMap<>();
          Map<Value, CausalPlan.Unit> units = new IdentityHashMap<>();
          plan.units().forEach(unit -> done.put(unit, new HashSet<>()));
          plan.units().forEach(unit -> units.put(unit.output(), unit));
          for (int t = 0; t < size[0] * size[1] * net.passes; t++) {
            for (CausalPlan.Step step : plan.steps(t)) {
              String what = step.row() + " " + step.column() + " " + step.group();
              assertTrue(done.get(step.unit()).add(what), network.name + ": twice " + step);
              assertEquals(step.unit().byRows(), step.column() == -1);
            }
            // what is drawn now is there, exactly once
            int row = t / net.passes / size[1];
            int column = t / net.passes % size[1];
            int group = plan.groups(net.output) > 1 ? t % net.passes : 0;
            CausalPlan.Unit last = units.get(net.output);
            assertFalse(last.byRows());
            assertTrue(done.get(last).contains(row + " " + column + " " + group));
          }
          for (CausalPlan.Unit unit : plan.units()) {
            Shape shape = unit.output().shape();
            int most = unit.byRows() ? shape.dim(1) : shape.dim(1) * shape.dim(2) * unit.groups();
            assertTrue(done.get(unit).size() <= most, unit.toString());
          }
          int all = size[0] * size[1] * units.get(net.output).groups();
          assertEquals(all, done.get(units.get(net.output)).size());
        }
      }
    }
  }

  /** Counts by hand, on a network small enough for that. */
  @Test
  void onlyWhatIsNeededIsComputed() {
    Form form =
        n -> {
          Value v = n.conv(Taps.rectangle(-1, 0, -1, 1), n.pixels(), 8);
          Value link = n.conv(Taps.point(), n.apply(new Shift(1, 0), v), 8);
          Value h = n.conv(Taps.rectangle(0, 0, -1, -1), n.pixels(), 8, link);
          return n.conv(Taps.point(), h, 2);
        };
    try (Net net = new Net(DType.F32, 1, 4, 6, 1, 1, form)) {
      CausalPlan plan = net.plan();
      Map<CausalPlan.Unit, Integer> counts = new IdentityHashMap<>();
      for (int t = 0; t < 24; t++) {
        plan.steps(t).forEach(step -> counts.merge(step.unit(), 1, Integer::sum));
      }
      List<CausalPlan.Unit> units = plan.units();
      List<String> names = units.stream().map(u -> u.op().name()).toList();
      assertEquals(
          List.of(
              "normalize_pixels",
              "conv_taps",
              "shift",
              "conv_taps",
              "normalize_pixels",
              "conv_taps",
              "conv_taps"),
          names);
      // nothing reads the last row from above, nor the last column from the right
      assertEquals(List.of(3, 3, 4, 4, 20, 24, 24), units.stream().map(counts::get).toList());
      assertEquals(
          List.of(true, true, true, true, false, false, false),
          units.stream().map(CausalPlan.Unit::byRows).toList());
      assertEquals(List.of(), plan.constants());
    }
  }

  @Test
  void theVerticalStackGoesByRowsAndTheHorizontalDoesNot() {
    for (Network network : List.of(NETWORKS.get(2), NETWORKS.get(3), NETWORKS.get(6))) {
      try (Net net = network.net(DType.F32, 1, 6, 9)) {
        for (CausalPlan.Unit unit : net.plan().units()) {
          boolean wide =
              unit.op() instanceof Conv2d conv
                  && conv.taps().list().stream().anyMatch(t -> t.dx() > 0);
          boolean before =
              unit.op() instanceof Conv2d conv
                  && conv.taps().list().stream().anyMatch(t -> t.dx() < 0)
                  && !wide;
          assertTrue(unit.byRows() || !wide, network.name + ": " + unit);
          assertFalse(unit.byRows() && before, network.name + ": " + unit);
        }
      }
    }
  }

  // ------------------------------------------------------------------ refusals

  private static String refusal(int colours, int passes, Form form) {
    try (Net net = new Net(DType.F32, 1, 5, 6, colours, passes, form)) {
      String message = assertThrows(IllegalArgumentException.class, net::plan).getMessage();
      assertEquals(1, message.lines().count(), message);
      return message;
    }
  }

  private static void assertNotAutoregressive(int colours, int passes, Form form) {
    String message = refusal(colours, passes, form);
    assertTrue(message.startsWith("not autoregressive: conv_taps %"), message);
    assertTrue(message.contains(" at row "), message);
  }

  @Test
  void networksThatSeeWhatTheyDrawAreRefused() {
    Taps point = Taps.point();
    assertNotAutoregressive(1, 1, n -> n.conv(Taps.masked(3, true), n.pixels(), 4));
    assertNotAutoregressive(1, 1, n -> n.conv(Taps.rectangle(0, 0, 1, 1), n.pixels(), 4));
    assertNotAutoregressive(1, 1, n -> n.conv(Taps.rectangle(1, 1, -1, -1), n.pixels(), 4));
    // the first layer shifted left, the second looks right again
    assertNotAutoregressive(
        1,
        1,
        n ->
            n.conv(
                Taps.rectangle(0, 0, 1, 1),
                n.conv(Taps.rectangle(0, 0, -1, -1), n.pixels(), 4),
                4));
    assertNotAutoregressive(1, 1, n -> n.conv(point, n.apply(new Shift(-1, 0), n.pixels()), 4));
    assertNotAutoregressive(1, 1, n -> n.conv(point, n.apply(new Shift(0, -1), n.pixels()), 4));
    // a vertical stack with its own row in it
    assertNotAutoregressive(
        1,
        1,
        n -> {
          Value v = n.conv(Taps.rectangle(-1, 0, -1, 1), n.pixels(), 4);
          Value h = n.conv(Taps.rectangle(0, 0, -1, -1), n.pixels(), 4, v);
          return n.conv(point, h, 4);
        });
    // colours that see themselves
    assertNotAutoregressive(3, 3, n -> n.masked(Taps.masked(3, true), false, n.pixels(), 6, null));
    assertNotAutoregressive(3, 3, n -> n.conv(Taps.masked(3, true), n.pixels(), 6));
    assertNotAutoregressive(3, 1, n -> n.masked(Taps.masked(3, true), true, n.pixels(), 6, null));
  }

  @Test
  void whatIsNoNetworkOfPixelsIsRefused() {
    Taps before = Taps.masked(3, false);
    assertEquals(
        "group_norm cannot be computed pixel by pixel",
        refusal(
            1,
            1,
            n ->
                n.apply(
                    new GroupNorm(2, 1e-5f),
                    n.conv(before, n.pixels(), 4),
                    n.normal(1, 4),
                    n.normal(1, 4))));
    assertTrue(
        refusal(1, 1, n -> n.graph.bind(n.own(Tensor.allocate(device, DType.F32, 1, 5, 6, 4))))
            .contains("does not depend on the image"));
    assertTrue(
        refusal(
                1,
                1,
                n -> n.apply(new Add(), n.conv(before, n.pixels(), 4), n.normal(1, 1, 5, 6, 4)))
            .matches("add reads %\\d+ \\[1,5,6,4] f32, which does not depend on the image"));
    // the same for all pixels: of no image, and of all of one
    assertTrue(
        refusal(
                1,
                1,
                n -> n.conv(before, n.pixels(), 4, n.normal(1, n.pixels().shape().dim(0), 1, 1, 4)))
            .contains("does not depend on the image"));
    assertEquals(
        "conv_taps adds the same to all pixels, which cannot be known pixel by pixel",
        refusal(
            1,
            1,
            n -> {
              Value all = n.conv(new Conv2d(before, 99, 99, null), n.pixels(), 4);
              return n.conv(before, n.pixels(), 4, all);
            }));
    assertTrue(refusal(3, 2, n -> n.conv(before, n.pixels(), 6)).contains("not in 2"));
    assertTrue(
        refusal(1, 1, n -> n.conv(new Conv2d(before, 2, 2, null), n.pixels(), 6))
            .contains("the output must be [N,H,W,P]"));
  }

  // ------------------------------------------------------------------ failures

  private static final class Broken extends RuntimeException {
    private static final long serialVersionUID = 1;
  }

  @Test
  void whatDrawingThrowsReachesTheCallerAndDoesNoHarm() {
    try (Net net = NETWORKS.get(2).net(DType.F32, 3, 5, 6);
        CausalProgram program = net.causal()) {
      float[][] expected = pixelByPixel(net, program, program.lanes());
      for (int broken = 0; broken < program.lanes(); broken++) {
        int lane = broken;
        Broken thrown = new Broken();
        AtomicInteger others = new AtomicInteger();
        byte[][] labels = new byte[program.lanes()][3];
        assertSame(
            thrown,
            assertThrows(
                Broken.class,
                () ->
                    program.run(
                        program.lanes(),
                        labels,
                        (at, row, column, pass, parameters, pixel) -> {
                          Arrays.fill(pixel, (byte) 77);
                          if (at != lane) {
                            others.incrementAndGet();
                          } else if (row == 2) {
                            throw thrown;
                          }
                        })));
        assertEquals(30 * (program.lanes() - 1), others.get(), "the other lanes go on");
        float[][] again = pixelByPixel(net, program, program.lanes());
        for (int i = 0; i < again.length; i++) {
          assertArrayEquals(expected[i], again[i]);
        }
      }
      assertThrows(
          AssertionError.class,
          () ->
              program.run(
                  1,
                  new byte[1][3],
                  (at, row, column, pass, parameters, pixel) -> {
                    throw new AssertionError("an error");
                  }));
      assertTrue(program.bareSeconds(program.lanes()) > 0);
    }
  }

  @Test
  void aLabelWithoutARowIsRefused() {
    try (Net net = NETWORKS.get(2).net(DType.F32, 2, 5, 6);
        CausalProgram program = net.causal()) {
      byte[][] labels = new byte[program.lanes()][2];
      labels[program.lanes() - 1][1] = 10;
      IllegalArgumentException e =
          assertThrows(
              IllegalArgumentException.class,
              () -> program.run(program.lanes(), labels, (at, row, column, pass, p, pixel) -> {}));
      assertEquals("add_bias: label 10 of image 1, but the table has 10 rows", e.getMessage());
    }
  }

  @Test
  void memoryIsGivenBack() {
    for (Network network : NETWORKS) {
      try (Net net = network.net(DType.F32, 2, 5, 7)) {
        long before = device.allocatedBytes();
        CausalProgram program = net.causal();
        assertTrue(device.allocatedBytes() > before);
        program.close();
        assertEquals(before, device.allocatedBytes(), network.name);
        program.close();
      }
    }
  }

  /** A network that the plan takes and the device does not: its stacks go down at half a row. */
  @Tag("cpu")
  @Test
  void aProgramThatCannotBeBuiltLeavesNothingBehind() {
    Form form =
        n -> {
          Value v = n.apply(new Shift(1, 0), n.conv(ROW_TAPS, n.pixels(), 8));
          Value small = n.conv(new Conv2d(ROW_TAPS, 2, 2, null), v, 8);
          Value large = n.larger(Taps.rectangle(0, 2, -1, 1), small, v, null);
          Value h = n.conv(Taps.rectangle(0, 0, -1, -1), n.pixels(), 8, large);
          return n.conv(Taps.point(), h, 3);
        };
    try (Net net = new Net(DType.F32, 2, 6, 6, 1, 1, form)) {
      CausalPlan plan = net.plan();
      long before = device.allocatedBytes();
      IllegalArgumentException e =
          assertThrows(
              IllegalArgumentException.class,
              () -> device.causal(net.graph, plan, net.labels).close());
      assertTrue(e.getMessage().contains("rows 0 to 1"), e.getMessage());
      assertEquals(before, device.allocatedBytes());
    }
  }

  /** Rows that are kept lie below each other: there is no room for one that nobody computes. */
  @Tag("cpu")
  @Test
  void aRowLeftOutOfAWindowIsNoticed() {
    Form form =
        n -> {
          Value v = n.apply(new Shift(1, 0), n.conv(ROW_TAPS, n.pixels(), 8));
          Taps everyOther = Taps.rectangle(-1, 0, -1, 1, 2);
          Value small = n.conv(new Conv2d(everyOther, 2, 2, null), v, 8);
          Value large = n.larger(Taps.rectangle(0, 1, -1, 1), small, v, null);
          Value h = n.conv(Taps.rectangle(0, 0, -1, -1), n.pixels(), 8, large);
          return n.conv(Taps.point(), h, 3);
        };
    try (Net net = new Net(DType.F32, 2, 6, 6, 1, 1, form)) {
      long before = device.allocatedBytes();
      IllegalStateException e = assertThrows(IllegalStateException.class, net::causal);
      assertTrue(e.getMessage().contains("leaves out a row"), e.getMessage());
      assertEquals(before, device.allocatedBytes());
    }
  }
}
