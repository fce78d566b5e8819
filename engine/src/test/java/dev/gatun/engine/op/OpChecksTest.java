package dev.gatun.engine.op;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.Devices;
import dev.gatun.engine.Op;
import dev.gatun.engine.Shape;
import dev.gatun.engine.ShapeException;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.contract.ContractSuite;
import dev.gatun.engine.contract.OpCase;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;

class OpChecksTest {
  private static final DType F32 = DType.F32;

  private static TensorSpec spec(DType type, int... dims) {
    return TensorSpec.of(type, dims);
  }

  private static String refusal(Op op, TensorSpec... inputs) {
    return assertThrows(ShapeException.class, () -> op.check(List.of(inputs))).getMessage();
  }

  @Test
  void messagesNameTheOpWhatIsWrongAndEveryInput() {
    assertEquals(
        "group_norm: C=96 not divisible by groups=36"
            + " (inputs [[2,32,32,96] bf16, [96] f32, [96] f32])",
        refusal(
            new GroupNorm(36, 1e-5f),
            spec(DType.BF16, 2, 32, 32, 96),
            spec(F32, 96),
            spec(F32, 96)));
    assertEquals(
        "conv_taps: w is for C=4, x has C=3 (inputs [[1,8,8,3] f32, [9,4,5] f32])",
        refusal(new Conv2d(Taps.square(3)), spec(F32, 1, 8, 8, 3), spec(F32, 9, 4, 5)));
    assertEquals(
        "conv_taps: T=8 but 9 taps (inputs [[1,8,8,3] f32, [8,3,5] f32])",
        refusal(new Conv2d(Taps.square(3)), spec(F32, 1, 8, 8, 3), spec(F32, 8, 3, 5)));
    assertEquals(
        "add: both inputs must be alike (inputs [[2,3] f32, [2,3] bf16])",
        refusal(new Add(), spec(F32, 2, 3), spec(DType.BF16, 2, 3)));
    assertEquals(
        "softmax_cross_entropy: targets must be 6 elements u8 (inputs [[2,3,5] f32, [5] u8])",
        refusal(new SoftmaxCrossEntropy(null), spec(F32, 2, 3, 5), spec(DType.U8, 5)));
    assertEquals(
        "shift: x must be [N,H,W,C] (inputs [[2,3,4] f32])",
        refusal(new Shift(1, 0), spec(F32, 2, 3, 4)));
    assertEquals(
        "relu: takes f32 or bf16 (inputs [[4] f64])", refusal(new Relu(), spec(DType.F64, 4)));
    assertEquals("gate: takes 1 to 2 inputs (inputs [])", refusal(new Gate()));
  }

  @Test
  void outputsOfValidInputs() {
    assertEquals(
        List.of(spec(F32, 2, 4, 3, 6)),
        new Conv2d(Taps.square(3), 2, 3, null)
            .check(List.of(spec(F32, 2, 7, 7, 5), spec(F32, 9, 5, 6))));
    assertEquals(
        List.of(spec(F32, 1, 8, 8, 4)),
        new Conv2d(Taps.point(), 1, 1, F32)
            .check(List.of(spec(DType.BF16, 1, 8, 8, 2), spec(F32, 1, 2, 4), spec(F32, 4))));
    assertEquals(
        List.of(spec(DType.BF16, 3, 5)), new Gate().check(List.of(spec(DType.BF16, 3, 10))));
    assertEquals(
        List.of(spec(DType.BF16, 3, 7, 5, 2)),
        new Shift(-1, 2).check(List.of(spec(DType.BF16, 3, 7, 5, 2))));
    assertEquals(
        List.of(spec(F32, 1), spec(F32, 6), spec(F32, 6)),
        new SoftmaxCrossEntropy(null)
            .check(List.of(spec(DType.BF16, 2, 3, 5), spec(DType.U8, 2, 3, 1))));
  }

  /** One case of each op, one spec of it changed at a time: accepted or refused, never a crash. */
  @Test
  void whateverTheInputsAreACheckReturnsOrThrowsShapeException() {
    Map<Class<?>, OpCase> cases = new LinkedHashMap<>();
    ContractSuite.cases().forEach(c -> cases.putIfAbsent(c.op().getClass(), c));
    Random random = new Random(1);
    int refused = 0;
    try (Device device = Devices.open("cpu")) {
      for (OpCase opCase : cases.values()) {
        for (int i = 0; i < 400; i++) {
          List<TensorSpec> specs = mutated(opCase.inputs(), random);
          try {
            opCase.op().check(specs);
          } catch (ShapeException e) {
            refused++;
            assertFalse(e.getMessage().isBlank());
            assertEquals(1, e.getMessage().lines().count(), e.getMessage());
            refusedBeforeAllocating(device, opCase.op(), specs);
          } catch (RuntimeException e) {
            fail(opCase.op() + " " + specs + ": " + e, e);
          }
        }
      }
      assertEquals(0, device.allocatedBytes());
    }
    assertTrue(refused > 1000, "only " + refused + " were refused");
  }

