package dev.gatun.engine.contract;

import dev.gatun.engine.DType;
import dev.gatun.engine.Op;
import dev.gatun.engine.Philox;
import dev.gatun.engine.Shape;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.op.Adam;
import dev.gatun.engine.op.Add;
import dev.gatun.engine.op.AddBias;
import dev.gatun.engine.op.AddBiasBackward;
import dev.gatun.engine.op.Attention;
import dev.gatun.engine.op.AttentionBackward;
import dev.gatun.engine.op.Cast;
import dev.gatun.engine.op.CategoricalKl;
import dev.gatun.engine.op.CategoricalKlBackward;
import dev.gatun.engine.op.CategoricalLogProbability;
import dev.gatun.engine.op.CategoricalSample;
import dev.gatun.engine.op.CodeVectors;
import dev.gatun.engine.op.Codebook;
import dev.gatun.engine.op.CodebookSums;
import dev.gatun.engine.op.Concat;
import dev.gatun.engine.op.ConcatElu;
import dev.gatun.engine.op.ConcatEluBackward;
import dev.gatun.engine.op.Conv2d;
import dev.gatun.engine.op.Conv2dBackwardData;
import dev.gatun.engine.op.Conv2dBackwardWeights;
import dev.gatun.engine.op.Conv2dUnit;
import dev.gatun.engine.op.DenoiseStep;
import dev.gatun.engine.op.Diffuse;
import dev.gatun.engine.op.DiffusionTimes;
import dev.gatun.engine.op.Dropout;
import dev.gatun.engine.op.Elu;
import dev.gatun.engine.op.EluBackward;
import dev.gatun.engine.op.Fill;
import dev.gatun.engine.op.FoldUpsampling;
import dev.gatun.engine.op.FoldUpsamplingBackward;
import dev.gatun.engine.op.Gate;
import dev.gatun.engine.op.GateBackward;
import dev.gatun.engine.op.GaussianKl;
import dev.gatun.engine.op.GaussianKlBackward;
import dev.gatun.engine.op.GaussianMixture;
import dev.gatun.engine.op.GaussianMixtureBackward;
import dev.gatun.engine.op.GaussianSample;
import dev.gatun.engine.op.GaussianSampleBackward;
import dev.gatun.engine.op.GroupNorm;
import dev.gatun.engine.op.GroupNormBackward;
import dev.gatun.engine.op.GumbelSoftmax;
import dev.gatun.engine.op.GumbelSoftmaxBackward;
import dev.gatun.engine.op.IafStep;
import dev.gatun.engine.op.IafStepBackward;
import dev.gatun.engine.op.ImageLikelihood;
import dev.gatun.engine.op.ImageLikelihoodBackward;
import dev.gatun.engine.op.ImportanceBound;
import dev.gatun.engine.op.ImportanceBoundBackward;
import dev.gatun.engine.op.KlObjective;
import dev.gatun.engine.op.KlObjectiveBackward;
import dev.gatun.engine.op.LogisticMixture;
import dev.gatun.engine.op.LogisticMixtureBackward;
import dev.gatun.engine.op.MaskChannels;
import dev.gatun.engine.op.MovingAverage;
import dev.gatun.engine.op.NormalizePixels;
import dev.gatun.engine.op.Relu;
import dev.gatun.engine.op.ReluBackward;
import dev.gatun.engine.op.Resample;
import dev.gatun.engine.op.Reshape;
import dev.gatun.engine.op.ReverseChannels;
import dev.gatun.engine.op.ScalePixels;
import dev.gatun.engine.op.Shift;
import dev.gatun.engine.op.Silu;
import dev.gatun.engine.op.SiluBackward;
import dev.gatun.engine.op.SinusoidalEmbedding;
import dev.gatun.engine.op.SoftmaxCrossEntropy;
import dev.gatun.engine.op.SoftmaxCrossEntropyBackward;
import dev.gatun.engine.op.Split;
import dev.gatun.engine.op.SquaredError;
import dev.gatun.engine.op.SquaredErrorBackward;
import dev.gatun.engine.op.SquaredNorm;
import dev.gatun.engine.op.SumPixels;
import dev.gatun.engine.op.Taps;
import dev.gatun.engine.op.VariationalBound;
import dev.gatun.engine.op.VariationalBoundBackward;
import dev.gatun.engine.op.VectorQuantize;
import dev.gatun.engine.op.WeightNorm;
import dev.gatun.engine.op.WeightNormBackward;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.IntBinaryOperator;
import java.util.function.IntToDoubleFunction;

/**
 * Every op, plainly, in f64: the oracle that devices are held against. Nothing here shares code
 * with a backend, and nothing here is meant to be fast.
 */
public final class Reference {
  /**
   * One result.
   *
   * @param value the elements
   * @param magnitude for each element the sum of the absolute values of the terms it is made of:
   *     what rounding errors are proportional to
   * @param narrowed for each element the sum of the absolute values of those of its terms that a
   *     device rounds to bf16 once, on the way to a product in that dtype; null where it rounds
   *     none
   */
  public record Result(double[] value, double[] magnitude, double[] narrowed) {
    Result(double[] value, double[] magnitude) {
      this(value, magnitude, null);
    }

    static Result of(int n) {
      return new Result(new double[n], new double[n]);
    }

    static Result ofProduct(int n, DType type) {
      return type == DType.BF16
          ? new Result(new double[n], new double[n], new double[n])
          : Result.of(n);
    }

    void set(int i, double v, double m) {
      value[i] = v;
      magnitude[i] = m;
    }

    void grow(int i, double v, double m) {
      value[i] += v;
      magnitude[i] += m;
    }

    void add(int i, double term) {
      value[i] += term;
      magnitude[i] += Math.abs(term);
    }

    /** A term of a product, one factor of which was computed: w, off by so much, times f. */
    void addProduct(int i, double w, double size, double f) {
      value[i] += w * f;
      magnitude[i] += size * Math.abs(f);
      if (narrowed != null) {
        narrowed[i] += Math.abs(w * f);
      }
    }
  }

  interface Form<T extends Op> {
    List<Result> run(T op, List<TensorSpec> specs, List<double[]> in);
  }

  private static final Map<Class<? extends Op>, Form<Op>> FORMS = new HashMap<>();

  static {
    register(Conv2d.class, Reference::conv);
    register(Conv2dUnit.class, Reference::convUnit);
    register(Conv2dBackwardData.class, Reference::convBackwardData);
    register(Conv2dBackwardWeights.class, Reference::convBackwardWeights);
    register(Gate.class, Reference::gate);
    register(GateBackward.class, Reference::gateBackward);
    register(Relu.class, (op, specs, in) -> map(in.get(0).length, i -> Math.max(in.get(0)[i], 0)));
    register(
        ReluBackward.class,
        (op, specs, in) -> map(in.get(0).length, i -> in.get(0)[i] > 0 ? in.get(1)[i] : 0));
    register(Add.class, Reference::add);
    register(Fill.class, (op, specs, in) -> map(op.spec().shape().elements(), i -> op.value()));
    register(Elu.class, (op, specs, in) -> map(in.get(0).length, i -> elu(in.get(0)[i])));
    register(EluBackward.class, Reference::eluBackward);
    register(ConcatElu.class, Reference::concatElu);
    register(ConcatEluBackward.class, Reference::concatEluBackward);
    register(Dropout.class, Reference::dropout);
    register(AddBias.class, Reference::addBias);
    register(AddBiasBackward.class, Reference::addBiasBackward);
    register(WeightNorm.class, Reference::weightNorm);
    register(WeightNormBackward.class, Reference::weightNormBackward);
    register(MaskChannels.class, Reference::maskChannels);
    register(NormalizePixels.class, Reference::normalizePixels);
    register(ScalePixels.class, LikelihoodReference::scalePixels);
    register(ImageLikelihood.class, LikelihoodReference::imageLikelihood);
    register(ImageLikelihoodBackward.class, LikelihoodReference::imageLikelihoodBackward);
    register(ImportanceBound.class, LikelihoodReference::importanceBound);
    register(ImportanceBoundBackward.class, LikelihoodReference::importanceBoundBackward);
    register(IafStep.class, LikelihoodReference::iafStep);
    register(IafStepBackward.class, LikelihoodReference::iafStepBackward);
    register(Cast.class, (op, specs, in) -> map(in.get(0).length, i -> in.get(0)[i]));
    register(Reshape.class, (op, specs, in) -> map(in.get(0).length, i -> in.get(0)[i]));
    register(SoftmaxCrossEntropy.class, Reference::crossEntropy);
    register(SoftmaxCrossEntropyBackward.class, Reference::crossEntropyBackward);
    register(LogisticMixture.class, Reference::logisticMixture);
    register(LogisticMixtureBackward.class, Reference::logisticMixtureBackward);
    register(GroupNorm.class, Reference::groupNorm);
    register(GroupNormBackward.class, Reference::groupNormBackward);
    register(Silu.class, Reference::silu);
    register(SiluBackward.class, Reference::siluBackward);
    register(FoldUpsampling.class, Reference::foldUpsampling);
    register(FoldUpsamplingBackward.class, Reference::foldUpsamplingBackward);
    register(DiffusionTimes.class, Reference::diffusionTimes);
    register(Diffuse.class, Reference::diffuse);
    register(SquaredError.class, Reference::squaredError);
    register(SquaredErrorBackward.class, Reference::squaredErrorBackward);
    register(SinusoidalEmbedding.class, Reference::sinusoidalEmbedding);
    register(DenoiseStep.class, Reference::denoiseStep);
    register(VariationalBound.class, Reference::variationalBound);
    register(VariationalBoundBackward.class, Reference::variationalBoundBackward);
    register(GaussianSample.class, GaussianReference::sample);
    register(GaussianSampleBackward.class, GaussianReference::sampleBackward);
    register(GaussianKl.class, GaussianReference::kl);
    register(GaussianKlBackward.class, GaussianReference::klBackward);
    register(KlObjective.class, GaussianReference::objective);
    register(KlObjectiveBackward.class, GaussianReference::objectiveBackward);
    register(GaussianMixture.class, GaussianReference::mixture);
    register(GaussianMixtureBackward.class, GaussianReference::mixtureBackward);
    register(Concat.class, Reference::concat);
    register(Split.class, Reference::split);
    register(Attention.class, Reference::attention);
    register(AttentionBackward.class, Reference::attentionBackward);
    register(Resample.class, Reference::resample);
    register(SumPixels.class, Reference::sumPixels);
    register(Shift.class, Reference::shift);
    register(VectorQuantize.class, CodeReference::vectorQuantize);
    register(CodeVectors.class, CodeReference::codeVectors);
    register(CodebookSums.class, CodeReference::codebookSums);
    register(MovingAverage.class, CodeReference::movingAverage);
    register(Codebook.class, CodeReference::codebook);
    register(GumbelSoftmax.class, CodeReference::gumbelSoftmax);
    register(GumbelSoftmaxBackward.class, CodeReference::gumbelSoftmaxBackward);
    register(CategoricalSample.class, CodeReference::categoricalSample);
    register(CategoricalKl.class, CodeReference::categoricalKl);
    register(CategoricalKlBackward.class, CodeReference::categoricalKlBackward);
    register(CategoricalLogProbability.class, CodeReference::categoricalLogProbability);
    register(ReverseChannels.class, CodeReference::reverseChannels);
    register(SquaredNorm.class, Reference::squaredNorm);
    register(Adam.class, Reference::adam);
  }

