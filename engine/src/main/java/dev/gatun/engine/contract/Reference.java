package dev.gatun.engine.contract;

import dev.gatun.engine.Op;
import dev.gatun.engine.Shape;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.op.Adam;
import dev.gatun.engine.op.Add;
import dev.gatun.engine.op.Conv2d;
import dev.gatun.engine.op.Conv2dBackwardData;
import dev.gatun.engine.op.Conv2dBackwardWeights;
import dev.gatun.engine.op.Fill;
import dev.gatun.engine.op.Gate;
import dev.gatun.engine.op.GateBackward;
import dev.gatun.engine.op.GroupNorm;
import dev.gatun.engine.op.GroupNormBackward;
import dev.gatun.engine.op.NormalizePixels;
import dev.gatun.engine.op.Relu;
import dev.gatun.engine.op.ReluBackward;
import dev.gatun.engine.op.SelectRow;
import dev.gatun.engine.op.SelectRowBackward;
import dev.gatun.engine.op.ShiftRows;
import dev.gatun.engine.op.SoftmaxCrossEntropy;
import dev.gatun.engine.op.SoftmaxCrossEntropyBackward;
import dev.gatun.engine.op.SquaredNorm;
import dev.gatun.engine.op.Taps;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
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
   */
  public record Result(double[] value, double[] magnitude) {
    static Result of(int n) {
      return new Result(new double[n], new double[n]);
    }

    private void set(int i, double v, double m) {
      value[i] = v;
      magnitude[i] = m;
    }

    private void add(int i, double term) {
      value[i] += term;
      magnitude[i] += Math.abs(term);
    }
  }

  private interface Form<T extends Op> {
    List<Result> run(T op, List<TensorSpec> specs, List<double[]> in);
  }

  private static final Map<Class<? extends Op>, Form<Op>> FORMS = new HashMap<>();

  static {
    register(Conv2d.class, Reference::conv);
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
    register(NormalizePixels.class, Reference::normalizePixels);
    register(SoftmaxCrossEntropy.class, Reference::crossEntropy);
    register(SoftmaxCrossEntropyBackward.class, Reference::crossEntropyBackward);
    register(GroupNorm.class, Reference::groupNorm);
    register(GroupNormBackward.class, Reference::groupNormBackward);
    register(SelectRow.class, Reference::selectRow);
    register(SelectRowBackward.class, Reference::selectRowBackward);
    register(ShiftRows.class, Reference::shiftRows);
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

  private static List<Result> map(int n, IntToDoubleFunction f) {
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

  private static List<Result> conv(Conv2d op, List<TensorSpec> specs, List<double[]> in) {
    Shape x = specs.get(0).shape();
    Shape w = specs.get(1).shape();
    Shape y = op.check(specs).getFirst().shape();
    int channels = w.dim(1);
    int filters = w.dim(2);
    Result out = Result.of(y.elements());
    if (in.size() > 2) {
      for (int i = 0; i < y.elements(); i++) {
        out.add(i, in.get(2)[i % filters]);
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

  /** The sum of x and the addend, where there is one, at index i. */
  private static double sum(List<double[]> in, int addends, int i) {
    return in.get(0)[i] + (addends > 0 ? in.get(1)[i] : 0);
  }

  private static List<Result> gate(Gate op, List<TensorSpec> specs, List<double[]> in) {
    int channels = specs.get(0).shape().dim(-1) / 2;
    Result y = Result.of(specs.get(0).shape().elements() / 2);
    for (int i = 0; i < y.value.length; i++) {
      int at = i / channels * 2 * channels + i % channels;
      double a = sum(in, in.size() - 1, at);
      double b = sum(in, in.size() - 1, at + channels);
      double size =
          in.size() > 1
              ? Math.abs(in.get(0)[at])
                  + Math.abs(in.get(1)[at])
                  + Math.abs(in.get(0)[at + channels])
                  + Math.abs(in.get(1)[at + channels])
              : 0;
      // a sigmoid is 0.5 + 0.5 tanh(x/2), two terms that may cancel; both slopes are at most 1
      double magnitude = Math.abs(Math.tanh(a)) * (0.5 + 0.5 * Math.abs(Math.tanh(b / 2)));
      y.set(i, Math.tanh(a) * sigmoid(b), magnitude + size / 8);
    }
    return List.of(y);
  }

  private static List<Result> gateBackward(
      GateBackward op, List<TensorSpec> specs, List<double[]> in) {
    int channels = specs.getLast().shape().dim(-1);
    double[] dy = in.getLast();
    Result dx = Result.of(2 * dy.length);
    for (int i = 0; i < dy.length; i++) {
      int at = i / channels * 2 * channels + i % channels;
      double t = Math.tanh(sum(in, in.size() - 2, at));
      double s = sigmoid(sum(in, in.size() - 2, at + channels));
      double g = Math.abs(dy[i]);
      // 1 - t*t and 1 - s cancel; the sum's own rounding enters through slopes of at most 1
      double size =
          in.size() > 2
              ? Math.abs(in.get(0)[at])
                  + Math.abs(in.get(1)[at])
                  + Math.abs(in.get(0)[at + channels])
                  + Math.abs(in.get(1)[at + channels])
              : 0;
      dx.set(at, dy[i] * s * (1 - t * t), g * (1 + size / 8));
      dx.set(at + channels, dy[i] * t * s * (1 - s), g * (1 + size / 8));
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
    int classes = specs.get(0).shape().dim(-1);
    int rows = specs.get(0).shape().rows();
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
    int classes = specs.get(0).shape().dim(-1);
    int rows = specs.get(0).shape().rows();
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
        double gamma = in.get(1)[i % channels];
        double beta = in.get(2)[i % channels];
        double terms = (Math.abs(in.get(0)[i]) + size) * rstd * Math.abs(gamma);
        y.set(
            i,
            (in.get(0)[i] - mean) * rstd * gamma + beta,
            terms * (1 + size * rstd) + Math.abs(beta));
      }
    }
    return List.of(y, means, rstds);
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
    for (int slice = 0; slice < shape.dim(0) * groups; slice++) {
      int[] at = slice(slice, groups, width, channels, pixels);
      double mean = in.get(2)[slice];
      double rstd = in.get(3)[slice];
      double sum = 0;
      double dot = 0;
      double sumSize = 0;
      double dotSize = 0;
      for (int i : at) {
        int c = i % channels;
        double dy = in.get(4)[i];
        double normal = (in.get(0)[i] - mean) * rstd;
        double size = (Math.abs(in.get(0)[i]) + Math.abs(mean)) * rstd;
        dgamma.value[c] += dy * normal;
        dgamma.magnitude[c] += Math.abs(dy) * size;
        dbeta.add(c, dy);
        sum += dy * in.get(1)[c];
        sumSize += Math.abs(dy * in.get(1)[c]);
        dot += dy * in.get(1)[c] * normal;
        dotSize += Math.abs(dy * in.get(1)[c]) * size;
      }
      for (int i : at) {
        double scaled = in.get(4)[i] * in.get(1)[i % channels];
        double normal = (in.get(0)[i] - mean) * rstd;
        double size = (Math.abs(in.get(0)[i]) + Math.abs(mean)) * rstd;
        dx.set(
            i,
            rstd * (scaled - sum / count - normal * dot / count),
            rstd * (Math.abs(scaled) + sumSize / count + size * dotSize / count));
      }
    }
    return List.of(dx, dgamma, dbeta);
  }

  private static List<Result> selectRow(SelectRow op, List<TensorSpec> specs, List<double[]> in) {
    Shape x = specs.get(0).shape();
    int row = (int) in.get(1)[0];
    int width = x.dim(2) * x.dim(3);
    return map(x.dim(0) * width, i -> in.get(0)[(i / width * x.dim(1) + row) * width + i % width]);
  }

  private static List<Result> selectRowBackward(
      SelectRowBackward op, List<TensorSpec> specs, List<double[]> in) {
    Shape x = op.xShape();
    int row = (int) in.get(1)[0];
    int width = x.dim(2) * x.dim(3);
    return map(
        x.elements(),
        i -> i / width % x.dim(1) == row ? in.get(0)[i / width / x.dim(1) * width + i % width] : 0);
  }

  private static List<Result> shiftRows(ShiftRows op, List<TensorSpec> specs, List<double[]> in) {
    Shape x = specs.get(0).shape();
    int width = x.dim(2) * x.dim(3);
    return map(
        x.elements(),
        i -> {
          int source = i / width % x.dim(1) - op.rows();
          return source >= 0 && source < x.dim(1) ? in.get(0)[i - op.rows() * width] : 0;
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