  private static void refusedBeforeAllocating(Device device, Op op, List<TensorSpec> specs) {
    if (specs.stream().mapToLong(TensorSpec::sizeBytes).sum() > 1 << 20) {
      return;
    }
    List<Tensor> inputs = new ArrayList<>();
    specs.forEach(s -> inputs.add(Tensor.allocate(device, s)));
    long before = device.allocatedBytes();
    assertThrows(ShapeException.class, () -> device.apply(op, inputs.toArray(Tensor[]::new)));
    assertEquals(before, device.allocatedBytes(), op + " allocated");
    inputs.forEach(Tensor::close);
  }

  private static List<TensorSpec> mutated(List<TensorSpec> inputs, Random random) {
    List<TensorSpec> specs = new ArrayList<>(inputs);
    for (int n = 1 + random.nextInt(2); n > 0; n--) {
      if (specs.isEmpty() || random.nextInt(12) == 0) {
        specs.add(spec(F32, 2, 2));
        continue;
      }
      int i = random.nextInt(specs.size());
      int[] dims = specs.get(i).shape().toArray();
      DType type = specs.get(i).dtype();
      switch (random.nextInt(5)) {
        case 0 -> specs.remove(i);
        case 1 -> specs.set(i, new TensorSpec(Shape.of(dims), DType.values()[random.nextInt(5)]));
        case 2 -> specs.set(i, spec(type, Arrays.copyOf(dims, random.nextInt(6))));
        case 3 -> specs.set(i, spec(type));
        default -> {
          if (dims.length > 0) {
            dims[random.nextInt(dims.length)] = random.nextInt(4) * random.nextInt(4);
            specs.set(i, spec(type, dims));
          }
        }
      }
    }
    return specs;
  }

  @Test
  void attributesThatMakeNoSenseAreRefused() {
    TensorSpec x = spec(F32, 1, 4, 4, 4);
    TensorSpec w = spec(F32, 1, 4, 4);
    refusal(new Conv2d(Taps.point(), 0, 1, null), x, w);
    refusal(new Conv2d(Taps.point(), 1, -1, null), x, w);
    refusal(new Conv2d(Taps.point(), 1, 1, DType.BF16), x, w);
    refusal(new Conv2d(Taps.point(), 1, 1, DType.F64), x, w);
    refusal(new GroupNorm(0, 1e-5f), x, spec(F32, 4), spec(F32, 4));
    refusal(new GroupNorm(-2, 1e-5f), x, spec(F32, 4), spec(F32, 4));
    refusal(new GroupNorm(2, 0f), x, spec(F32, 4), spec(F32, 4));
    refusal(new GroupNorm(2, Float.NaN), x, spec(F32, 4), spec(F32, 4));
    refusal(new NormalizePixels(1, F32), spec(DType.U8, 1, 2, 2, 1));
    refusal(new NormalizePixels(257, F32), spec(DType.U8, 1, 2, 2, 1));
    refusal(new NormalizePixels(2, DType.U8), spec(DType.U8, 1, 2, 2, 1));
    refusal(new Fill(spec(DType.U8, 2), 1));
    refusal(new SoftmaxCrossEntropy(null), spec(F32, 2, 257), spec(DType.U8, 2));
    refusal(
        new SoftmaxCrossEntropyBackward(DType.F64),
        spec(F32, 2, 3),
        spec(DType.U8, 2),
        spec(F32, 2),
        spec(F32, 1));
  }

  @Test
  void likelihoodsAndBoundsThatDoNotFit() {
    ImageLikelihood logistic = new ImageLikelihood(ImageLikelihood.Kind.LOGISTIC, 256, null);
    TensorSpec images = spec(DType.U8, 2, 4, 4, 3);
    assertEquals(
        "image_likelihood: P*C must be 2 times C, H and W those of the targets"
            + " (inputs [[4,4,4,3] f32, [2,4,4,3] u8])",
        refusal(logistic, spec(F32, 4, 4, 4, 3), images));
    assertEquals(
        "image_likelihood: M must be a multiple of N=2 (inputs [[3,4,4,6] f32, [2,4,4,3] u8])",
        refusal(logistic, spec(F32, 3, 4, 4, 6), images));
    assertEquals(
        "image_likelihood: targets must be [N,H,W,C] u8 (inputs [[2,4,4,6] f32, [2,4,4,3] f32])",
        refusal(logistic, spec(F32, 2, 4, 4, 6), spec(F32, 2, 4, 4, 3)));
    assertEquals(
        List.of(spec(F32, 4)),
        new ImageLikelihood(ImageLikelihood.Kind.GAUSSIAN, 2, null)
            .check(List.of(spec(F32, 4, 4, 4, 6), spec(F32, 2, 4, 4, 3))));
    refusal(
        new ImageLikelihood(ImageLikelihood.Kind.LOGISTIC, 257, null),
        spec(F32, 2, 4, 4, 6),
        images);
    refusal(
        new ImageLikelihoodBackward(ImageLikelihood.Kind.LOGISTIC, 256, DType.U8),
        spec(F32, 2, 4, 4, 6),
        images,
        spec(F32, 2));
    assertEquals(
        "importance_bound: S*N=7 not divisible by S=2 (inputs [[7] f32])",
        refusal(new ImportanceBound(2, List.of(1.0)), spec(F32, 7)));
    assertEquals(
        "importance_bound: inputs must be [S*N] f32, all alike (inputs [[6] f32, [4] f32])",
        refusal(new ImportanceBound(2, List.of(1.0, 1.0)), spec(F32, 6), spec(F32, 4)));
    refusal(new ImportanceBound(0, List.of(1.0)), spec(F32, 6));
    refusal(new ImportanceBound(1, List.of()));
    refusal(new ImportanceBound(1, List.of(Double.NaN)), spec(F32, 6));
    refusal(new ImportanceBound(1, Collections.nCopies(9, 1.0)), specs(9, 6));
    assertEquals(
        "iaf_step: said must be [M,...,2D] f32 (inputs [[2,3] f32, [2,3] f32])",
        refusal(new IafStep(), spec(F32, 2, 3), spec(F32, 2, 3)));
    refusal(new IafStep(), spec(F32, 3), spec(F32, 6));
    assertEquals(
        "reshape: cannot be [4,2]: as many elements are needed (inputs [[3,2] f32])",
        refusal(new Reshape(4, 2), spec(F32, 3, 2)));
    refusal(new Cast(DType.U8), spec(F32, 3));
    refusal(new Cast(F32), spec(DType.I32, 3));
    refusal(new ScalePixels(1, F32), spec(DType.U8, 1, 2, 2, 1));
  }