  private Reference() {}

  private static <T extends Op> void register(Class<T> type, Form<T> form) {
    FORMS.put(type, (op, specs, in) -> form.run(type.cast(op), specs, in));
  }

  /** The op classes there is a reference for. */
  public static java.util.Set<Class<? extends Op>> ops() {
    return java.util.Collections.unmodifiableSet(FORMS.keySet());
  }

  /**
   * Runs an op.
   *
   * @param inputs elements in row-major order, already rounded to their dtype
   * @return the op's outputs, then the new content of each input it updates in place
   */
  public static List<Result> run(Op op, List<TensorSpec> specs, List<double[]> inputs) {
    op.check(specs);
    Form<Op> form = FORMS.get(op.getClass());
    if (form == null) {
      throw new IllegalArgumentException("no reference for " + op.name());
    }
    return form.run(op, specs, inputs);
  }

  static List<Result> map(int n, IntToDoubleFunction f) {
    Result y = Result.of(n);
    for (int i = 0; i < n; i++) {
      double v = f.applyAsDouble(i);
      y.set(i, v, Math.abs(v));
    }
    return List.of(y);
  }

  /** Visits every product of a convolution: (output pixel, tap, input pixel), pixels flattened. */
  private interface Visit {
    void at(int outputPixel, int tap, int inputPixel);
  }

  private static void taps(Conv2d op, Shape x, Shape y, Visit visit) {
    List<Taps.Tap> list = op.taps().list();
    for (int n = 0; n < x.dim(0); n++) {
      for (int i = 0; i < y.dim(1); i++) {
        for (int j = 0; j < y.dim(2); j++) {
          for (int t = 0; t < list.size(); t++) {
            int r = i * op.strideH() + list.get(t).dy();
            int c = j * op.strideW() + list.get(t).dx();
            if (r >= 0 && r < x.dim(1) && c >= 0 && c < x.dim(2)) {
              visit.at((n * y.dim(1) + i) * y.dim(2) + j, t, (n * x.dim(1) + r) * x.dim(2) + c);
            }
          }
        }
      }
    }
  }

  /** Which element of an addend like y, or of one for all pixels of an image, goes to y's i-th. */
  private static int addendOf(int i, Shape y, double[] addend) {
    int perImage = y.elements() / y.dim(0);
    return addend.length == y.elements() ? i : i / perImage * y.dim(3) + i % y.dim(3);
  }

  private static List<Result> sumPixels(SumPixels op, List<TensorSpec> specs, List<double[]> in) {
    Shape x = specs.getFirst().shape();
    Result y = Result.of(x.dim(0) * x.dim(3));
    for (int i = 0; i < x.elements(); i++) {
      y.add(i / (x.elements() / x.dim(0)) * x.dim(3) + i % x.dim(3), in.getFirst()[i]);
    }
    return List.of(y);
  }

  private static List<Result> resample(Resample op, List<TensorSpec> specs, List<double[]> in) {
    Shape x = specs.getFirst().shape();
    Shape y = op.check(specs).getFirst().shape();
    boolean up = op.direction() == Resample.Direction.UP;
    Shape large = up ? y : x;
    Shape small = up ? x : y;
    Result out = Result.of(y.elements());
    for (int i = 0; i < large.elements(); i++) {
      int c = i % large.dim(3);
      int pixel = i / large.dim(3);
      int column = pixel % large.dim(2) / 2;
      int row = pixel / large.dim(2) / 2; // images have an even number of rows
      int other = (row * small.dim(2) + column) * small.dim(3) + c;
      out.add(up ? i : other, op.factor() * in.getFirst()[up ? other : i]);
    }
    return List.of(out);
  }

  private static List<Result> conv(Conv2d op, List<TensorSpec> specs, List<double[]> in) {
    Shape x = specs.get(0).shape();
    Shape w = specs.get(1).shape();
    Shape y = op.check(specs).getFirst().shape();
    int channels = w.dim(1);
    int filters = w.dim(2);
    Result out = Result.of(y.elements());
    boolean bias = in.size() > 2 && specs.get(2).shape().rank() == 1;
    for (int i = 0; i < y.elements(); i++) {
      if (bias) {
        out.add(i, in.get(2)[i % filters]);
      }
      if (in.size() > (bias ? 3 : 2)) {
        out.add(i, in.getLast()[addendOf(i, y, in.getLast())]);
      }
    }
    taps(
        op,
        x,
        y,
        (p, t, q) -> {
          for (int c = 0; c < channels; c++) {
            for (int k = 0; k < filters; k++) {
              out.add(
                  p * filters + k,
                  in.get(0)[q * channels + c] * in.get(1)[(t * channels + c) * filters + k]);
            }
          }
        });
    return List.of(out);
  }

  private static List<Result> convBackwardData(
      Conv2dBackwardData op, List<TensorSpec> specs, List<double[]> in) {
    Shape w = specs.get(0).shape();
    Shape y = specs.get(1).shape();
    int channels = w.dim(1);
    int filters = w.dim(2);
    Result dx = Result.of(op.xShape().elements());
    if (in.size() > 2) {
      for (int i = 0; i < dx.value.length; i++) {
        dx.add(i, in.get(2)[addendOf(i, op.xShape(), in.get(2))]);
      }
    }
    taps(
        op.forward(),
        op.xShape(),
        y,
        (p, t, q) -> {
          for (int c = 0; c < channels; c++) {
            for (int k = 0; k < filters; k++) {
              dx.add(
                  q * channels + c,
                  in.get(1)[p * filters + k] * in.get(0)[(t * channels + c) * filters + k]);
            }
          }
        });
    return List.of(dx);
  }

  private static List<Result> convBackwardWeights(
      Conv2dBackwardWeights op, List<TensorSpec> specs, List<double[]> in) {
    Shape x = specs.get(0).shape();
    Shape y = specs.get(1).shape();
    int channels = x.dim(3);
    int filters = y.dim(3);
    Result dw = Result.of(op.forward().taps().count() * channels * filters);
    Result dbias = Result.of(filters);
    taps(
        op.forward(),
        x,
        y,
        (p, t, q) -> {
          for (int c = 0; c < channels; c++) {
            for (int k = 0; k < filters; k++) {
              dw.add(
                  (t * channels + c) * filters + k,
                  in.get(0)[q * channels + c] * in.get(1)[p * filters + k]);
            }
          }
        });
    for (int i = 0; i < y.elements(); i++) {
      dbias.add(i % filters, in.get(1)[i]);
    }
    return op.bias() ? List.of(dw, dbias) : List.of(dw);
  }

