package dev.gatun.engine.cpu;

import static dev.gatun.ffi.onednn.OneDnn.*;

import dev.gatun.engine.Buffer;
import dev.gatun.engine.DType;
import dev.gatun.engine.Launch;
import dev.gatun.engine.Shape;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.op.Conv2d;
import dev.gatun.engine.op.Conv2dBackwardData;
import dev.gatun.engine.op.Conv2dBackwardWeights;
import dev.gatun.engine.op.Taps;
import dev.gatun.ffi.DnnlAttributes;
import dev.gatun.ffi.DnnlDesc;
import dev.gatun.ffi.DnnlPrimitive;
import dev.gatun.ffi.DnnlPrimitive.ConvGeometry;
import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.function.Consumer;
import java.util.function.Supplier;

/**
 * Convolutions by taps on oneDNN. The taps' bounding box is a dense kernel with asymmetric padding;
 * where taps are missing from the box their weights are zeros. Weights are packed into oneDNN's
 * layout (and rounded to x's dtype) when they have changed, not at every run.
 */
final class CpuConvolution extends DnnlLaunch {
  private CpuConvolution(CpuDevice device) {
    super(device);
  }

  static Launch forward(CpuDevice device, Conv2d op, List<Tensor> in, List<Tensor> out) {
    return CpuDense.suits(op, in.getFirst().shape())
        ? CpuDense.forward(device, op, in, out)
        : build(device, launch -> launch.planForward(op, in, out.getFirst()));
  }

  static Launch backwardData(
      CpuDevice device, Conv2dBackwardData op, List<Tensor> in, List<Tensor> out) {
    return CpuDense.suits(op.forward(), op.xShape())
        ? CpuDense.backwardData(device, op, in, out)
        : build(device, launch -> launch.planBackwardData(op, in, out.getFirst()));
  }

  static Launch backwardWeights(
      CpuDevice device, Conv2dBackwardWeights op, List<Tensor> in, List<Tensor> out) {
    return CpuDense.suits(op.forward(), in.getFirst().shape())
        ? CpuDense.backwardWeights(device, op, in, out)
        : build(device, launch -> launch.planBackwardWeights(op, in, out));
  }

  private static Launch build(CpuDevice device, Consumer<CpuConvolution> plan) {
    return planned(new CpuConvolution(device), plan);
  }

  /** The tensor itself, or the framed copy of it that is renewed before the primitive runs. */
  private Tensor framed(Tensor x, ConvBox.Frame frame) {
    if (frame == null) {
      return x;
    }
    Tensor padded = owned.add(Tensor.allocate(device, new TensorSpec(frame.framed(), x.dtype())));
    MemorySegment from = device.segment(x);
    MemorySegment to = device.segment(padded);
    int size = x.dtype().bytes();
    steps.add(() ->
        frame.forEachRow(
            (a, b, n) -> MemorySegment.copy(from, a * size, to, b * size, (long) n * size)));
    return padded;
  }

  private void planForward(Conv2d op, List<Tensor> in, Tensor y) {
    List<TensorSpec> specs = in.stream().map(Tensor::spec).toList();
    planForward(
        op,
        in.get(0),
        new Weights(in.get(1), false),
        Conv2d.hasBias(specs) ? in.get(2) : null,
        Conv2d.hasAddend(specs) ? in.getLast() : null,
        y);
  }

  /** Weights [T,C,K], or the same seen the other way round: from K channels to C filters. */
  private record Weights(Tensor tensor, boolean transposed) {
    int taps() {
      return tensor.shape().dim(0);
    }

    int channels() {
      return tensor.shape().dim(transposed ? 2 : 1);
    }

    int filters() {
      return tensor.shape().dim(transposed ? 1 : 2);
    }

    int cell() {
      return channels() * filters();
    }

    DnnlDesc any(ConvBox box, DType type) {
      return DnnlDesc.any(
          DnnlLaunch.type(type), new long[] {filters(), channels(), box.height(), box.width()});
    }