  private static TensorSpec[] specs(int count, int elements) {
    return Collections.nCopies(count, spec(F32, elements)).toArray(TensorSpec[]::new);
  }

  @Test
  void unitsAndBiasesThatDoNotFit() {
    TensorSpec step = spec(DType.F64, 1);
    TensorSpec u8 = spec(DType.U8, 4);
    assertEquals(
        "concat_elu_backward: dy must be [3,4] f32 (inputs [[3,2] f32, [3,2] f32])",
        refusal(new ConcatEluBackward(), spec(F32, 3, 2), spec(F32, 3, 2)));
    refusal(new ConcatElu(), u8);
    refusal(new Elu(), spec(DType.F64, 3));
    refusal(new EluBackward(), spec(F32, 3), spec(DType.BF16, 3));
    for (double rate : new double[] {-0.1, 1, 0.999, 1e12, Double.NaN}) {
      refusal(new Dropout(rate, 1, 0), spec(F32, 3), step);
    }
    assertEquals(
        "dropout: step must be [1] f64 (inputs [[3] f32, [1] f32])",
        refusal(new Dropout(0.5, 1, 0), spec(F32, 3), spec(F32, 1)));
    TensorSpec x = spec(F32, 4, 3, 5);
    assertEquals(
        "add_bias: table is for C=6, x has C=5 (inputs [[4,3,5] f32, [1,6] f32])",
        refusal(new AddBias(), x, spec(F32, 1, 6)));
    refusal(new AddBias(), x, spec(F32, 2, 5));
    refusal(new AddBias(), x, spec(F32, 1, 5), u8);
    refusal(new AddBias(), x, spec(F32, 2, 5), spec(DType.U8, 5));
    refusal(new AddBias(), x, spec(F32, 257, 5), u8);
    refusal(new AddBias(), x, spec(F32, 0, 5));
    refusal(new AddBias(), spec(F32, 5), spec(F32, 1, 5));
    refusal(new AddBiasBackward(0), x);
    refusal(new AddBiasBackward(2), x);
    refusal(new Shift(0, 1), spec(F32, 3, 4, 5));
    assertEquals(List.of(spec(F32, 2, 5)), new AddBiasBackward(2).check(List.of(x, u8)));
  }

  @Test
  void weightsThatDoNotFit() {
    TensorSpec v = spec(F32, 2, 3, 4);
    assertEquals(
        "weight_norm: g must be [4] f32 (inputs [[2,3,4] f32, [3] f32])",
        refusal(new WeightNorm(2), v, spec(F32, 3)));
    refusal(new WeightNorm(0), v, spec(F32, 2));
    refusal(new WeightNorm(3), v, spec(F32, 2));
    refusal(new WeightNormBackward(1), v, spec(F32, 3), spec(F32, 2, 4, 3));
    assertEquals(
        "mask_channels: 3 input channels not divisible by colours=2 (inputs [[2,3,4] f32])",
        refusal(new MaskChannels(0, 2, true, 0), v));
    refusal(new MaskChannels(2, 1, true, 0), v);
    refusal(new MaskChannels(-1, 1, true, 0), v);
    refusal(new MaskChannels(0, 0, true, 0), v);
    refusal(new MaskChannels(0, 1, true, 2), v);
    refusal(new MaskChannels(0, 3, true, 0), v);
    refusal(new MaskChannels(0, 1, true, 1), spec(F32, 2, 1, 4));
    assertEquals(List.of(v), new MaskChannels(0, 2, true, 1).check(List.of(v)));
  }