  private static double sigmoid(double x) {
    return 1 / (1 + Math.exp(-x));
  }

  /** Where in x the a of output element i is: in the first half of its group's block. */
  private static int gateInput(int i, int width) {
    return i / width * 2 * width + i % width;
  }

  private static List<Result> gate(Gate op, List<TensorSpec> specs, List<double[]> in) {
    int width = specs.getFirst().shape().dim(-1) / 2 / op.groups();
    Result y = Result.of(in.getFirst().length / 2);
    for (int i = 0; i < y.value.length; i++) {
      double a = in.getFirst()[gateInput(i, width)];
      double b = in.getFirst()[gateInput(i, width) + width];
      double f = op.kind() == Gate.Kind.LINEAR ? a : Math.tanh(a);
      // a sigmoid is 0.5 + 0.5 tanh(x/2), two terms that may cancel
      y.set(i, f * sigmoid(b), Math.abs(f) * (0.5 + 0.5 * Math.abs(Math.tanh(b / 2))));
      if (in.size() > 1) {
        y.add(i, in.get(1)[i]);
      }
    }
    return List.of(y);
  }

  private static List<Result> convUnit(Conv2dUnit op, List<TensorSpec> specs, List<double[]> in) {
    TensorSpec spec = op.conv().check(op.convInputs(specs)).getFirst();
    Result sums = conv(op.conv(), op.convInputs(specs), op.convInputs(in)).getFirst();
    Result y = run(op.unit(), op.unitInputs(spec, specs), op.unitInputs(sums.value, in)).getFirst();
    int channels = spec.shape().dim(-1);
    // what a sum is off by goes through the unit
    for (int i = 0; i < y.value.length; i++) {
      switch (op.unit()) {
        case Gate gate -> {
          int width = channels / 2 / gate.groups();
          int a = gateInput(i, width);
          int b = a + width;
          double s = sigmoid(sums.value[b]);
          boolean linear = gate.kind() == Gate.Kind.LINEAR;
          double f = linear ? sums.value[a] : Math.tanh(sums.value[a]);
          double slope = linear ? 1 : 1 - f * f;
          y.magnitude[i] +=
              s * slope * sums.magnitude[a] + Math.abs(f) * s * (1 - s) * sums.magnitude[b];
        }
        case ConcatElu elu ->
            y.magnitude[i] += sums.magnitude[i / (2 * channels) * channels + i % channels];
        default -> y.magnitude[i] += sums.magnitude[i];
      }
    }
    return op.keepsSums() ? List.of(y, sums) : List.of(y);
  }

  private static List<Result> gateBackward(
      GateBackward op, List<TensorSpec> specs, List<double[]> in) {
    int width = specs.getFirst().shape().dim(-1) / 2 / op.groups();
    double[] dy = in.get(1);
    Result dx = Result.of(2 * dy.length);
    for (int i = 0; i < dy.length; i++) {
      int at = gateInput(i, width);
      double a = in.getFirst()[at];
      double s = sigmoid(in.getFirst()[at + width]);
      boolean linear = op.kind() == Gate.Kind.LINEAR;
      double f = linear ? a : Math.tanh(a);
      double slope = linear ? 1 : 1 - f * f;
      // 1 - f * f and 1 - s cancel, as do the two halves of s: what is wrong is wrong as of a 1
      dx.set(at, dy[i] * s * slope, Math.abs(dy[i]));
      dx.set(at + width, dy[i] * f * s * (1 - s), Math.abs(dy[i]) * (linear ? Math.abs(a) : 1));
    }
    return List.of(dx);
  }

  private static List<Result> add(Add op, List<TensorSpec> specs, List<double[]> in) {
    Result y = Result.of(in.get(0).length);
    for (int i = 0; i < y.value.length; i++) {
      y.add(i, in.get(0)[i]);
      y.add(i, in.get(1)[i]);
    }
    return List.of(y);
  }

  private static double elu(double x) {
    return x > 0 ? x : Math.expm1(x);
  }

  private static double eluSlope(double x) {
    return x > 0 ? 1 : Math.exp(x);
  }

  private static List<Result> eluBackward(
      EluBackward op, List<TensorSpec> specs, List<double[]> in) {
    return map(in.get(0).length, i -> in.get(1)[i] * (in.get(0)[i] > 0 ? 1 : in.get(0)[i] + 1));
  }

  private static List<Result> concatElu(ConcatElu op, List<TensorSpec> specs, List<double[]> in) {
    int channels = specs.get(0).shape().dim(-1);
    return map(
        2 * in.get(0).length,
        i -> {
          double x = in.get(0)[i / (2 * channels) * channels + i % channels];
          return elu(i / channels % 2 == 0 ? x : -x);
        });
  }

  private static List<Result> concatEluBackward(
      ConcatEluBackward op, List<TensorSpec> specs, List<double[]> in) {
    int channels = specs.get(0).shape().dim(-1);
    Result dx = Result.of(in.get(0).length);
    for (int i = 0; i < dx.value.length; i++) {
      double x = in.get(0)[i];
      double dy1 = in.get(1)[i / channels * 2 * channels + i % channels];
      double dy2 = in.get(1)[(i / channels * 2 + 1) * channels + i % channels];
      // a device may get exp(x) as 1 + elu(x): an absolute error, as of a 1
      dx.set(i, dy1 * eluSlope(x) - dy2 * eluSlope(-x), Math.abs(dy1) + Math.abs(dy2));
    }
    return List.of(dx);
  }

  private static List<Result> dropout(Dropout op, List<TensorSpec> specs, List<double[]> in) {
    Philox philox = new Philox(op.seed());
    int[] words = new int[4];
    double share = Math.round(op.rate() * 256) / 256.0;
    return map(
        in.get(0).length,
        i -> {
          philox.words(
              i / 16, (int) in.get(1)[0], op.site(), Philox.Stream.DROPOUT.ordinal(), words);
          int drawn = words[i / 4 % 4] >>> (8 * (i % 4)) & 0xFF;
          return drawn / 256.0 >= share ? in.get(0)[i] / (1 - share) : 0;
        });
  }

  private static List<Result> addBias(AddBias op, List<TensorSpec> specs, List<double[]> in) {
    int channels = specs.get(0).shape().dim(-1);
    int image = in.get(0).length / specs.get(0).shape().dim(0);
    Result y = Result.of(in.get(0).length);
    for (int i = 0; i < y.value.length; i++) {
      int label = in.size() > 2 ? (int) in.get(2)[i / image] : 0;
      y.add(i, in.get(0)[i]);
      y.add(i, in.get(1)[label * channels + i % channels]);
    }
    return List.of(y);
  }

  private static List<Result> addBiasBackward(
      AddBiasBackward op, List<TensorSpec> specs, List<double[]> in) {
    int channels = specs.get(0).shape().dim(-1);
    int image = in.get(0).length / specs.get(0).shape().dim(0);
    Result dtable = Result.of(op.rows() * channels);
    for (int i = 0; i < in.get(0).length; i++) {
      int label = in.size() > 1 ? (int) in.get(1)[i / image] : 0;
      dtable.add(label * channels + i % channels, in.get(0)[i]);
    }
    return List.of(dtable);
  }

  /** Which element of g belongs to element i of the weights. */
  private static int scaleOf(int axis, Shape v, int i) {
    return axis == 2 ? i % v.dim(2) : i / v.dim(2) % v.dim(1);
  }

  /** The sums of a * b, and of the products' sizes, over all axes but one. */
  private static Result sums(int axis, Shape v, double[] a, double[] b) {
    Result sums = Result.of(v.dim(axis));
    for (int i = 0; i < a.length; i++) {
      sums.add(scaleOf(axis, v, i), a[i] * b[i]);
    }
    return sums;
  }

  private static List<Result> weightNorm(WeightNorm op, List<TensorSpec> specs, List<double[]> in) {
    Shape shape = specs.get(0).shape();
    double[] v = in.get(0);
    Result squares = sums(op.axis(), shape, v, v);
    return map(
        v.length,
        i -> {
          int k = scaleOf(op.axis(), shape, i);
          return in.get(1)[k] * v[i] / Math.sqrt(Math.max(squares.value[k], 1e-12));
        });
  }

  private static List<Result> weightNormBackward(
      WeightNormBackward op, List<TensorSpec> specs, List<double[]> in) {
    Shape shape = specs.get(0).shape();
    double[] v = in.get(0);
    Result squares = sums(op.axis(), shape, v, v);
    Result dots = sums(op.axis(), shape, in.get(2), v);
    Result dv = Result.of(v.length);
    Result dg = Result.of(squares.value.length);
    for (int i = 0; i < v.length; i++) {
      int k = scaleOf(op.axis(), shape, i);
      double norm = Math.sqrt(Math.max(squares.value[k], 1e-12));
      double unit = squares.value[k] > 1e-12 ? v[i] / norm : 0;
      double scale = in.get(1)[k] / norm;
      dv.set(
          i,
          scale * (in.get(2)[i] - unit * dots.value[k] / norm),
          Math.abs(scale) * (Math.abs(in.get(2)[i]) + Math.abs(unit) * dots.magnitude[k] / norm));
      dg.set(k, dots.value[k] / norm, dots.magnitude[k] / norm);
    }
    return List.of(dv, dg);
  }

