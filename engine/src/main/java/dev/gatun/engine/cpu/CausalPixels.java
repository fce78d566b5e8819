package dev.gatun.engine.cpu;

import static dev.gatun.ffi.onednn.OneDnn.*;
import static java.lang.foreign.ValueLayout.JAVA_BYTE;

import dev.gatun.engine.CausalPlan;
import dev.gatun.engine.DType;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.Value;
import dev.gatun.engine.op.Add;
import dev.gatun.engine.op.AddBias;
import dev.gatun.engine.op.ConcatElu;
import dev.gatun.engine.op.Conv2d;
import dev.gatun.engine.op.Conv2dBackwardData;
import dev.gatun.engine.op.Elu;
import dev.gatun.engine.op.Gate;
import dev.gatun.engine.op.NormalizePixels;
import dev.gatun.engine.op.Relu;
import dev.gatun.engine.op.Shift;
import dev.gatun.engine.op.Taps;
import dev.gatun.ffi.DnnlAttributes;
import dev.gatun.ffi.DnnlDesc;
import dev.gatun.ffi.DnnlPrimitive;
import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.Map;

/** What a lane runs for one pixel of a value, in all of its images. */
final class CausalPixels {
  private final CausalLane lane;
  private final CpuDevice device;
  private final Map<Value, CausalPlace> places;
  private final int images;
  private final int height;
  private final int width;
  private final int colours;
  private final MemorySegment imageBytes;

  CausalPixels(CausalLane lane) {
    this.lane = lane;
    device = lane.device;
    places = lane.places;
    images = lane.images;
    height = lane.height;
    width = lane.width;
    colours = lane.colours;
    imageBytes = lane.imageBytes;
  }

  CausalRunner runner(CausalPlan.Unit unit) {
    CausalPlace out = places.get(unit.output());
    List<Value> in = unit.inputs();
    int groups = unit.groups();
    int channels = out.channels / groups;
    return switch (unit.op()) {
      case Conv2d conv -> pixelConvolution(unit);
      case Conv2dBackwardData conv -> pixelConvolution(unit);
      case NormalizePixels op -> normalize(op, out, groups);
      case Relu op -> map(in, out, channels, (block, n) -> Arithmetic.relu(block.a, n));
      case Elu op -> map(in, out, channels, device.activations()::elu);
      case ConcatElu op -> {
        CausalPlace x = places.get(in.get(0));
        int half = out.channels / 2;
        yield (row, column, group) ->
            forEach(
                half,
                0,
                (first, count, channel, n, block) -> {
                  load(x, row, column, first, count, channel, n, block.a);
                  device.activations().elus(block, count * n);
                  out.store(block.a, first, count, row, column, channel, n);
                  out.store(block.b, first, count, row, column, half + channel, n);
                });
      }
      case Add op -> map(in, out, channels, (block, n) -> Arithmetic.add(block.a, block.b, n));
      case AddBias op -> addBias(in, out, channels);
      case Gate op -> gate(op, in, out, channels, groups);
      case Shift op -> shift(places.get(in.get(0)), out, op.rows(), op.columns());
      default -> throw new IllegalArgumentException(unit.op().name() + " has no form by pixels");
    };
  }

  /** Some channels of some images' pixel. */
  private interface Body {
    void run(int first, int count, int channel, int n, Blocks block);
  }

  /** Runs {@code body} on channels {@code from} to {@code from + channels}, blocks at a time. */
  private void forEach(int channels, int from, Body body) {
    Blocks block = Blocks.own();
    Pieces.forEach(
        0,
        images,
        channels,
        (first, column, count, n) -> body.run(first, count, from + column, n, block));
  }

  /** A function of elements at the same place. */
  private CausalRunner map(
      List<Value> in, CausalPlace out, int channels, CpuElementwise.Elements f) {
    CausalPlace a = places.get(in.get(0));
    CausalPlace b = in.size() > 1 ? places.get(in.get(1)) : null;
    return (row, column, group) ->
        forEach(
            channels,
            group * channels,
            (first, count, channel, n, block) -> {
              load(a, row, column, first, count, channel, n, block.a);
              if (b != null) {
                load(b, row, column, first, count, channel, n, block.b);
              }
              f.apply(block, count * n);
              out.store(block.a, first, count, row, column, channel, n);
            });
  }

  private void load(
      CausalPlace place,
      int row,
      int column,
      int first,
      int count,
      int channel,
      int n,
      float[] target) {
    long stride = place.stride();
    device
        .loops()
        .loadRows(
            place.type,
            place.segment(row),
            place.offset(column) + first * stride + channel,
            stride,
            target,
            count,
            n);
  }