  @Test
  void gatesAndAddendsThatDoNotFit() {
    TensorSpec x = spec(F32, 2, 12);
    assertEquals(
        "gate: needs a multiple of 6 channels (inputs [[2,10] f32])",
        refusal(new Gate(Gate.Kind.LINEAR, 3), spec(F32, 2, 10)));
    assertEquals(
        "gate: the residual must be [2,6] f32 (inputs [[2,12] f32, [2,12] f32])",
        refusal(new Gate(), x, x));
    refusal(new Gate(Gate.Kind.TANH, 0), x);
    refusal(new Gate(Gate.Kind.TANH, -1), x);
    refusal(new Gate(), x, spec(DType.BF16, 2, 6));
    refusal(new GateBackward(Gate.Kind.TANH, 1), x, x);
    refusal(new GateBackward(Gate.Kind.TANH, 4), x, spec(F32, 2, 6));
    refusal(new GateBackward(Gate.Kind.TANH, 1), x, spec(F32, 2, 6), spec(F32, 2, 6));

    TensorSpec image = spec(DType.BF16, 1, 5, 4, 3);
    TensorSpec w = spec(F32, 1, 3, 2);
    TensorSpec bias = spec(F32, 2);
    TensorSpec y = spec(DType.BF16, 1, 5, 4, 2);
    Conv2d conv = new Conv2d(Taps.point());
    assertEquals(
        "conv_taps: the addend must be [1,5,4,2] bf16 or [1,1,1,2] bf16"
            + " (inputs [[1,5,4,3] bf16, [1,3,2] f32, [1,5,4,2] f32])",
        refusal(conv, image, w, spec(F32, 1, 5, 4, 2)));
    refusal(conv, image, w, y, bias);
    refusal(conv, image, w, y, y);
    refusal(conv, image, w, bias, bias);
    refusal(conv, image, w, bias, image);
    refusal(new Conv2d(Taps.point(), 1, 1, F32), image, w, bias, y);
    assertEquals(List.of(y), conv.check(List.of(image, w, y)));
    assertEquals(List.of(y), conv.check(List.of(image, w, bias, y)));
    Conv2dBackwardData back = new Conv2dBackwardData(conv, image.shape());
    assertEquals(
        "conv_taps_backward_data: the addend must be [1,5,4,3] bf16 or [1,1,1,3] bf16"
            + " (inputs [[1,3,2] f32, [1,5,4,2] bf16, [1,5,4,2] bf16])",
        refusal(back, w, y, y));
    assertEquals(List.of(image), back.check(List.of(w, y, image)));
    TensorSpec row = spec(DType.BF16, 1, 1, 1, 2);
    assertEquals(List.of(y), conv.check(List.of(image, w, bias, row)));
    refusal(conv, image, w, bias, spec(F32, 1, 1, 1, 2));
    refusal(conv, image, w, bias, spec(DType.BF16, 2, 1, 1, 2));
    refusal(conv, image, w, bias, spec(DType.BF16, 1, 2));
    refusal(conv, image, w, bias, row, y);
    assertEquals(List.of(image), back.check(List.of(w, y, spec(DType.BF16, 1, 1, 1, 3))));
    refusal(back, w, y, row);
    assertEquals(List.of(row), new SumPixels().check(List.of(y)));
    refusal(new SumPixels(), spec(F32, 5, 2));
    refusal(new SumPixels(), spec(F32, 1, 0, 4, 2));
    refusal(new SumPixels(), spec(DType.F64, 1, 5, 4, 2));
  }

  @Test
  void imagesThatCannotBeHalved() {
    assertEquals(
        List.of(spec(F32, 2, 6, 10, 7)), Resample.nearest().check(List.of(spec(F32, 2, 3, 5, 7))));
    assertEquals(
        List.of(spec(DType.BF16, 2, 3, 5, 7)),
        Resample.averagePool().check(List.of(spec(DType.BF16, 2, 6, 10, 7))));
    assertEquals(
        "resample: H=6 and W=5 must be even (inputs [[2,6,5,7] f32])",
        refusal(Resample.averagePool(), spec(F32, 2, 6, 5, 7)));
    refusal(Resample.averagePool(), spec(F32, 2, 3, 4, 7));
    refusal(Resample.nearest(), spec(F32, 2, 3, 4));
    refusal(Resample.nearest(), spec(DType.U8, 2, 3, 4, 1));
    refusal(Resample.nearest(), spec(F32, 2, 3, 4, 0));
    refusal(new Resample(Resample.Direction.UP, Float.NaN), spec(F32, 2, 3, 4, 1));
  }

  @Test
  void lossesOverColoursThatDoNotFit() {
    TensorSpec images = spec(DType.U8, 1, 2, 2, 3);
    assertEquals(
        "softmax_cross_entropy: 12 logits not divisible by classes=5"
            + " (inputs [[1,2,2,12] f32, [1,2,2,3] u8])",
        refusal(new SoftmaxCrossEntropy(5, null), spec(F32, 1, 2, 2, 12), images));
    refusal(new SoftmaxCrossEntropy(-4, null), spec(F32, 1, 2, 2, 12), images);
    refusal(new SoftmaxCrossEntropy(257, null), spec(F32, 1, 2, 2, 771), images);
    assertEquals(
        List.of(spec(F32, 1), spec(F32, 12), spec(F32, 12)),
        new SoftmaxCrossEntropy(4, null).check(List.of(spec(F32, 1, 2, 2, 12), images)));
    assertEquals(
        "logistic_mixture: P must be 50 for C=3, N, H, W those of the images"
            + " (inputs [[1,2,2,15] f32, [1,2,2,3] u8])",
        refusal(new LogisticMixture(5, 256, null), spec(F32, 1, 2, 2, 15), images));
    TensorSpec parameters = spec(F32, 1, 2, 2, 10);
    refusal(new LogisticMixture(0, 256, null), parameters, images);
    refusal(new LogisticMixture(1, 1, null), parameters, images);
    refusal(new LogisticMixture(1, 257, null), parameters, images);
    refusal(new LogisticMixture(1, 9, null), spec(F32, 1, 2, 2, 6), spec(DType.U8, 1, 2, 2, 2));
    refusal(new LogisticMixture(1, 9, null), spec(DType.BF16, 1, 2, 2, 10), images);
    refusal(new LogisticMixtureBackward(1, 9, DType.F64), parameters, images, spec(F32, 1));
    refusal(new LogisticMixtureBackward(1, 9, F32), parameters, images, spec(F32, 2));
  }