  private static List<Result> maskChannels(
      MaskChannels op, List<TensorSpec> specs, List<double[]> in) {
    Shape w = specs.get(0).shape();
    int channels = w.dim(1) - op.free();
    return map(
        w.elements(),
        i -> {
          int c = i / w.dim(2) % w.dim(1);
          int from = c * op.colours() / channels;
          int to = i % w.dim(2) * op.colours() / w.dim(2);
          boolean reaches = op.strict() ? from < to : from <= to;
          boolean elsewhere = i / w.dim(2) / w.dim(1) != op.centre() || c >= channels;
          return elsewhere || reaches ? in.get(0)[i] : 0;
        });
  }

  private static double softplus(double x) {
    return Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
  }

  /**
   * What one mixture component gives one colour of one pixel: a value with the sum of the sizes of
   * its terms, and its slopes likewise.
   */
  record Bin(
      double value,
      double size,
      double byMean,
      double byMeanSize,
      double byScale,
      double byScaleSize) {}

  /**
   * The logarithm of a logistic's mass in a bin, by the three terms that the op's page gives.
   *
   * @param meanSize the sum of the sizes of the mean's terms
   */
  static Bin bin(int levels, int level, double mean, double meanSize, double logScale) {
    double s = Math.max(logScale, -7);
    double inverse = Math.exp(-s);
    double half = 1.0 / (levels - 1);
    double x = 2.0 * level / (levels - 1) - 1;
    double a = inverse * (x + half - mean);
    double b = inverse * (x - half - mean);
    double width = 2 * half * inverse;
    // an error of the scale, through exp, is one of |s| ulps; x is a difference of terms up to 2
    double argument = inverse * (3 + half + meanSize) * (1 + Math.abs(s));
    double value = 0;
    double size = 2;
    double byMean = 0;
    double byMeanSize = 0;
    double byScale = 0;
    double byScaleSize = 0;
    if (level < levels - 1) {
      double slope = sigmoid(-a);
      double curve = slope * sigmoid(a);
      value -= softplus(-a);
      size += softplus(-a) + slope * argument;
      byMean -= inverse * slope;
      byMeanSize += inverse * (slope * (2 + Math.abs(s)) + curve * argument);
      byScale -= a * slope;
      byScaleSize += Math.abs(a) * (slope + curve * argument) + slope * argument;
    }
    if (level > 0) {
      double slope = sigmoid(b);
      double curve = slope * sigmoid(-b);
      value -= softplus(b);
      size += softplus(b) + slope * argument;
      byMean += inverse * slope;
      byMeanSize += inverse * (slope * (2 + Math.abs(s)) + curve * argument);
      byScale += b * slope;
      byScaleSize += Math.abs(b) * (slope + curve * argument) + slope * argument;
    }
    if (level > 0 && level < levels - 1) {
      double inside = Math.log(-Math.expm1(-width));
      value += inside;
      size += Math.abs(inside) + 2 + Math.abs(s);
      byScale -= width / Math.expm1(width);
      byScaleSize += (2 + Math.abs(s)) * width / Math.expm1(width) * (1 + width);
    }
    if (logScale < -7) {
      byScale = 0;
      byScaleSize = 0;
    }
    return new Bin(value, size, byMean, byMeanSize, byScale, byScaleSize);
  }

  /** One pixel under a mixture. */
  private static final class MixturePixel {
    final int mixtures;
    final int colours;
    final double[] x;
    final double[][] tanh;
    final Bin[][] bins;
    final double[] prior;
    final double[] posterior;
    final double[] logitValues;
    final double[] totalSizes;
    double value;
    double priorSize;
    double posteriorSize;

    MixturePixel(int mixtures, int levels, int colours, int pixel, List<double[]> in) {
      this.mixtures = mixtures;
      this.colours = colours;
      x = new double[colours];
      tanh = new double[colours][mixtures];
      bins = new Bin[colours][mixtures];
      int channels = (colours == 3 ? 10 : 3) * mixtures;
      double[] p = Arrays.copyOfRange(in.get(0), pixel * channels, (pixel + 1) * channels);
      double[] logits = Arrays.copyOf(p, mixtures);
      double[] totals = logits.clone();
      double[] sizes = new double[mixtures];
      for (int c = 0; c < colours; c++) {
        int level = (int) in.get(1)[pixel * colours + c];
        x[c] = 2.0 * level / (levels - 1) - 1;
        for (int m = 0; m < mixtures; m++) {
          double mean = p[place(c, 0, m)];
          double size = Math.abs(mean);
          if (colours == 3) {
            tanh[c][m] = Math.tanh(p[place(c, 2, m)]);
          }
          if (c == 1) {
            mean += tanh[0][m] * x[0];
            size += 3;
          } else if (c == 2) {
            mean += tanh[1][m] * x[0] + tanh[2][m] * x[1];
            size += 6;
          }
          bins[c][m] = bin(levels, level, mean, size, p[place(c, 1, m)]);
          totals[m] += bins[c][m].value;
          sizes[m] += bins[c][m].size;
        }
      }
      prior = new double[mixtures];
      posterior = new double[mixtures];
      double all = shares(logits, prior);
      double own = shares(totals, posterior);
      value = all - own;
      // what is wrong with an exponent is wrong by as much with the logarithm of a sum of exp, in
      // the proportion of the shares; exp's and log's own errors are those of a 1
      priorSize = 1 + Math.abs(all);
      posteriorSize = 1 + Math.abs(own);
      for (int m = 0; m < mixtures; m++) {
        priorSize += prior[m] * Math.abs(logits[m]);
        posteriorSize += posterior[m] * (Math.abs(logits[m]) + sizes[m]);
        sizes[m] += Math.abs(logits[m]);
      }
      logitValues = logits;
      totalSizes = sizes;
    }

    /** Where a colour's mean, log-scale or coefficient (part 0, 1, 2) of a component is. */
    int place(int colour, int part, int m) {
      return mixtures * (1 + colour * (colours == 3 ? 3 : 2) + part) + m;
    }

    private static double shares(double[] logs, double[] shares) {
      double max = Arrays.stream(logs).max().orElseThrow();
      double sum = 0;
      for (double v : logs) {
        sum += Math.exp(v - max);
      }
      double total = max + Math.log(sum);
      for (int m = 0; m < logs.length; m++) {
        shares[m] = Math.exp(logs[m] - total);
      }
      return total;
    }
  }

  private static List<Result> logisticMixture(
      LogisticMixture op, List<TensorSpec> specs, List<double[]> in) {
    int colours = specs.get(1).shape().dim(3);
    int pixels = specs.get(1).shape().rows();
    Result mean = Result.of(1);
    Result nats = Result.of(pixels);
    for (int i = 0; i < pixels; i++) {
      MixturePixel pixel = new MixturePixel(op.mixtures(), op.levels(), colours, i, in);
      nats.set(i, pixel.value, pixel.priorSize + pixel.posteriorSize);
      mean.value[0] += nats.value[i] / pixels / colours;
      mean.magnitude[0] += nats.magnitude[i] / pixels / colours;
    }
    return List.of(mean, nats);
  }

  private static List<Result> logisticMixtureBackward(
      LogisticMixtureBackward op, List<TensorSpec> specs, List<double[]> in) {
    int colours = specs.get(1).shape().dim(3);
    int pixels = specs.get(1).shape().rows();
    int channels = specs.get(0).shape().dim(3);
    double scale = in.get(2)[0] / pixels / colours;
    Result d = Result.of(in.get(0).length);
    // a share may be below the least normal number, where a device has fewer bits or none
    Arrays.fill(d.magnitude, 0x1p-126 / 0x1p-24);
    for (int i = 0; i < pixels; i++) {
      MixturePixel pixel = new MixturePixel(op.mixtures(), op.levels(), colours, i, in);
      for (int m = 0; m < op.mixtures(); m++) {
        double share = pixel.posterior[m];
        // shares are exponentials: a relative error of theirs is an absolute one of the exponent
        double shareSize = share * (1 + pixel.totalSizes[m] + pixel.posteriorSize);
        double priorSize = pixel.prior[m] * (1 + Math.abs(pixel.logitValues[m]) + pixel.priorSize);
        int at = i * channels;
        d.grow(at + m, (pixel.prior[m] - share) * scale, (priorSize + shareSize) * Math.abs(scale));
        double[] means = new double[colours];
        double[] meanSizes = new double[colours];
        for (int c = 0; c < colours; c++) {
          Bin bin = pixel.bins[c][m];
          means[c] = -share * bin.byMean * scale;
          meanSizes[c] =
              (share * bin.byMeanSize + shareSize * Math.abs(bin.byMean)) * Math.abs(scale);
          d.grow(at + pixel.place(c, 0, m), means[c], meanSizes[c]);
          d.grow(
              at + pixel.place(c, 1, m),
              -share * bin.byScale * scale,
              (share * bin.byScaleSize + shareSize * Math.abs(bin.byScale)) * Math.abs(scale));
        }
        if (colours == 3) {
          for (int c = 0; c < 3; c++) {
            int target = c == 0 ? 1 : 2;
            double tanh = pixel.tanh[c][m];
            // 1 - tanh^2 cancels, and x is a difference of terms up to 2 and 1
            d.grow(
                at + pixel.place(c, 2, m),
                means[target] * pixel.x[c == 2 ? 1 : 0] * (1 - tanh * tanh),
                3 * meanSizes[target]);
          }
        }
      }
    }
    return List.of(d);
  }