    DnnlDesc dense(ConvBox box) {
      return DnnlDesc.strided(
          dnnl_f32(),
          new long[] {filters(), channels(), box.height(), box.width()},
          new long[] {
            transposed ? channels() : 1,
            transposed ? 1 : filters(),
            (long) box.width() * cell(),
            cell()
          });
    }
  }

  private void planForward(Conv2d op, Tensor x, Weights w, Tensor bias, Tensor addend, Tensor y) {
    Winograd.Tiling tiling = Winograd.choose(device, op, x.dtype(), x.shape(), w.filters());
    if (tiling != null) {
      steps.add(
          new WinogradForward(
              device, tiling, owned, op, x, w.tensor, w.transposed, bias, addend, y));
      return;
    }
    ConvBox box = ConvBox.of(op, x.shape(), y.shape());
    ConvBox.Frame frame = box.frame(op, x.shape(), y.shape());
    DnnlDesc xDesc = image(frame == null ? x.shape() : frame.framed(), x.dtype());
    DnnlDesc yDesc = image(y);
    DnnlDesc biasDesc =
        bias == null ? null : owned.add(DnnlDesc.dense(dnnl_f32(), bias.elements()));
    DnnlDesc addendDesc = addend == null ? null : image(addend);
    try (DnnlAttributes attributes = new DnnlAttributes()) {
      if (addend != null) {
        attributes.thenAdd(addendDesc);
      }
      DnnlPrimitive conv =
          owned.add(
              DnnlPrimitive.convolutionForward(
                  dnnl(),
                  false,
                  xDesc,
                  owned.add(w.any(box, x.dtype())),
                  biasDesc,
                  yDesc,
                  box.geometry(op, x.shape(), y.shape(), frame),
                  attributes));
      if (addend != null && conv.implementation().startsWith("ref")) {
        // 500 times slower: bf16 on AVX-512 without its bf16 has no kernel that adds [N,1,1,K]
        planSum(y, addend, wide -> planForward(op, x, w, bias, null, wide));
        return;
      }
      Tensor source = framed(x, frame);
      DnnlDesc packedDesc = owned.add(conv.chosen(dnnl_query_weights_md()));
      long packed = packWeights(box, w, packedDesc);
      conv.bind(DNNL_ARG_SRC_0(), xDesc, source.address());
      conv.bind(DNNL_ARG_WEIGHTS_0(), packedDesc, packed);
      if (bias != null) {
        conv.bind(DNNL_ARG_BIAS(), biasDesc, bias.address());
      }
      if (addend != null) {
        conv.bind(DnnlAttributes.ADDEND, addendDesc, addend.address());
      }
      conv.bind(DNNL_ARG_DST_0(), yDesc, y.address());
      addStep(conv);
    }
  }

  /** y = what {@code plan} computes + addend, in f32, so that the sum is rounded once. */
  private void planSum(Tensor y, Tensor addend, Consumer<Tensor> plan) {
    Tensor wide =
        y.dtype() == DType.F32
            ? y
            : owned.add(Tensor.allocate(device, new TensorSpec(y.shape(), DType.F32)));
    plan.accept(wide);
    Launch sum =
        Conv2d.isOfImages(addend.shape(), y.shape())
            ? CpuBias.addOfImages(device, wide, addend, y)
            : CpuElementwise.map(
                device,
                List.of(wide, addend),
                y,
                (block, n) -> Arithmetic.add(block.a, block.b, n));
    steps.add(sum::run);
  }

  private void planBackwardData(Conv2dBackwardData op, List<Tensor> in, Tensor dx) {
    Conv2d forward = op.forward();
    Tensor addend = in.size() > 2 ? in.get(2) : null;
    if (forward.strideH() == 1 && forward.strideW() == 1) {
      // a convolution with the taps mirrored and the weights transposed: unlike oneDNN's backward
      // primitive, a forward one can add something
      List<Taps.Tap> mirrored =
          forward.taps().list().stream().map(t -> new Taps.Tap(-t.dy(), -t.dx())).toList();
      Conv2d mirror = new Conv2d(new Taps(mirrored));
      planForward(mirror, in.get(1), new Weights(in.get(0), true), null, addend, dx);
      return;
    }
    if (addend == null) {
      planStridedBackwardData(forward, in.get(0), in.get(1), dx);
      return;
    }
    planSum(dx, addend, wide -> planStridedBackwardData(forward, in.get(0), in.get(1), wide));
  }