  private CausalRunner normalize(NormalizePixels op, CausalPlace out, int groups) {
    float scale = 2f / (op.levels() - 1);
    int drawn = colours / groups;
    return (row, column, group) -> {
      Blocks block = Blocks.own();
      for (int c = group * drawn; c < (group + 1) * drawn; c++) {
        for (int n = 0; n < images; n++) {
          long at = ((long) (n * height + row) * width + column) * colours + c;
          block.a[n] = (imageBytes.get(JAVA_BYTE, at) & 0xFF) * scale - 1;
        }
        out.store(block.a, 0, images, row, column, c, 1);
      }
      if (group == 0) {
        java.util.Arrays.fill(block.a, 0, images, 1);
        out.store(block.a, 0, images, row, column, colours, 1);
      }
    };
  }

  private CausalRunner addBias(List<Value> in, CausalPlace out, int channels) {
    CausalPlace x = places.get(in.get(0));
    float[] table = lane.constant(in.get(1)).toFloats();
    boolean labelled = in.size() > 2;
    int all = out.channels;
    MemorySegment own = device.segment(lane.labels);
    return (row, column, group) ->
        forEach(
            channels,
            group * channels,
            (first, count, channel, n, block) -> {
              load(x, row, column, first, count, channel, n, block.a);
              for (int i = 0; i < count; i++) {
                int label = labelled ? own.get(JAVA_BYTE, first + i) & 0xFF : 0;
                CpuBias.add(block.a, i * n, table, label * all + channel, n);
              }
              out.store(block.a, first, count, row, column, channel, n);
            });
  }

  private CausalRunner gate(Gate op, List<Value> in, CausalPlace out, int channels, int groups) {
    CausalPlace x = places.get(in.get(0));
    CausalPlace residual = in.size() > 1 ? places.get(in.get(1)) : null;
    // where the gate's groups are not drawn one after another, they are all done at once
    int rounds = groups == 1 ? op.groups() : 1;
    int each = channels / rounds;
    return (row, column, group) -> {
      for (int round = 0; round < rounds; round++) {
        int from = group * channels + round * each;
        forEach(
            each,
            from,
            (first, count, channel, n, block) -> {
              int a = 2 * from + channel - from;
              load(x, row, column, first, count, a, n, block.a);
              load(x, row, column, first, count, a + each, n, block.b);
              device.activations().gate(op.kind(), block, count * n);
              if (residual != null) {
                load(residual, row, column, first, count, channel, n, block.b);
                Arithmetic.add(block.a, block.b, count * n);
              }
              out.store(block.a, first, count, row, column, channel, n);
            });
      }
    };
  }

  private CausalRunner shift(CausalPlace x, CausalPlace out, int rows, int columns) {
    return (row, column, group) -> {
      boolean inside =
          row - rows >= 0
              && row - rows < x.height
              && column - columns >= 0
              && column - columns < x.columns;
      forEach(
          out.channels,
          0,
          (first, count, channel, n, block) -> {
            if (inside) {
              load(x, row - rows, column - columns, first, count, channel, n, block.a);
            } else {
              java.util.Arrays.fill(block.a, 0, count * n, 0);
            }
            out.store(block.a, first, count, row, column, channel, n);
          });
    };
  }

  // ------------------------------------------------------------------ convolutions

  private CausalRunner pixelConvolution(CausalPlan.Unit unit) {
    boolean transposed = unit.op() instanceof Conv2dBackwardData;
    Conv2d conv = transposed ? ((Conv2dBackwardData) unit.op()).forward() : (Conv2d) unit.op();
    List<TensorSpec> specs = unit.inputs().stream().map(Value::spec).toList();
    Value weights = unit.inputs().get(transposed ? 0 : 1);
    Value bias = !transposed && Conv2d.hasBias(specs) ? unit.inputs().get(2) : null;
    boolean adds = transposed ? specs.size() > 2 : Conv2d.hasAddend(specs);
    CausalPlace addend = adds ? places.get(unit.inputs().getLast()) : null;
    CausalPlace out = places.get(unit.output());
    int groups = unit.groups();
    int n = out.channels / groups;
    List<PixelKernel> kernels = lane.kernels(unit);
    Product[][] products = new Product[kernels.size()][groups];
    for (int k = 0; k < kernels.size(); k++) {
      for (int g = 0; g < groups; g++) {
        products[k][g] =
            new Product(
                kernels.get(k),
                List.of(unit.output(), k, g),
                weights,
                transposed,
                bias,
                addend != null,
                out,
                g * n,
                n);
      }
    }
    int downH = transposed ? conv.strideH() : 1;
    int downW = transposed ? conv.strideW() : 1;
    int upH = transposed ? 1 : conv.strideH();
    int upW = transposed ? 1 : conv.strideW();
    return new CausalRunner() {
      @Override
      public void run(int row, int column, int group) {
        if (addend != null) {
          out.copy(
              addend.segment(row),
              addend.offset(column) + (long) group * n,
              addend.stride(),
              out.segment(row),
              out.offset(column) + (long) group * n,
              out.stride(),
              n);
        }
        bare(row, column, group);
        out.spread(row, column, group * n, n);
      }

      @Override
      public void bare(int row, int column, int group) {
        int phase = row % downH * downW + column % downW;
        products[phase][group].execute(row / downH * upH, column / downW * upW, row, column);
      }
    };
  }

