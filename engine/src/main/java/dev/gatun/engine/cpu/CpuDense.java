package dev.gatun.engine.cpu;

import static dev.gatun.ffi.onednn.OneDnn.*;

import dev.gatun.engine.Buffer;
import dev.gatun.engine.Launch;
import dev.gatun.engine.Shape;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.op.AddBiasBackward;
import dev.gatun.engine.op.Conv2d;
import dev.gatun.engine.op.Conv2dBackwardData;
import dev.gatun.engine.op.Conv2dBackwardWeights;
import dev.gatun.engine.op.Taps;
import dev.gatun.ffi.DnnlAttributes;
import dev.gatun.ffi.DnnlDesc;
import dev.gatun.ffi.DnnlPrimitive;
import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.function.Supplier;

/**
 * Convolutions of images of one pixel: dense layers, products of matrices. oneDNN's convolutions
 * take two to seven times as long for them, most of it with weights' layouts.
 */
final class CpuDense extends DnnlLaunch {
  private static final Taps.Tap CENTRE = new Taps.Tap(0, 0);

  private CpuDense(CpuDevice device) {
    super(device);
  }

  /** Whether all that a convolution reads is the pixel that an image has. */
  static boolean suits(Conv2d op, Shape x) {
    return x.dim(1) * x.dim(2) == 1 && op.taps().list().contains(CENTRE);
  }

  static Launch forward(CpuDevice device, Conv2d op, List<Tensor> in, List<Tensor> out) {
    List<TensorSpec> specs = in.stream().map(Tensor::spec).toList();
    Tensor bias = Conv2d.hasBias(specs) ? in.get(2) : null;
    Tensor addend = Conv2d.hasAddend(specs) ? in.getLast() : null;
    return planned(
        new CpuDense(device),
        launch ->
            launch.planProduct(op, in.get(0), in.get(1), false, bias, addend, out.getFirst()));
  }

  static Launch backwardData(
      CpuDevice device, Conv2dBackwardData op, List<Tensor> in, List<Tensor> out) {
    Tensor addend = in.size() > 2 ? in.get(2) : null;
    return planned(
        new CpuDense(device),
        launch ->
            launch.planProduct(
                op.forward(), in.get(1), in.get(0), true, null, addend, out.getFirst()));
  }

  static Launch backwardWeights(
      CpuDevice device, Conv2dBackwardWeights op, List<Tensor> in, List<Tensor> out) {
    return planned(new CpuDense(device), launch -> launch.planWeights(op, in, out));
  }

  private static long centre(Conv2d op, Tensor w) {
    return 4L * op.taps().list().indexOf(CENTRE) * w.shape().dim(1) * w.shape().dim(2); // in bytes
  }

  /** [N,1,1,C] as [N,C]. */
  private DnnlDesc rows(Tensor t) {
    return owned.add(DnnlDesc.dense(type(t.dtype()), t.shape().dim(0), t.shape().dim(3)));
  }

  /** y = x w + bias + addend, w [C,K], or [K,C] where {@code transposed}. */
  private void planProduct(
      Conv2d op, Tensor x, Tensor w, boolean transposed, Tensor bias, Tensor addend, Tensor y) {
    long inputs = x.shape().dim(3);
    long outputs = y.shape().dim(3);
    long[] matrix = {inputs, outputs};
    DnnlDesc xDesc = rows(x);
    DnnlDesc yDesc = rows(y);
    DnnlDesc biasDesc = bias == null ? null : owned.add(DnnlDesc.dense(dnnl_f32(), 1, outputs));
    DnnlDesc addendDesc = addend == null ? null : rows(addend);
    try (DnnlAttributes attributes = new DnnlAttributes();
        DnnlDesc any = DnnlDesc.any(type(x.dtype()), matrix)) {
      if (addend != null) {
        attributes.thenAdd(addendDesc);
      }
      DnnlPrimitive product =
          owned.add(DnnlPrimitive.matmul(dnnl(), xDesc, any, biasDesc, yDesc, attributes));
      DnnlDesc packedDesc = owned.add(product.chosen(dnnl_query_weights_md()));
      Buffer packed = owned.add(device.allocate(packedDesc.sizeBytes()));
      DnnlDesc denseDesc =
          owned.add(
              DnnlDesc.strided(
                  dnnl_f32(),
                  matrix,
                  transposed ? new long[] {1, inputs} : new long[] {outputs, 1}));
      DnnlPrimitive pack =
          owned
              .add(DnnlPrimitive.reorder(dnnl(), denseDesc, packedDesc))
              .bind(DNNL_ARG_SRC_0(), denseDesc, w.address() + centre(op, w))
              .bind(DNNL_ARG_DST_0(), packedDesc, packed.address());
      useScratch(pack);
      addStepIfChanged(w.buffer(), pack::execute);
      product.bind(DNNL_ARG_SRC_0(), xDesc, x.address());
      product.bind(DNNL_ARG_WEIGHTS_0(), packedDesc, packed.address());
      if (bias != null) {
        product.bind(DNNL_ARG_BIAS(), biasDesc, bias.address());
      }
      if (addend != null) {
        product.bind(DnnlAttributes.ADDEND, addendDesc, addend.address());
      }
      product.bind(DNNL_ARG_DST_0(), yDesc, y.address());
      addStep(product);
    }
  }

  private void planWeights(Conv2dBackwardWeights op, List<Tensor> in, List<Tensor> out) {
    Tensor x = in.get(0);
    Tensor dy = in.get(1);
    Tensor dw = out.get(0);
    long images = x.shape().dim(0);
    long channels = x.shape().dim(3);
    long filters = dy.shape().dim(3);
    if (op.forward().taps().count() > 1) {
      MemorySegment all = device.segment(dw);
      steps.add(() -> all.fill((byte) 0));
    }
    DnnlDesc xDesc =
        owned.add(
            DnnlDesc.strided(
                type(x.dtype()), new long[] {channels, images}, new long[] {1, channels}));
    DnnlDesc dyDesc = rows(dy);
    DnnlDesc dwDesc = owned.add(DnnlDesc.dense(dnnl_f32(), channels, filters));
    boolean small = (double) images * channels * filters < ONE_THREAD_PRODUCTS;
    Supplier<DnnlPrimitive> make =
        () -> DnnlPrimitive.matmul(dnnl(), xDesc, dyDesc, null, dwDesc, null);
    DnnlPrimitive product =
        own(small, make)
            .bind(DNNL_ARG_SRC_0(), xDesc, x.address())
            .bind(DNNL_ARG_WEIGHTS_0(), dyDesc, dy.address())
            .bind(DNNL_ARG_DST_0(), dwDesc, dw.address() + centre(op.forward(), dw));
    addStep(small, product);
    if (op.bias()) {
      Launch sum =
          CpuBias.addBiasBackward(device, new AddBiasBackward(1), List.of(dy), List.of(out.get(1)));
      steps.add(owned.add(sum)::run);
    }
  }
}