  @Test
  void attentionsThatDoNotFit() {
    TensorSpec q = spec(DType.BF16, 2, 5, 12);
    TensorSpec k = spec(DType.BF16, 2, 7, 12);
    Attention op = new Attention(3);
    TensorSpec lse = spec(F32, 2, 3, 5);
    assertEquals(List.of(q, lse), op.check(List.of(q, k, k)));
    assertEquals(
        List.of(spec(F32, 1, 4, 256), spec(F32, 1, 2, 4)),
        new Attention(2).check(List.of(spec(F32, 1, 4, 768))));
    assertEquals(
        "attention: C=12 not divisible by heads=5 (inputs [[2,5,12] bf16, [2,7,12] bf16,"
            + " [2,7,12] bf16])",
        refusal(new Attention(5), q, k, k));
    assertEquals(
        "attention: takes q, k, v or qkv (inputs [[2,5,12] bf16, [2,7,12] bf16])",
        refusal(op, q, k));
    assertEquals(
        "attention: a head has at most 128 channels, not 129 (inputs [[1,4,387] f32])",
        refusal(new Attention(1), spec(F32, 1, 4, 387)));
    refusal(new Attention(0), q, k, k);
    refusal(new Attention(-3), q, k, k);
    refusal(op, q, k, spec(F32, 2, 7, 12));
    refusal(op, q, spec(F32, 2, 7, 12), spec(F32, 2, 7, 12));
    refusal(op, q, k, q);
    refusal(op, q, spec(DType.BF16, 1, 7, 12), spec(DType.BF16, 1, 7, 12));
    refusal(op, q, spec(DType.BF16, 2, 0, 12), spec(DType.BF16, 2, 0, 12));
    refusal(op, spec(DType.BF16, 2, 5, 1, 12));
    refusal(op, spec(F32, 2, 5, 32));
    AttentionBackward back = new AttentionBackward(op);
    assertEquals(List.of(q, k, k), back.check(List.of(q, k, k, q, lse, q)));
    assertEquals(
        "attention_backward: lse must be [2,3,5] f32 (inputs [[2,5,12] bf16, [2,7,12] bf16,"
            + " [2,7,12] bf16, [2,5,12] bf16, [2,5,3] f32, [2,5,12] bf16])",
        refusal(back, q, k, k, q, spec(F32, 2, 5, 3), q));
    refusal(back, q, k, k, k, lse, q);
    refusal(back, q, k, k, q, lse, k);
    refusal(back, q, k, k);
    refusal(back, q, q, lse, q);
  }

  @Test
  void stepsAndBoundsOfDiffusionThatDoNotFit() {
    TensorSpec x = spec(DType.F64, 2, 4, 3, 3);
    TensorSpec f = spec(DType.BF16, 4, 4, 3, 6);
    TensorSpec table = spec(DType.F64, 5, 10);
    TensorSpec state = spec(DType.I32, 4);
    TensorSpec known = spec(DType.U8, 2, 4, 3, 3);
    TensorSpec mask = spec(DType.U8, 2, 4, 3, 1);
    DenoiseStep step = new DenoiseStep(DenoiseStep.Thresholding.DYNAMIC, 2, true);
    List<TensorSpec> out = List.of(spec(DType.BF16, 4, 4, 3, 3), spec(F32, 4));
    assertEquals(out, step.check(List.of(x, x, f, table, state)));
    assertEquals(out, step.check(List.of(x, x, f, table, state, known, mask)));
    String message = refusal(step, x, x, f, table, state, known);
    assertTrue(message.startsWith("denoise_step: takes 5 inputs, or 7 with known and mask ("));
    message = refusal(step, x, x, spec(DType.BF16, 4, 4, 3, 3), table, state);
    assertTrue(message.contains("the prediction must have 4 images of x's size, 6 channels ("));
    message = refusal(step, x, x, f, spec(DType.F64, 5, 8), state);
    assertTrue(message.contains("the table must be [S,10] f64"), message);
    message = refusal(step, x, x, f, table, state, known, known);
    assertTrue(message.contains("mask must be [N,H,W,1] u8"), message);
    message = refusal(step, x, x, f, table, state, mask, mask);
    assertTrue(message.contains("known must be of x's shape, u8"), message);
    DenoiseStep plain = new DenoiseStep(DenoiseStep.Thresholding.NONE, 1, false);
    refusal(plain, x, x, spec(F32, 2, 4, 3, 6), table, state);
    refusal(
        new DenoiseStep(DenoiseStep.Thresholding.NONE, Double.NaN, true), x, x, f, table, state);

    TensorSpec p = spec(DType.BF16, 2, 4, 3, 3);
    TensorSpec times = spec(F32, 2);
    TensorSpec rows = spec(F32, 9, 8);
    TensorSpec x32 = spec(F32, 2, 4, 3, 3);
    VariationalBound bound = new VariationalBound(1);
    assertEquals(List.of(spec(F32, 1), times), bound.check(List.of(p, x32, known, times, rows)));
    assertEquals(List.of(spec(F32, 1), times), bound.check(List.of(p, x32, known, times, rows, p)));
    message = refusal(bound, p, x32, known, times, spec(F32, 9, 7));
    assertTrue(message.contains("the table must be [T,8] f32"), message);
    message = refusal(bound, p, x32, known, times, rows, spec(F32, 2, 4, 3, 3));
    assertTrue(message.contains("v must be like the prediction"), message);
    message = refusal(bound, p, x32, mask, times, rows);
    assertTrue(message.contains("images must be of the prediction's shape, u8"), message);
    message = refusal(bound, p, p, known, times, rows);
    assertTrue(message.contains("x must be of the prediction's shape, f32"), message);
    refusal(bound, p, spec(F32, 2, 4, 3, 1), known, times, rows);
    refusal(bound, p, x32, known, spec(F32, 3), rows);
    refusal(new VariationalBound(Double.POSITIVE_INFINITY), p, x32, known, times, rows);
    VariationalBoundBackward back = new VariationalBoundBackward(1);
    assertEquals(List.of(p), back.check(List.of(p, x32, known, times, rows, p, spec(F32, 1))));
    refusal(back, p, x32, known, times, rows, p);
    refusal(back, p, x32, known, times, rows, p, times);
  }