  /** One output pixel's products, of all images: a matrix product on a window as it lies. */
  private final class Product {
    private final PixelKernel kernel;
    private final CausalPlace input;
    private final CausalPlace out;
    private final int channel;
    private final int firstSlot;
    private final int bytes;
    private final int outBytes;
    private final DnnlPrimitive matmul;

    Product(
        PixelKernel kernel,
        Object key,
        Value weights,
        boolean transposed,
        Value bias,
        boolean accumulate,
        CausalPlace out,
        int channel,
        int n) {
      this.kernel = kernel;
      this.out = out;
      this.channel = channel;
      input = places.get(kernel.input);
      bytes = input.type.bytes();
      outBytes = out.type.bytes();
      boolean whole = kernel.window != null && !kernel.isSingle();
      int slots = whole ? kernel.window.rows : kernel.rows();
      firstSlot = kernel.window == null || whole ? 0 : kernel.window.rows - slots;
      int c = input.channels;
      int rows = (kernel.right - kernel.left + 1) * slots * c;
      float[] dense =
          arrange(lane.constant(weights), transposed, channel, n, slots, new float[rows * n]);
      long stride = kernel.window == null ? input.stride() : kernel.window.stride();
      try (DnnlDesc a = rows(input.type, rows, stride);
          DnnlDesc any = DnnlDesc.any(type(input.type), new long[] {rows, n});
          DnnlDesc b = bias == null ? null : DnnlDesc.dense(dnnl_f32(), 1, n);
          DnnlDesc y = rows(out.type, n, out.stride());
          DnnlAttributes attributes = new DnnlAttributes()) {
        if (accumulate) {
          attributes.accumulate();
        }
        matmul = lane.owned.add(DnnlPrimitive.matmul(device.dnnl(), a, any, b, y, attributes));
        try (DnnlDesc layout = matmul.chosen(dnnl_query_weights_md())) {
          matmul.bind(DNNL_ARG_SRC_0(), a, input.segment(0).address());
          matmul.bind(
              DNNL_ARG_WEIGHTS_0(),
              layout,
              lane.packed.address(key, device.dnnl(), dense, rows, n, layout));
          if (bias != null) {
            matmul.bind(DNNL_ARG_BIAS(), b, lane.constant(bias).address() + 4L * channel);
          }
          matmul.bind(DNNL_ARG_DST_0(), y, out.segment(0).address());
          if (matmul.scratchpadBytes() > 0) {
            Tensor scratch =
                lane.owned.add(Tensor.allocate(device, DType.U8, (int) matmul.scratchpadBytes()));
            matmul.bindScratchpad(scratch.address());
          }
        }
      }
    }

    private DnnlDesc rows(DType type, int elements, long stride) {
      return DnnlDesc.strided(type(type), new long[] {images, elements}, new long[] {stride, 1});
    }

    /** The weights in the order in which a window's elements lie: column, row, channel. */
    private float[] arrange(
        Tensor w, boolean transposed, int channel, int n, int slots, float[] dense) {
      float[] values = w.toFloats();
      int c = w.shape().dim(1);
      int k = w.shape().dim(2);
      int inputs = transposed ? k : c;
      for (int t = 0; t < kernel.taps.size(); t++) {
        Taps.Tap tap = kernel.taps.get(t);
        int cell = ((tap.dx() - kernel.left) * slots + slots - 1 + tap.dy()) * inputs;
        for (int i = 0; i < inputs; i++) {
          for (int o = 0; o < n; o++) {
            dense[(cell + i) * n + o] =
                transposed
                    ? values[(kernel.cells[t] * c + channel + o) * k + i]
                    : values[(kernel.cells[t] * c + i) * k + channel + o];
          }
        }
      }
      return dense;
    }

    void execute(int inRow, int inColumn, int row, int column) {
      MemorySegment from;
      long offset;
      if (kernel.window == null) {
        from = input.segment(inRow);
        offset = input.offset(inColumn);
      } else {
        from = kernel.window.plane(inRow);
        offset = kernel.window.offset(inColumn + kernel.left, firstSlot);
      }
      matmul.rebind(DNNL_ARG_SRC_0(), from.address() + offset * bytes);
      matmul.rebind(
          DNNL_ARG_DST_0(), out.segment(row).address() + (out.offset(column) + channel) * outBytes);
      matmul.execute();
    }
  }

  private static int type(DType type) {
    return type == DType.BF16 ? dnnl_bf16() : dnnl_f32();
  }
}