  private static List<Result> normalizePixels(
      NormalizePixels op, List<TensorSpec> specs, List<double[]> in) {
    int channels = specs.get(0).shape().dim(3);
    Result y = Result.of(in.get(0).length / channels * (channels + 1));
    for (int i = 0; i < y.value.length; i++) {
      int c = i % (channels + 1);
      if (c == channels) {
        y.add(i, 1);
      } else {
        y.add(i, in.get(0)[i / (channels + 1) * channels + c] * 2 / (op.levels() - 1));
        y.add(i, -1);
      }
    }
    return List.of(y);
  }

  private static List<Result> crossEntropy(
      SoftmaxCrossEntropy op, List<TensorSpec> specs, List<double[]> in) {
    int classes = op.classesOf(specs.get(0).shape());
    int rows = in.get(0).length / classes;
    Result mean = Result.of(1);
    Result nats = Result.of(rows);
    Result lse = Result.of(rows);
    for (int row = 0; row < rows; row++) {
      double max = Double.NEGATIVE_INFINITY;
      for (int k = 0; k < classes; k++) {
        max = Math.max(max, in.get(0)[row * classes + k]);
      }
      double sum = 0;
      for (int k = 0; k < classes; k++) {
        sum += Math.exp(in.get(0)[row * classes + k] - max);
      }
      double own = in.get(0)[row * classes + (int) in.get(1)[row]];
      double value = max + Math.log(sum);
      // exp's relative error becomes an absolute one in the logarithm, hence the 1
      double magnitude = Math.abs(max) + Math.log(sum) + 1;
      lse.set(row, value, magnitude);
      nats.set(row, value - own, magnitude + Math.abs(own));
      mean.value[0] += (value - own) / rows;
      mean.magnitude[0] += (magnitude + Math.abs(own)) / rows;
    }
    return List.of(mean, nats, lse);
  }

  private static List<Result> crossEntropyBackward(
      SoftmaxCrossEntropyBackward op, List<TensorSpec> specs, List<double[]> in) {
    int classes = op.classesOf(specs.get(0).shape());
    int rows = in.get(0).length / classes;
    Result d = Result.of(rows * classes);
    double scale = in.get(3)[0] / rows;
    for (int i = 0; i < d.value.length; i++) {
      int row = i / classes;
      double logit = in.get(0)[i];
      double lse = in.get(2)[row];
      double p = Math.exp(logit - lse);
      double hot = i % classes == (int) in.get(1)[row] ? 1 : 0;
      double magnitude = p * (1 + Math.abs(logit) + Math.abs(lse)) + hot;
      d.set(i, (p - hot) * scale, magnitude * Math.abs(scale));
    }
    return List.of(d);
  }

  private static List<Result> groupNorm(GroupNorm op, List<TensorSpec> specs, List<double[]> in) {
    Shape shape = specs.get(0).shape();
    int channels = shape.dim(3);
    int pixels = shape.dim(1) * shape.dim(2);
    int width = channels / op.groups();
    Result y = Result.of(shape.elements());
    Result means = Result.of(shape.dim(0) * op.groups());
    Result rstds = Result.of(shape.dim(0) * op.groups());
    double count = (double) pixels * width;
    for (int slice = 0; slice < means.value.length; slice++) {
      int[] at = slice(slice, op.groups(), width, channels, pixels);
      double mean = 0;
      double size = 0;
      for (int i : at) {
        mean += in.get(0)[i] / count;
        size += Math.abs(in.get(0)[i]) / count;
      }
      double variance = 0;
      for (int i : at) {
        variance += (in.get(0)[i] - mean) * (in.get(0)[i] - mean) / count;
      }
      double rstd = 1 / Math.sqrt(variance + op.epsilon());
      means.set(slice, mean, size);
      // the relative error of the variance is that of its terms, (|x| + mean|x|) * rstd each
      rstds.set(slice, rstd, rstd * (1 + size * rstd));
      for (int i : at) {
        Modulated m = new Modulated(in, 3, i, pixels, channels);
        double gamma = in.get(1)[i % channels];
        double beta = in.get(2)[i % channels];
        double terms = (Math.abs(in.get(0)[i]) + size) * rstd * Math.abs(gamma);
        double v = ((in.get(0)[i] - mean) * rstd * gamma + beta) * (1 + m.scale) + m.shift;
        double vSize =
            (terms * (1 + size * rstd) + Math.abs(beta)) * (1 + Math.abs(m.scale))
                + Math.abs(m.shift);
        // the slope of v sigmoid(v) is at most 1.1
        y.set(i, op.silu() ? v * sigmoid(v) : v, op.silu() ? 1.1 * vSize + Math.abs(v) : vSize);
      }
    }
    return List.of(y, means, rstds);
  }

  /** The scale and shift of element i's channel and image, zeros where there is no such input. */
  private record Modulated(double scale, double shift) {
    Modulated(List<double[]> in, int input, int i, int pixels, int channels) {
      this(at(in, input, i, pixels, channels, 0), at(in, input, i, pixels, channels, channels));
    }

    private static double at(
        List<double[]> in, int input, int i, int pixels, int channels, int offset) {
      int image = i / channels / pixels;
      return in.size() > input ? in.get(input)[image * 2 * channels + offset + i % channels] : 0;
    }
  }

  /** Indices of the elements of one (image, group). */
  private static int[] slice(int slice, int groups, int width, int channels, int pixels) {
    int[] at = new int[pixels * width];
    for (int p = 0; p < pixels; p++) {
      for (int c = 0; c < width; c++) {
        at[p * width + c] = (slice / groups * pixels + p) * channels + slice % groups * width + c;
      }
    }
    return at;
  }

  private static List<Result> groupNormBackward(
      GroupNormBackward op, List<TensorSpec> specs, List<double[]> in) {
    Shape shape = specs.get(0).shape();
    int groups = op.forward().groups();
    int channels = shape.dim(3);
    int pixels = shape.dim(1) * shape.dim(2);
    int width = channels / groups;
    double count = (double) pixels * width;
    Result dx = Result.of(shape.elements());
    Result dgamma = Result.of(channels);
    Result dbeta = Result.of(channels);
    Result modulation = Result.of(in.size() > 6 ? in.get(6).length : 0);
    for (int slice = 0; slice < shape.dim(0) * groups; slice++) {
      int[] at = slice(slice, groups, width, channels, pixels);
      double mean = in.get(3)[slice];
      double rstd = in.get(4)[slice];
      double[] slopes = new double[at.length];
      double[] slopeSizes = new double[at.length];
      double sum = 0;
      double dot = 0;
      double sumSize = 0;
      double dotSize = 0;
      for (int k = 0; k < at.length; k++) {
        int i = at[k];
        int c = i % channels;
        double gamma = in.get(1)[c];
        double beta = in.get(2)[c];
        Modulated m = new Modulated(in, 6, i, pixels, channels);
        double scale = 1 + m.scale;
        double scaleSize = 1 + Math.abs(m.scale);
        double z = (in.get(0)[i] - mean) * rstd;
        double size = (Math.abs(in.get(0)[i]) + Math.abs(mean)) * rstd;
        double u = z * gamma + beta;
        double uSize = size * Math.abs(gamma) + Math.abs(beta);
        double v = u * scale + m.shift;
        double dy = in.get(5)[i];
        double dv = op.forward().silu() ? dy * siluSlope(v) : dy;
        double dvSize =
            op.forward().silu()
                // the slope's own slope is at most 0.5
                ? Math.abs(dy) * (1.2 + Math.abs(v) + uSize * scaleSize + Math.abs(m.shift))
                : Math.abs(dy);
        dgamma.grow(c, dv * scale * z, dvSize * scaleSize * size);
        dbeta.grow(c, dv * scale, dvSize * scaleSize);
        if (modulation.value.length > 0) {
          int place = i / channels / pixels * 2 * channels + c;
          modulation.grow(place, dv * u, dvSize * uSize);
          modulation.grow(place + channels, dv, dvSize);
        }
        slopes[k] = dv * scale * gamma;
        slopeSizes[k] = dvSize * scaleSize * Math.abs(gamma);
        sum += slopes[k];
        sumSize += slopeSizes[k];
        dot += slopes[k] * z;
        dotSize += slopeSizes[k] * size;
      }
      for (int k = 0; k < at.length; k++) {
        double z = (in.get(0)[at[k]] - mean) * rstd;
        double size = (Math.abs(in.get(0)[at[k]]) + Math.abs(mean)) * rstd;
        dx.set(
            at[k],
            rstd * (slopes[k] - sum / count - z * dot / count),
            rstd * (slopeSizes[k] + sumSize / count + size * dotSize / count));
      }
    }
    return modulation.value.length > 0
        ? List.of(dx, dgamma, dbeta, modulation)
        : List.of(dx, dgamma, dbeta);
  }