  private void planStridedBackwardData(Conv2d op, Tensor w, Tensor dy, Tensor dx) {
    ConvBox box = ConvBox.of(op, dx.shape(), dy.shape());
    ConvBox.Frame frame = box.frame(op, dx.shape(), dy.shape());
    ConvGeometry geometry = box.geometry(op, dx.shape(), dy.shape(), frame);
    Weights weights = new Weights(w, false);
    Tensor target =
        frame == null
            ? dx
            : owned.add(Tensor.allocate(device, new TensorSpec(frame.framed(), dx.dtype())));
    DnnlDesc dxDesc = image(target);
    DnnlDesc dyDesc = image(dy);
    DnnlDesc any = owned.add(weights.any(box, dy.dtype()));
    DnnlDesc alike = image(target.shape(), dy.dtype()); // there is no forward from f32 to bf16
    try (DnnlPrimitive hint =
        DnnlPrimitive.convolutionForward(dnnl(), true, alike, any, null, dyDesc, geometry, null)) {
      DnnlPrimitive conv =
          owned.add(
              DnnlPrimitive.convolutionBackwardData(
                  dnnl(), dxDesc, any, dyDesc, geometry, hint, null));
      DnnlDesc packedDesc = owned.add(conv.chosen(dnnl_query_weights_md()));
      long packed = packWeights(box, weights, packedDesc);
      conv.bind(DNNL_ARG_DIFF_DST_0(), dyDesc, dy.address());
      conv.bind(DNNL_ARG_WEIGHTS_0(), packedDesc, packed);
      conv.bind(DNNL_ARG_DIFF_SRC_0(), dxDesc, target.address());
      addStep(conv);
      if (frame != null) {
        MemorySegment from = device.segment(target);
        MemorySegment to = device.segment(dx);
        int size = dx.dtype().bytes();
        steps.add(() -> {
          to.fill((byte) 0); // pixels beyond the last stride are in no frame
          frame.forEachRow(
              (a, b, n) -> MemorySegment.copy(from, b * size, to, a * size, (long) n * size));
        });
      }
    }
  }

  private void planBackwardWeights(Conv2dBackwardWeights op, List<Tensor> in, List<Tensor> out) {
    Tensor x = in.get(0);
    Tensor dy = in.get(1);
    Tensor dw = out.get(0);
    Winograd.Tiling tiling =
        Winograd.chooseForWeights(device, op.forward(), x.dtype(), x.shape(), dy.shape().dim(3));
    if (tiling != null) {
      Tensor dbias = op.bias() ? out.get(1) : null;
      steps.add(new WinogradBackwardWeights(device, tiling, owned, op.forward(), x, dy, dw, dbias));
      return;
    }
    Weights weights = new Weights(dw, false);
    ConvBox box =
        x.dtype() == DType.BF16
            ? ConvBox.roomy(op.forward(), x.shape(), dy.shape())
            : ConvBox.of(op.forward(), x.shape(), dy.shape());
    ConvBox.Frame frame = box.frame(op.forward(), x.shape(), dy.shape());
    ConvGeometry geometry = box.geometry(op.forward(), x.shape(), dy.shape(), frame);
    Tensor source = framed(x, frame);
    DnnlDesc xDesc = image(source);
    DnnlDesc dyDesc = image(dy);
    DnnlDesc dbiasDesc =
        op.bias() ? owned.add(DnnlDesc.dense(dnnl_f32(), out.get(1).elements())) : null;
    try (DnnlPrimitive hint =
        DnnlPrimitive.convolutionForward(
            dnnl(),
            true,
            xDesc,
            owned.add(weights.any(box, x.dtype())),
            dbiasDesc,
            dyDesc,
            geometry,
            null)) {
      double products = (double) dy.elements() * x.shape().dim(3) * op.forward().taps().count();
      boolean small = products < ONE_THREAD_PRODUCTS;
      DnnlDesc any = owned.add(weights.any(box, DType.F32));
      Supplier<DnnlPrimitive> make =
          () ->
              DnnlPrimitive.convolutionBackwardWeights(
                  dnnl(), xDesc, any, dbiasDesc, dyDesc, geometry, hint, null);
      DnnlPrimitive conv = own(small, make);
      DnnlDesc packedDesc = owned.add(conv.chosen(dnnl_query_diff_weights_md()));
      Buffer packed = owned.add(device.allocate(packedDesc.sizeBytes()));
      conv.bind(DNNL_ARG_SRC_0(), xDesc, source.address());
      conv.bind(DNNL_ARG_DIFF_DST_0(), dyDesc, dy.address());
      conv.bind(DNNL_ARG_DIFF_WEIGHTS_0(), packedDesc, packed.address());
      if (op.bias()) {
        conv.bind(DNNL_ARG_DIFF_BIAS(), dbiasDesc, out.get(1).address());
      }
      addStep(small, conv);
      unpackWeights(box, packedDesc, packed.address(), weights);
    }
  }