  @Test
  void latentsOfNormalDistributionsThatDoNotFit() {
    TensorSpec p = spec(F32, 4, 2, 3, 10);
    TensorSpec step = spec(DType.F64, 1);
    TensorSpec z = spec(F32, 12, 2, 3, 5);
    GaussianSample sample = new GaussianSample(1, 0, 3);
    assertEquals(List.of(z, z), sample.check(List.of(p, step)));
    String message = refusal(sample, spec(F32, 4, 9), step);
    assertTrue(message.contains("parameters must have as many log-variances as means"), message);
    message = refusal(sample, spec(DType.BF16, 4, 10), step);
    assertTrue(message.contains("parameters must be [N,...,2D] f32"), message);
    refusal(sample, spec(F32, 10), step);
    refusal(sample, spec(F32, 0, 10), step);
    refusal(sample, p, spec(F32, 1));
    message = refusal(new GaussianSample(1, 0, 0), p, step);
    assertTrue(message.contains("there must be at least 1 sample, not 0"), message);
    message = refusal(new GaussianSample(1, 0, 1 << 30), p, step);
    assertTrue(message.contains("1073741824 samples are more than 2^31-1 elements"), message);
    refusal(new GaussianSample(1, -1, 1), p, step);
    assertEquals(List.of(p), new GaussianSampleBackward(3).check(List.of(p, z, z)));
    message = refusal(new GaussianSampleBackward(2), p, z, z);
    assertTrue(message.contains("eps and dz must be [8,2,3,5] f32"), message);

    TensorSpec kl = spec(F32, 4);
    TensorSpec latents = spec(F32, 30);
    assertEquals(List.of(kl, latents), new GaussianKl().check(List.of(p)));
    GaussianKlBackward both = new GaussianKlBackward(true, true);
    assertEquals(List.of(p), both.check(List.of(p, kl, latents)));
    assertEquals(List.of(p), new GaussianKlBackward(false, true).check(List.of(p, latents)));
    message = refusal(new GaussianKlBackward(true, false), p, latents);
    assertTrue(message.contains("dkl must be [N] f32"), message);
    message = refusal(both, p, kl, kl);
    assertTrue(message.contains("dbyDimension must be [E] f32"), message);
    message = refusal(new GaussianKlBackward(false, false), p);
    assertTrue(message.contains("there must be dkl, dbyDimension or both"), message);

    KlObjective objective = new KlObjective(1, 10, 0.5, 20, 10);
    TensorSpec one = spec(F32, 1);
    assertEquals(List.of(one), objective.check(List.of(latents, step)));
    message = refusal(objective, spec(F32, 3, 5), step);
    assertTrue(message.contains("kl must be [E] f32"), message);
    refusal(objective, latents, one);
    refusal(new KlObjective(Double.NaN, 0, 0, 0, 0), latents, step);
    refusal(new KlObjective(1, 0, Double.NaN, 0, 0), latents, step);
    message = refusal(new KlObjective(1, 0, 0, -1, 0), latents, step);
    assertTrue(message.contains("the capacity must be 0 or more, not -1.0"), message);
    message = refusal(new KlObjective(1, 0, 0, 1, -1), latents, step);
    assertTrue(message.contains("must take 0 steps or more, not 0 and -1"), message);
    KlObjectiveBackward back = new KlObjectiveBackward(objective);
    assertEquals(List.of(latents), back.check(List.of(latents, step, one)));
    refusal(back, latents, step, latents);
  }