  private static double siluSlope(double v) {
    double g = sigmoid(v);
    return g * (1 + v * (1 - g));
  }

  /** A sigmoid is half of 1 and a tanh: its terms do not vanish where it does. */
  private static List<Result> silu(Silu op, List<TensorSpec> specs, List<double[]> in) {
    Result y = Result.of(in.get(0).length);
    for (int i = 0; i < y.value.length; i++) {
      y.set(i, in.get(0)[i] * sigmoid(in.get(0)[i]), Math.abs(in.get(0)[i]));
    }
    return List.of(y);
  }

  private static List<Result> siluBackward(
      SiluBackward op, List<TensorSpec> specs, List<double[]> in) {
    Result dx = Result.of(in.get(0).length);
    for (int i = 0; i < dx.value.length; i++) {
      double x = in.get(0)[i];
      double dy = in.get(1)[i];
      dx.set(i, dy * siluSlope(x), Math.abs(dy) * (1 + Math.abs(x)));
    }
    return List.of(dx);
  }

  /** Visits each pair of a tap of the large image's weights and one of the small image's. */
  private static void forTaps(IntBinaryOperator visit) {
    for (int large = 0; large < 9; large++) {
      for (int pixel = 0; pixel < 4; pixel++) {
        // row and column of a pixel of the large image, and of the one that the tap reads
        int row = pixel / 2 + large / 3 - 1;
        int column = pixel % 2 + large % 3 - 1;
        int dy = pixel / 2 - 2 * Math.floorDiv(row, 2);
        int dx = pixel % 2 - 2 * Math.floorDiv(column, 2);
        visit.applyAsInt(large, (dy + 1) * 4 + dx + 1);
      }
    }
  }

  private static List<Result> foldUpsampling(
      FoldUpsampling op, List<TensorSpec> specs, List<double[]> in) {
    int channels = specs.get(0).shape().dim(1);
    int filters = specs.get(0).shape().dim(2);
    Result y = Result.of(16 * channels * filters);
    forTaps((large, small) -> {
      for (int c = 0; c < channels; c++) {
        for (int k = 0; k < filters; k++) {
          y.add(
              (small * filters + k) * channels + c,
              in.get(0)[(large * channels + c) * filters + k]);
        }
      }
      return 0;
    });
    return List.of(y);
  }

  private static List<Result> foldUpsamplingBackward(
      FoldUpsamplingBackward op, List<TensorSpec> specs, List<double[]> in) {
    int filters = specs.get(0).shape().dim(1);
    int channels = specs.get(0).shape().dim(2);
    Result dw = Result.of(9 * channels * filters);
    forTaps((large, small) -> {
      for (int c = 0; c < channels; c++) {
        for (int k = 0; k < filters; k++) {
          dw.add(
              (large * channels + c) * filters + k,
              in.get(0)[(small * filters + k) * channels + c]);
        }
      }
      return 0;
    });
    return List.of(dw);
  }

  private static List<Result> diffusionTimes(
      DiffusionTimes op, List<TensorSpec> specs, List<double[]> in) {
    Philox philox = new Philox(op.seed());
    Result coefficients = Result.of(op.images() * Diffuse.COEFFICIENTS);
    Result times = Result.of(op.images());
    Result weights = Result.of(op.images());
    for (int n = 0; n < op.images(); n++) {
      int row =
          philox.below(
              specs.get(0).shape().dim(0), Philox.Stream.TIMES, (int) in.get(1)[0], op.first() + n);
      for (int i = 0; i < Diffuse.COEFFICIENTS; i++) {
        coefficients.add(n * Diffuse.COEFFICIENTS + i, in.get(0)[row * DiffusionTimes.COLUMNS + i]);
      }
      times.add(n, in.get(0)[row * DiffusionTimes.COLUMNS + 4]);
      weights.add(n, in.get(0)[row * DiffusionTimes.COLUMNS + 5]);
    }
    return List.of(coefficients, times, weights);
  }

  private static List<Result> diffuse(Diffuse op, List<TensorSpec> specs, List<double[]> in) {
    int image = in.get(0).length / specs.get(0).shape().dim(0);
    Philox philox = new Philox(op.seed());
    Result x = Result.of(in.get(0).length);
    Result target = Result.of(in.get(0).length);
    for (int i = 0; i < in.get(0).length; i++) {
      int c = i / image * Diffuse.COEFFICIENTS;
      boolean points = specs.getFirst().dtype() == DType.F32;
      double pixel = points ? in.get(0)[i] : in.get(0)[i] / 127.5 - 1;
      double noise =
          philox.normal(Philox.Stream.NOISE, (int) in.get(2)[0], (long) op.first() * image + i);
      // in f32 a pixel is off by what 1 and 2 are, and noise by its angle's rounding
      double size = 2 + Math.abs(pixel);
      double noiseSize = 7 + Math.abs(noise);
      for (int k = 0; k < 2; k++) {
        double a = in.get(1)[c + 2 * k];
        double b = in.get(1)[c + 2 * k + 1];
        (k == 0 ? x : target)
            .set(i, a * pixel + b * noise, Math.abs(a) * size + Math.abs(b) * noiseSize);
      }
    }
    return List.of(x, target);
  }

  private static List<Result> squaredError(
      SquaredError op, List<TensorSpec> specs, List<double[]> in) {
    int images = specs.get(0).shape().dim(0);
    int each = in.get(0).length / images;
    Result mean = Result.of(1);
    Result errors = Result.of(images);
    for (int i = 0; i < in.get(0).length; i++) {
      double p = in.get(0)[i];
      double t = in.get(1)[i];
      double size = Math.abs(p) + Math.abs(t);
      double error = (p - t) * (p - t) / each;
      double errorSize = 2 * size * Math.abs(p - t) / each + error;
      double weight = in.get(2)[i / each] / images;
      errors.grow(i / each, error, errorSize);
      mean.grow(0, weight * error, Math.abs(weight) * errorSize);
    }
    return List.of(mean, errors);
  }

  private static List<Result> squaredErrorBackward(
      SquaredErrorBackward op, List<TensorSpec> specs, List<double[]> in) {
    int images = specs.get(0).shape().dim(0);
    int each = in.get(0).length / images;
    Result d = Result.of(in.get(0).length);
    for (int i = 0; i < d.value.length; i++) {
      double scale = 2 * in.get(2)[i / each] * in.get(3)[0] / in.get(0).length;
      double p = in.get(0)[i];
      double t = in.get(1)[i];
      d.set(i, scale * (p - t), Math.abs(scale) * (Math.abs(p) + Math.abs(t)));
    }
    return List.of(d);
  }

  private static List<Result> sinusoidalEmbedding(
      SinusoidalEmbedding op, List<TensorSpec> specs, List<double[]> in) {
    int half = op.channels() / 2;
    return map(
        in.get(0).length * op.channels(),
        i -> {
          int c = i % op.channels();
          double period = Math.pow(op.maxPeriod(), (double) (c % half) / (half - op.shift()));
          double angle = in.get(0)[i / op.channels()] / period;
          return op.cosineFirst() == c < half ? Math.cos(angle) : Math.sin(angle);
        });
  }