  /** Packs [T,C,K] f32 into {@code packedDesc} before a run, if it has changed since the last. */
  private long packWeights(ConvBox box, Weights w, DnnlDesc packedDesc) {
    Buffer packed = owned.add(device.allocate(packedDesc.sizeBytes()));
    int taps = w.taps();
    long cellBytes = 4L * w.cell();
    MemorySegment source = device.segment(w.tensor);
    MemorySegment dense =
        box.isDense()
            ? source
            : segment(owned.add(device.allocate(cellBytes * box.height() * box.width())));
    DnnlDesc denseDesc = owned.add(w.dense(box));
    DnnlPrimitive reorder =
        owned
            .add(DnnlPrimitive.reorder(dnnl(), denseDesc, packedDesc))
            .bind(DNNL_ARG_SRC_0(), denseDesc, dense.address())
            .bind(DNNL_ARG_DST_0(), packedDesc, packed.address());
    useScratch(reorder);
    addStepIfChanged(
        w.tensor.buffer(),
        () -> {
          if (dense != source) {
            for (int t = 0; t < taps; t++) {
              if (box.cells()[t] != ConvBox.NO_CELL) {
                MemorySegment.copy(
                    source, t * cellBytes, dense, box.cells()[t] * cellBytes, cellBytes);
              }
            }
          }
          reorder.execute();
        });
    return packed.address();
  }

  private void unpackWeights(ConvBox box, DnnlDesc packedDesc, long packed, Weights dw) {
    int taps = dw.taps();
    long cellBytes = 4L * dw.cell();
    MemorySegment target = device.segment(dw.tensor);
    MemorySegment dense =
        box.isDense()
            ? target
            : segment(owned.add(device.allocate(cellBytes * box.height() * box.width())));
    DnnlDesc denseDesc = owned.add(dw.dense(box));
    DnnlPrimitive reorder =
        owned
            .add(DnnlPrimitive.reorder(dnnl(), packedDesc, denseDesc))
            .bind(DNNL_ARG_SRC_0(), packedDesc, packed)
            .bind(DNNL_ARG_DST_0(), denseDesc, dense.address());
    addStep(reorder);
    if (dense != target) {
      steps.add(() -> {
        for (int t = 0; t < taps; t++) {
          if (box.cells()[t] == ConvBox.NO_CELL) {
            target.asSlice(t * cellBytes, cellBytes).fill((byte) 0);
          } else {
            MemorySegment.copy(dense, box.cells()[t] * cellBytes, target, t * cellBytes, cellBytes);
          }
        }
      });
    }
  }

  private DnnlDesc image(Tensor t) {
    return image(t.shape(), t.dtype());
  }

  private DnnlDesc image(Shape shape, DType type) {
    long h = shape.dim(1);
    long w = shape.dim(2);
    long c = shape.dim(3);
    return owned.add(
        DnnlDesc.strided(
            type(type), new long[] {shape.dim(0), c, h, w}, new long[] {h * w * c, 1, w * c, c}));
  }
}