  @Test
  void mixturesOfNormalDistributionsThatDoNotFit() {
    TensorSpec z = spec(F32, 6, 1, 1, 5);
    TensorSpec p = spec(F32, 2, 3 * 2 * 5);
    TensorSpec density = spec(F32, 6);
    GaussianMixture mixture = new GaussianMixture(3);
    assertEquals(List.of(density), mixture.check(List.of(z, p)));
    assertEquals(List.of(density), mixture.check(List.of(z, p, spec(F32, 2, 3))));
    String message = refusal(mixture, spec(F32, 6, 1, 2, 5), p);
    assertTrue(message.contains("z's axes between M and D must be 1"), message);
    message = refusal(mixture, z, spec(F32, 2, 20));
    assertTrue(message.contains("parameters must be rows of K*2D=30 elements"), message);
    message = refusal(mixture, z, spec(F32, 4, 30));
    assertTrue(message.contains("R=4 rows of parameters do not divide M"), message);
    message = refusal(mixture, z, p, spec(F32, 3));
    assertTrue(message.contains("logits must be R*K=6 elements"), message);
    message = refusal(mixture, z, spec(DType.BF16, 2, 30));
    assertTrue(message.contains("takes f32 and nothing else"), message);
    refusal(mixture, spec(F32, 6), p);
    refusal(mixture, z, spec(F32, 0, 30));
    refusal(new GaussianMixture(0), z, p);
    GaussianMixtureBackward back = new GaussianMixtureBackward(3);
    assertEquals(List.of(z, p), back.check(List.of(z, p, density, density)));
    TensorSpec logits = spec(F32, 6);
    assertEquals(List.of(z, p, logits), back.check(List.of(z, p, logits, density, density)));
    message = refusal(back, z, p, density, spec(F32, 1));
    assertTrue(message.contains("logDensity and ddensity must be [6] f32"), message);
    refusal(back, z, p, density);
  }

  /** Labels and pixels are known when an op runs only; the message is as plain. */
  @Test
  void valuesOutOfRangeAreNamedWhenTheOpRuns() {
    try (Device device = Devices.open("cpu");
        Tensor x = Tensor.allocate(device, F32, 3, 2, 4);
        Tensor table = Tensor.allocate(device, F32, 2, 4);
        Tensor labels = Tensor.allocate(device, DType.U8, 3).write(new byte[] {1, 0, 2});
        Tensor parameters = Tensor.allocate(device, F32, 1, 1, 3, 3);
        Tensor images = Tensor.allocate(device, DType.U8, 1, 1, 3, 1).write(new byte[] {3, 4, 0});
        Tensor indices = Tensor.allocate(device, DType.U8, 3, 1).write(new byte[] {1, 0, 2});
        Tensor z = Tensor.allocate(device, F32, 3, 4);
        Tensor step = Tensor.allocate(device, DType.F64, 1).writeDoubles(0.5)) {
      assertEquals(
          "add_bias: label 2 of image 2, but the table has 2 rows",
          failure(() -> device.apply(new AddBias(), x, table, labels)));
      assertEquals(
          "add_bias_backward: label 2 of image 2, but the table has 2 rows",
          failure(() -> device.apply(new AddBiasBackward(2), x, labels)));
      assertEquals(
          "logistic_mixture: value 4 in pixel 1, but there are 4 levels",
          failure(() -> device.apply(new LogisticMixture(1, 4, null), parameters, images)));
      assertEquals(
          "dropout: step must be a whole number below 2^31, not 0.5",
          failure(() -> device.apply(new Dropout(0.5, 1, 0), x, step)));
      GumbelSoftmax.Temperature one = GumbelSoftmax.Temperature.constant(1);
      assertEquals(
          "gumbel_softmax: step must be a whole number below 2^31, not 0.5",
          failure(() -> device.apply(new GumbelSoftmax(2, 1, 0, 1, one), x, step)));
      assertEquals(
          "gumbel_softmax_backward: step must be a whole number below 2^31, not 0.5",
          failure(() -> device.apply(new GumbelSoftmaxBackward(2, 1, one), x, x, step)));
      assertEquals(
          "categorical_sample: step must be a whole number below 2^31, not 0.5",
          failure(() -> device.apply(new CategoricalSample(2, 1, 0, 1), x, step)));
      assertEquals(
          "code_vectors: index 2 at position 2, but the codebook has 2 codes",
          failure(() -> device.apply(new CodeVectors(F32), indices, table)));
      assertEquals(
          "codebook_sums: index 2 at position 2, but the codebook has 2 codes",
          failure(() -> device.apply(new CodebookSums(2), z, indices)));
      assertEquals(
          "gaussian_sample: step must be a whole number below 2^31, not 0.5",
          failure(() -> device.apply(new GaussianSample(1, 0, 1), x, step)));
    }
  }

  private static String failure(Executable run) {
    return assertThrows(IllegalArgumentException.class, run).getMessage();
  }