  private static List<Result> denoiseStep(
      DenoiseStep op, List<TensorSpec> specs, List<double[]> in) {
    int n = in.get(0).length;
    int images = specs.get(0).shape().dim(0);
    int image = n / images;
    int channels = specs.get(0).shape().dim(3);
    int wide = op.learnedVariance() ? 2 * channels : channels; // of the prediction
    double[] state = in.get(4);
    int step = (int) state[3];
    Philox philox = new Philox((long) state[1] << 32 | (long) state[0] & 0xFFFFFFFFL);
    int all = op.guided() ? 2 * n : n;
    Result input = Result.of(all);
    Result times = Result.of(all / image);
    Result x = Result.of(n);
    Result previous = Result.of(n);
    Result next = Result.of(4);
    for (int i = 0; i < 4; i++) {
      double value = i == 3 ? step + 1 : state[i];
      next.set(i, value, Math.abs(value));
    }
    int columns = DenoiseStep.COLUMNS;
    double[] row = Arrays.copyOfRange(in.get(3), step * columns, (step + 1) * columns);
    for (int i = 0; i < n; i++) {
      double f = in.get(2)[i / channels * wide + i % channels];
      double fSize = Math.abs(f);
      if (op.guided()) {
        double plain = in.get(2)[n / channels * wide + i / channels * wide + i % channels];
        fSize = Math.abs(plain) + Math.abs(op.guidance()) * (fSize + Math.abs(plain));
        f = plain + op.guidance() * (f - plain);
      }
      previous.set(
          i,
          row[0] * in.get(0)[i] + (row[1] == 0 ? 0 : row[1] * f),
          Math.abs(row[0] * in.get(0)[i]) + Math.abs(row[1]) * fSize);
    }
    for (int k = 0; k < images; k++) {
      keepInRange(op.thresholding(), previous, k * image, image);
    }
    for (int i = 0; i < n; i++) {
      if (in.size() == 7 && in.get(6)[i / channels] != 0) {
        double known = in.get(5)[i] / 127.5 - 1;
        previous.set(i, known, Math.abs(known));
      }
      double d = previous.value[i];
      double s = 1;
      double exponent = 0;
      if (op.learnedVariance() && row[1] != 0) {
        double w = (in.get(2)[i / channels * wide + channels + i % channels] + 1) / 2;
        s = Math.exp((w * row[9] + (1 - w) * row[8]) / 2);
        exponent = (Math.abs(w * row[9]) + Math.abs((1 - w) * row[8])) / 2;
      }
      double noise =
          philox.normal(
              Philox.Stream.SAMPLER, (int) state[2] + i / image, (long) step * image + i % image);
      double v = row[2] * in.get(0)[i] + row[3] * d + row[4] * in.get(1)[i] + row[5] * s * noise;
      double size =
          Math.abs(row[2] * in.get(0)[i])
              + Math.abs(row[3]) * (previous.magnitude[i] + Math.abs(d))
              + Math.abs(row[4] * in.get(1)[i])
              + Math.abs(row[5]) * s * (1 + exponent) * (7 + Math.abs(noise));
      x.set(i, v, size);
      for (int k = i; k < all; k += n) {
        input.set(k, row[6] * v, Math.abs(row[6]) * size);
      }
      for (int k = i / image; k < all / image; k += images) {
        times.set(k, row[7], Math.abs(row[7]));
      }
    }
    return List.of(input, times, x, previous, next);
  }

  /** Clips some denoised elements, to 1 or to their 99.5th percentile. */
  private static void keepInRange(
      DenoiseStep.Thresholding thresholding, Result denoised, int from, int count) {
    double s = 1;
    double rounded = 0; // s is off by its rounding to f32, and D in proportion
    switch (thresholding) {
      case NONE -> {
        return;
      }
      case STATIC -> {}
      case DYNAMIC -> {
        double[] sizes = new double[count];
        Arrays.setAll(sizes, i -> (float) Math.abs(denoised.value[from + i]));
        Arrays.sort(sizes);
        s = Math.max(1, sizes[(int) Math.ceil(995.0 * count / 1000) - 1]);
        rounded = 1;
      }
    }
    for (int i = from; i < from + count; i++) {
      double clipped = Math.max(-s, Math.min(s, denoised.value[i]));
      denoised.set(i, clipped / s, (denoised.magnitude[i] + rounded * Math.abs(clipped)) / s);
    }
  }

  /** An element's term of a variational bound, and its derivative by the log-variance. */
  private static final class BoundElement {
    final double value;
    final double slope;
    final double slopeSize;

    BoundElement(List<TensorSpec> specs, List<double[]> in, int i) {
      int image = in.get(0).length / specs.get(0).shape().dim(0);
      int t = (int) in.get(3)[i / image];
      int columns = VariationalBound.COLUMNS;
      double[] row = Arrays.copyOfRange(in.get(4), (t - 1) * columns, t * columns);
      double denoised = row[0] * in.get(1)[i] + row[1] * in.get(0)[i];
      double pixel = in.get(2)[i] / 127.5 - 1;
      double distance = pixel - Math.max(-1, Math.min(1, denoised));
      double w = in.size() > 5 ? (in.get(5)[i] + 1) / 2 : 1;
      double log = in.size() > 5 ? w * row[5] + (1 - w) * row[4] : row[5];
      if (row[6] != 0) {
        double deviation = Math.exp(log / 2);
        double a = (Math.abs(distance) - 1 / 255.0) / deviation;
        boolean open = in.get(2)[i] == 0 || in.get(2)[i] == 255;
        double b = open ? Double.POSITIVE_INFINITY : (Math.abs(distance) + 1 / 255.0) / deviation;
        double byA; // a times the density there, over the mass
        double byB;
        if (a > 0) {
          double mass = mass(a, b - a); // over the density at a
          value = a * a / 2 + Math.log(2 * Math.PI) / 2 - Math.log(mass);
          byA = a / mass;
          byB = open ? 0 : b * Math.exp((a - b) * (a + b) / 2) / mass;
        } else {
          double infinity = Double.POSITIVE_INFINITY;
          double outside =
              density(a) * mass(-a, infinity) + (open ? 0 : density(b) * mass(b, infinity));
          double inside = density(0) * (mass(0, -a) + mass(0, b));
          value = outside < 0.5 ? -Math.log1p(-outside) : -Math.log(inside);
          byA = a * density(a) / inside;
          byB = open ? 0 : b * density(b) / inside;
        }
        slope = (byB - byA) / 2;
        slopeSize = (Math.abs(byB) + Math.abs(byA)) / 2;
        return;
      }
      double ratio = Math.expm1(row[3] - log);
      double square = Math.pow(row[2] * distance, 2) / Math.exp(log);
      value = (log - row[3] + ratio + square) / 2;
      slope = (-ratio - square) / 2;
      slopeSize = (Math.abs(ratio) + square) / 2;
    }

    private static double density(double z) {
      return Math.exp(-z * z / 2) / Math.sqrt(2 * Math.PI);
    }

    /** The mass of a normal distribution from z to z + w, z >= 0, over its density at z. */
    private static double mass(double z, double w) {
      double[] nodes = {0, 0, 0, 0, 0};
      double[] weights = {128.0 / 225, 0, 0, 0, 0};
      for (int k = 0; k < 2; k++) { // Gauss's rule of five points
        int sign = k == 0 ? -1 : 1;
        nodes[2 * k + 1] = Math.sqrt(5 + sign * 2 * Math.sqrt(10.0 / 7)) / 3;
        nodes[2 * k + 2] = -nodes[2 * k + 1];
        weights[2 * k + 1] = (322 - sign * 13 * Math.sqrt(70)) / 900;
        weights[2 * k + 2] = weights[2 * k + 1];
      }
      // beyond it the density is below exp(-50) of that at z
      double end = Math.min(w, 100 / (z + Math.sqrt(z * z + 100)));
      int pieces = 100;
      double half = end / pieces / 2;
      double sum = 0;
      for (int p = 0; p < pieces; p++) {
        for (int k = 0; k < nodes.length; k++) {
          double t = (2 * p + 1 + nodes[k]) * half;
          sum += weights[k] * half * Math.exp(-t * (z + t / 2));
        }
      }
      return sum;
    }
  }

  private static List<Result> variationalBound(
      VariationalBound op, List<TensorSpec> specs, List<double[]> in) {
    int images = specs.get(0).shape().dim(0);
    int image = in.get(0).length / images;
    Result mean = Result.of(1);
    Result terms = Result.of(images);
    for (int i = 0; i < in.get(0).length; i++) {
      double term = new BoundElement(specs, in, i).value / image;
      terms.add(i / image, term);
      mean.add(0, op.scale() * term / images);
    }
    return List.of(mean, terms);
  }

  private static List<Result> variationalBoundBackward(
      VariationalBoundBackward op, List<TensorSpec> specs, List<double[]> in) {
    int image = in.get(0).length / specs.get(0).shape().dim(0);
    Result d = Result.of(in.get(0).length);
    for (int i = 0; i < d.value.length; i++) {
      int at = ((int) in.get(3)[i / image] - 1) * VariationalBound.COLUMNS;
      double spread = (in.get(4)[at + 5] - in.get(4)[at + 4]) / 2;
      double scale = op.scale() * in.get(6)[0] * spread / d.value.length;
      BoundElement element = new BoundElement(specs, in.subList(0, 6), i);
      d.set(i, scale * element.slope, Math.abs(scale) * element.slopeSize);
    }
    return List.of(d);
  }

  private static List<Result> concat(Concat op, List<TensorSpec> specs, List<double[]> in) {
    int a = specs.get(0).shape().dim(-1);
    int b = specs.get(1).shape().dim(-1);
    return map(
        in.get(0).length + in.get(1).length,
        i -> {
          int row = i / (a + b);
          int c = i % (a + b);
          return c < a ? in.get(0)[row * a + c] : in.get(1)[row * b + c - a];
        });
  }

  private static List<Result> split(Split op, List<TensorSpec> specs, List<double[]> in) {
    int a = op.first();
    int b = specs.get(0).shape().dim(-1) - a;
    int rows = in.get(0).length / (a + b);
    return List.of(
        map(rows * a, i -> in.get(0)[i / a * (a + b) + i % a]).getFirst(),
        map(rows * b, i -> in.get(0)[i / b * (a + b) + a + i % b]).getFirst());
  }

