package dev.gatun.models.pixelcnn;

import dev.gatun.engine.DType;
import dev.gatun.engine.Graph;
import dev.gatun.engine.PixelDistribution;
import dev.gatun.engine.Value;
import dev.gatun.engine.op.SoftmaxCrossEntropy;
import dev.gatun.models.Model.Nats;
import java.util.List;

/**
 * A softmax over the levels of each colour.
 *
 * @param colours drawn one after another
 * @see "van den Oord et al. 2016, Pixel Recurrent Neural Networks, section 3.3"
 */
public record Categorical(int levels, int colours) implements Likelihood {
  private static final int MOST_LEVELS = 256;
  private static final int BLOCK = 16;
  private static final ThreadLocal<float[]> SCRATCH =
      ThreadLocal.withInitial(() -> new float[MOST_LEVELS]);

  @Override
  public PixelDistribution distribution() {
    return new PixelDistribution.Categorical(levels);
  }

  @Override
  public int parameters() {
    return levels * colours;
  }

  @Override
  public int passes() {
    return colours;
  }

  @Override
  public int uniforms() {
    return colours;
  }

  @Override
  public Nats nats(Graph graph, Value logits, Value images, DType gradientType) {
    List<Value> loss =
        graph.apply(new SoftmaxCrossEntropy(levels, gradientType), List.of(logits, images));
    return new Nats(loss.get(0), loss.get(1));
  }

  @Override
  public void draw(
      float[] logits,
      int offset,
      int pass,
      double temperature,
      Uniforms uniforms,
      byte[] pixel,
      int at) {
    pixel[at + pass] = (byte) draw(logits, offset, levels, temperature, uniforms.get(pass));
  }

  /**
   * The smallest k whose cumulative probability exceeds {@code uniform}.
   *
   * @param logits read from {@code offset} on, {@code classes} of them
   */
  static int draw(float[] logits, int offset, int classes, double temperature, double uniform) {
    Likelihood.requireTemperature(temperature);
    float[] p = SCRATCH.get();
    System.arraycopy(logits, offset, p, 0, classes);
    exp(p, max(p, classes), (float) (1 / temperature), classes);
    // by blocks: 256 sums that wait for each other would take longer than all the rest
    double total = 0;
    for (int first = 0; first < classes; first += BLOCK) {
      total += sum(p, first, Math.min(classes, first + BLOCK));
    }
    double left = uniform * total;
    int first = 0;
    for (; first + BLOCK < classes; first += BLOCK) {
      double block = sum(p, first, first + BLOCK);
      if (block > left) {
        break;
      }
      left -= block;
    }
    for (int k = first; k < classes - 1; k++) {
      left -= p[k];
      if (left < 0) {
        return k;
      }
    }
    // sums are rounded: what may be left over is not for a last level that cannot be
    int last = classes - 1;
    while (p[last] == 0) {
      last--;
    }
    return last;
  }

  private static float sum(float[] p, int from, int to) {
    float sum = 0;
    for (int k = from; k < to; k++) {
      sum += p[k];
    }
    return sum;
  }

  /** Four at a time: each would wait for the one before. */
  private static float max(float[] x, int n) {
    float a = Float.NEGATIVE_INFINITY;
    float b = a;
    float c = a;
    float d = a;
    int k = 0;
    for (; k <= n - 4; k += 4) {
      a = Math.max(a, x[k]);
      b = Math.max(b, x[k + 1]);
      c = Math.max(c, x[k + 2]);
      d = Math.max(d, x[k + 3]);
    }
    for (; k < n; k++) {
      a = Math.max(a, x[k]);
    }
    return Math.max(Math.max(a, b), Math.max(c, d));
  }

  /**
   * p = exp((p - max) * scale), arguments not positive: a polynomial gives exp(x / 64), squared six
   * times. Short loops over one array without branches or calls, so that each becomes vector code.
   * The error is below 1e-5 of the likeliest level's, which moves a draw only where the uniform
   * lies that close to an edge. At -128 the last square is 0: what cannot be is never drawn.
   */
  private static void exp(float[] p, float max, float scale, int n) {
    for (int k = 0; k < n; k++) {
      p[k] = Math.max(-128f, (p[k] - max) * scale) * (1f / 64);
    }
    for (int k = 0; k < n; k++) {
      float r = p[k];
      float e = r * (1f / 720) + 1f / 120;
      e = e * r + 1f / 24;
      e = e * r + 1f / 6;
      e = e * r + 0.5f;
      e = e * r + 1f;
      p[k] = e * r + 1f;
    }
    for (int k = 0; k < n; k++) {
      float e = p[k] * p[k];
      e *= e;
      e *= e;
      e *= e;
      e *= e;
      p[k] = e * e;
    }
  }
}