  @Test
  void discreteLatentsThatAreRefused() {
    TensorSpec step = spec(DType.F64, 1);
    TensorSpec logits = spec(F32, 2, 7, 12);
    GumbelSoftmax.Temperature one = GumbelSoftmax.Temperature.constant(1);
    GumbelSoftmax relaxed = new GumbelSoftmax(4, 1, 0, 3, one);
    assertEquals(List.of(spec(F32, 6, 7, 12)), relaxed.check(List.of(logits, step)));
    String message = refusal(new GumbelSoftmax(5, 1, 0, 3, one), logits, step);
    assertTrue(message.contains("the last axis has 12 elements, not a multiple of K=5"), message);
    message = refusal(new CategoricalSample(4, 1, 0, 0), logits, step);
    assertTrue(message.startsWith("categorical_sample: there are 0 samples"), message);
    message = refusal(new CategoricalSample(4, 1, -1, 1), logits, step);
    assertTrue(message.contains("the first image is -1"), message);
    message = refusal(new CategoricalSample(4, 1, 0, 1 << 30), logits, step);
    assertTrue(message.contains("there are 2147483648 samples of images"), message);
    message = refusal(new CategoricalSample(257, 1, 0, 1), spec(F32, 1, 257), step);
    assertTrue(message.contains("categories must be 2 to 256, not 257"), message);
    message = refusal(new CategoricalSample(4, 1, 0, 1), spec(DType.BF16, 2, 12), step);
    assertTrue(message.contains("logits must be [N,...,L*K] f32"), message);
    for (GumbelSoftmax.Temperature wrong :
        List.of(
            new GumbelSoftmax.Temperature(0, 1, 0),
            new GumbelSoftmax.Temperature(1, -1, 0),
            new GumbelSoftmax.Temperature(1, 1, -1),
            new GumbelSoftmax.Temperature(Double.NaN, 1, 0))) {
      message = refusal(new GumbelSoftmax(4, 1, 0, 1, wrong), logits, step);
      assertTrue(message.contains("temperature"), message);
      TensorSpec[] gradient = {logits, logits, step};
      refusal(new GumbelSoftmaxBackward(4, 1, wrong), gradient);
    }
    message = refusal(new GumbelSoftmaxBackward(4, 3, one), logits, logits, step);
    assertTrue(message.contains("y has 2 rows, not 3 samples of each image"), message);
    CategoricalKl kl = new CategoricalKl(4);
    assertEquals(List.of(spec(F32, 2), spec(F32, 21)), kl.check(List.of(logits)));
    CategoricalKlBackward both = new CategoricalKlBackward(4, true, true);
    assertEquals(List.of(logits), both.check(List.of(logits, spec(F32, 2), spec(F32, 21))));
    message = refusal(both, logits, spec(F32, 21), spec(F32, 2));
    assertTrue(message.contains("the gradients must be [[2] f32, [21] f32]"), message);
    message = refusal(new CategoricalKlBackward(4, false, false), logits);
    assertTrue(message.contains("takes a gradient of kl, of byDimension or of both"), message);
    CategoricalLogProbability probability = new CategoricalLogProbability(4);
    assertEquals(List.of(spec(F32, 6)), probability.check(List.of(spec(F32, 6, 7, 12), logits)));
    message = refusal(probability, spec(F32, 3, 7, 12), logits);
    assertTrue(message.contains("z must be samples of each of the logits' images"), message);
    refusal(probability, spec(F32, 6, 7, 8), logits);

    TensorSpec z = spec(DType.BF16, 2, 3, 3, 5);
    TensorSpec indices = spec(DType.U8, 2, 3, 3, 1);
    TensorSpec codebook = spec(F32, 256, 5);
    assertEquals(List.of(z, indices), new VectorQuantize().check(List.of(z, codebook)));
    message = refusal(new VectorQuantize(), z, spec(F32, 257, 5));
    assertTrue(message.contains("the codebook must have 1 to 256 codes, not 257"), message);
    message = refusal(new VectorQuantize(), z, spec(F32, 9, 4));
    assertTrue(message.contains("the codebook is for D=4, z has D=5"), message);
    message = refusal(new VectorQuantize(), z, spec(DType.BF16, 9, 5));
    assertTrue(message.contains("the codebook must be [K,D] f32"), message);
    assertEquals(List.of(z), new CodeVectors(DType.BF16).check(List.of(indices, codebook)));
    message = refusal(new CodeVectors(F32), spec(DType.U8, 2, 3, 3), codebook);
    assertTrue(message.contains("indices must be [N,...,1] u8"), message);
    message = refusal(new CodeVectors(DType.U8), indices, codebook);
    assertTrue(message.contains("vectors must be f32 or bf16"), message);
    assertEquals(List.of(spec(F32, 9, 6)), new CodebookSums(9).check(List.of(z, indices)));
    message = refusal(new CodebookSums(9), z, spec(DType.U8, 2, 3, 1));
    assertTrue(message.contains("indices must be [2,3,3,1] u8"), message);
    message = refusal(new CodebookSums(257), z, indices);
    assertTrue(message.contains("there must be 1 to 256 codes, not 257"), message);
    message = refusal(new MovingAverage(1), codebook, codebook);
    assertTrue(message.contains("decay must be at least 0 and below 1, not 1.0"), message);
    message = refusal(new MovingAverage(0.9), codebook, spec(F32, 1280));
    assertTrue(message.contains("x must be like the state"), message);
    message = refusal(new Codebook(0), codebook);
    assertTrue(message.contains("epsilon must be above 0, not 0.0"), message);
    message = refusal(new Codebook(1e-5), spec(F32, 9, 1));
    assertTrue(message.contains("state must be [K,D+1] f32"), message);
  }
}