  /** The tensors of an attention by image, row, head and channel, and the scores of one head. */
  private static final class Heads {
    final Attention.Sizes sizes;
    final int heads;
    final double scale;
    private final List<double[]> in;

    Heads(Attention op, List<TensorSpec> specs, List<double[]> in) {
      sizes = op.sizes(specs);
      heads = op.heads();
      scale = 1 / Math.sqrt(sizes.d());
      this.in = in;
    }

    /** Where an element of q, k or v (part 0, 1, 2) is: in a tensor of its own or in qkv. */
    int at(int part, int n, int row, int head, int d) {
      int rows = part == 0 ? sizes.l() : sizes.m();
      int channels = heads * sizes.d();
      int place = sizes.fused() ? (n * rows + row) * 3 + part : n * rows + row;
      return place * channels + head * sizes.d() + d;
    }

    /** Where an element of o is. */
    int outputAt(int n, int row, int head, int d) {
      return ((n * sizes.l() + row) * heads + head) * sizes.d() + d;
    }

    double get(int part, int n, int row, int head, int d) {
      return in.get(sizes.fused() ? 0 : part)[at(part, n, row, head, d)];
    }

    /** The scaled score of query i and key j, then the sum of the absolute values of its terms. */
    double[] score(int n, int head, int i, int j) {
      double[] score = new double[2];
      for (int d = 0; d < sizes.d(); d++) {
        double term = get(0, n, i, head, d) * get(1, n, j, head, d) * scale;
        score[0] += term;
        score[1] += Math.abs(term);
      }
      return score;
    }
  }

  /**
   * A weight is w = exp(s - m), relative to the largest score of its row. What s is off by, u times
   * its terms S, is what w is off by as a part of itself, and so is what the difference s - m is
   * rounded by; m changes while keys come, down from its own terms R at most. So a weight's
   * relative error is that of 1 + S + R: exp's own, the score's, and that of the largest. A
   * weight's error is in the sum of weights, too, that all are divided by.
   */
  private static List<Result> attention(Attention op, List<TensorSpec> specs, List<double[]> in) {
    Heads heads = new Heads(op, specs, in);
    Attention.Sizes sizes = heads.sizes;
    List<TensorSpec> outputs = op.check(specs);
    Result o = Result.ofProduct(outputs.get(0).shape().elements(), outputs.get(0).dtype());
    Result lse = Result.of(outputs.get(1).shape().elements());
    double[] weight = new double[sizes.m()];
    double[] size = new double[sizes.m()];
    for (int row = 0; row < lse.value.length; row++) {
      int i = row % sizes.l();
      int head = row / sizes.l() % op.heads();
      int n = row / sizes.l() / op.heads();
      double largest = Double.NEGATIVE_INFINITY;
      double mostTerms = 0;
      for (int j = 0; j < sizes.m(); j++) {
        double[] score = heads.score(n, head, i, j);
        weight[j] = score[0];
        size[j] = score[1];
        largest = Math.max(largest, score[0]);
        mostTerms = Math.max(mostTerms, score[1]);
      }
      double sum = 0;
      for (int j = 0; j < sizes.m(); j++) {
        weight[j] = Math.exp(weight[j] - largest);
        sum += weight[j];
      }
      double all = 0;
      for (int j = 0; j < sizes.m(); j++) {
        weight[j] /= sum;
        size[j] = weight[j] * (1 + size[j] + mostTerms);
        all += size[j];
      }
      lse.set(row, largest + Math.log(sum), Math.abs(largest) + Math.log(sum) + all);
      for (int d = 0; d < sizes.d(); d++) {
        int at = heads.outputAt(n, i, head, d);
        for (int j = 0; j < sizes.m(); j++) {
          o.addProduct(at, weight[j], size[j], heads.get(2, n, j, head, d));
        }
        o.magnitude[at] += Math.abs(o.value[at]) * all;
      }
    }
    return List.of(o, lse);
  }

  /**
   * p = exp(s - lse) is off by 1 + S + |lse| as a part of itself, and, where it is below the least
   * normal number, by that; do v^T and do * o by their terms.
   */
  private static List<Result> attentionBackward(
      AttentionBackward op, List<TensorSpec> specs, List<double[]> in) {
    List<double[]> own = op.forwardInputs(in);
    Heads heads = new Heads(op.forward(), op.forwardInputs(specs), own);
    Attention.Sizes sizes = heads.sizes;
    double[] o = in.get(own.size());
    double[] lse = in.get(own.size() + 1);
    double[] slope = in.get(own.size() + 2);
    List<Result> out = new ArrayList<>();
    for (double[] tensor : own) {
      out.add(Result.ofProduct(tensor.length, specs.getFirst().dtype()));
    }
    Result[] gradients = new Result[3];
    for (int part = 0; part < 3; part++) {
      gradients[part] = out.get(sizes.fused() ? 0 : part);
    }
    for (int row = 0; row < lse.length; row++) {
      int i = row % sizes.l();
      int head = row / sizes.l() % heads.heads;
      int n = row / sizes.l() / heads.heads;
      double delta = 0;
      double deltaSize = 0;
      for (int d = 0; d < sizes.d(); d++) {
        int at = heads.outputAt(n, i, head, d);
        delta += slope[at] * o[at];
        deltaSize += Math.abs(slope[at] * o[at]);
      }
      for (int j = 0; j < sizes.m(); j++) {
        double[] score = heads.score(n, head, i, j);
        double p = Math.exp(score[0] - lse[row]);
        double pSize = p * (1 + score[1] + Math.abs(lse[row])) + 0x1p-126 / 0x1p-24;
        double dp = 0;
        double dpSize = 0;
        for (int d = 0; d < sizes.d(); d++) {
          double term = slope[heads.outputAt(n, i, head, d)] * heads.get(2, n, j, head, d);
          dp += term;
          dpSize += Math.abs(term);
        }
        double ds = p * (dp - delta) * heads.scale;
        double dsSize = (p * (dpSize + deltaSize) + pSize * Math.abs(dp - delta)) * heads.scale;
        for (int d = 0; d < sizes.d(); d++) {
          gradients[0].addProduct(
              heads.at(0, n, i, head, d), ds, dsSize, heads.get(1, n, j, head, d));
          gradients[1].addProduct(
              heads.at(1, n, j, head, d), ds, dsSize, heads.get(0, n, i, head, d));
          gradients[2].addProduct(
              heads.at(2, n, j, head, d), p, pSize, slope[heads.outputAt(n, i, head, d)]);
        }
      }
    }
    return out;
  }

  private static List<Result> shift(Shift op, List<TensorSpec> specs, List<double[]> in) {
    Shape x = specs.get(0).shape();
    return map(
        x.elements(),
        i -> {
          int row = i / (x.dim(3) * x.dim(2)) % x.dim(1) - op.rows();
          int column = i / x.dim(3) % x.dim(2) - op.columns();
          boolean inside = row >= 0 && row < x.dim(1) && column >= 0 && column < x.dim(2);
          return inside ? in.get(0)[i - (op.rows() * x.dim(2) + op.columns()) * x.dim(3)] : 0;
        });
  }

  private static List<Result> squaredNorm(
      SquaredNorm op, List<TensorSpec> specs, List<double[]> in) {
    Result norm = Result.of(1);
    for (double x : in.get(0)) {
      norm.add(0, x * x);
    }
    return List.of(norm);
  }

  private static List<Result> adam(Adam op, List<TensorSpec> specs, List<double[]> in) {
    int n = in.get(0).length;
    double t = in.get(4)[0] + 1;
    List<Result> out = new ArrayList<>();
    for (int i = 0; i < 4; i++) {
      out.add(Result.of(n));
    }
    double clip = op.clipScale(in.get(6)[0]);
    double ema = op.emaDecayAt(t);
    for (int i = 0; i < n; i++) {
      double g = in.get(5)[i] * clip;
      double m = op.beta1() * in.get(1)[i] + (1 - op.beta1()) * g;
      double mSize = op.beta1() * Math.abs(in.get(1)[i]) + (1 - op.beta1()) * Math.abs(g);
      double v = op.beta2() * in.get(2)[i] + (1 - op.beta2()) * g * g;
      double unit =
          op.rate(t)
              / (1 - Math.pow(op.beta1(), t))
              / (Math.sqrt(v / (1 - Math.pow(op.beta2(), t))) + op.epsilon());
      double p = in.get(0)[i] - unit * m;
      double pSize = Math.abs(in.get(0)[i]) + unit * mSize;
      double e = in.get(3)[i];
      out.get(0).set(i, p, pSize);
      out.get(1).set(i, m, mSize);
      out.get(2).set(i, v, v);
      out.get(3).set(i, e + (1 - ema) * (p - e), Math.abs(e) + (1 - ema) * (pSize + Math.abs(e)));
    }
    Result state = Result.of(1);
    state.set(0, t, 0);
    out.add(state);
    return out;
  }
}
