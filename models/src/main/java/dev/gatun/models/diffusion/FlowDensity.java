package dev.gatun.models.diffusion;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Owned;
import dev.gatun.engine.Program;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.Value;
import dev.gatun.engine.op.Conv2d;
import dev.gatun.engine.op.ImportanceBound;
import dev.gatun.engine.op.Reshape;
import dev.gatun.engine.op.Taps;
import dev.gatun.engine.train.Parameters;
import dev.gatun.models.Model;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.IntConsumer;

/**
 * The density of points of a space of a few dimensions under a diffusion model: along the
 * probability flow from a point to noise the logarithm of the density changes by the flow's
 * divergence, which is exact here, a gradient for each dimension. Heun's method, in f64 on the
 * host; the network is computed in f32.
 *
 * @see "Song et al. 2021, Score-Based Generative Modeling through Stochastic Differential
 *     Equations, section 4.3 and appendix D.2"
 */
public final class FlowDensity implements AutoCloseable {
  private static final int BATCH = 500;

  private final int dimensions;
  private final List<NoisePath.Level> levels; // from the least noise to the most
  private final Owned owned = new Owned();
  private final Tensor shown;
  private final Tensor times;
  private final Program program;
  private final Value said;
  private final List<Value> slopes = new ArrayList<>(); // of what is said of each dimension

  /**
   * Prepares the network.
   *
   * @param steps of the flow
   * @throws IllegalArgumentException in one line if the model is not of points
   */
  public FlowDensity(Device device, DenoisingModel model, Parameters weights, int steps) {
    if (model.dataType() != DType.F32) {
      throw new IllegalArgumentException(
          model.name() + " was trained on images: their density by its flow is not computed");
    }
    dimensions = model.imageShape().channels();
    List<NoisePath.Level> path = model.flowPath(steps).levels();
    levels = path.subList(0, path.size() - 1).reversed(); // without that of no noise
    try {
      shown = owned.add(Tensor.allocate(device, DType.F32, BATCH, 1, 1, dimensions));
      times = owned.add(Tensor.allocate(device, DType.F32, BATCH));
      Graph graph = new Graph();
      Value x = graph.bind(shown);
      said =
          model.network(
              graph,
              name -> graph.bind(weights.get(name)),
              x,
              graph.bind(times),
              new Model.Input(null, null, DType.F32, null));
      for (int d = 0; d < dimensions; d++) {
        float[] one = new float[dimensions];
        one[d] = 1;
        Tensor choice = owned.add(Tensor.allocate(device, DType.F32, 1, dimensions, 1));
        choice.write(one);
        Value own = graph.apply(new Conv2d(Taps.point()), said, graph.bind(choice));
        // a point's depends on that point alone: the sum's gradient has that of each
        Value sum =
            graph
                .apply(
                    new ImportanceBound(1, List.of((double) BATCH)),
                    List.of(graph.apply(new Reshape(BATCH), own)))
                .getFirst();
        slopes.add(graph.gradients(sum, List.of(x)).getFirst());
      }
      List<Value> keep = new ArrayList<>(slopes);
      keep.add(said);
      program = owned.add(graph.compile(device, keep.toArray(Value[]::new)));
    } catch (RuntimeException | Error e) {
      owned.close();
      throw e;
    }
  }

  /**
   * Negative log-densities.
   *
   * @param points [count,dimensions]
   * @param progress is told how many are done
   * @return [count] nats
   */
  public double[] nats(float[] points, IntConsumer progress) {
    int count = points.length / dimensions;
    double[] all = new double[count];
    for (int first = 0; first < count; first += BATCH) {
      int here = Math.min(BATCH, count - first);
      double[] y = new double[BATCH * dimensions];
      for (int i = 0; i < here * dimensions; i++) {
        y[i] = points[first * dimensions + i];
      }
      System.arraycopy(flow(y), 0, all, first, here);
      progress.accept(first + here);
    }
    return all;
  }

  /**
   * dy / ds = (y - D) / s with s = sigma / alpha and y = x / alpha: of points, and its divergence.
   */
  private record Slope(double[] y, double[] divergence) {}

  private double[] flow(double[] y) {
    double[] divergences = new double[BATCH];
    Slope slope = slope(levels.getFirst(), y);
    for (int i = 1; i < levels.size(); i++) {
      double step = ratio(levels.get(i)) - ratio(levels.get(i - 1));
      double[] guess = new double[y.length];
      for (int k = 0; k < y.length; k++) {
        guess[k] = y[k] + step * slope.y[k];
      }
      Slope there = slope(levels.get(i), guess);
      for (int k = 0; k < y.length; k++) {
        y[k] += step * (slope.y[k] + there.y[k]) / 2;
      }
      for (int n = 0; n < BATCH; n++) {
        divergences[n] += step * (slope.divergence[n] + there.divergence[n]) / 2;
      }
      slope = i + 1 < levels.size() ? slope(levels.get(i), y) : there;
    }
    double s = ratio(levels.getLast());
    double[] nats = new double[BATCH];
    for (int n = 0; n < BATCH; n++) {
      double square = 0;
      for (int d = 0; d < dimensions; d++) {
        square += y[n * dimensions + d] * y[n * dimensions + d];
      }
      // the data are small beside the last level's noise
      double last = 0.5 * (square / (s * s) + dimensions * Math.log(2 * Math.PI * s * s));
      nats[n] = last - divergences[n];
    }
    return nats;
  }

  private static double ratio(NoisePath.Level level) {
    return level.sigma() / level.alpha();
  }

  private Slope slope(NoisePath.Level level, double[] y) {
    double scale = level.input() * level.alpha();
    double[] input = new double[y.length];
    for (int k = 0; k < y.length; k++) {
      input[k] = scale * y[k];
    }
    double[] time = new double[BATCH];
    Arrays.fill(time, level.time());
    shown.writeDoubles(input);
    times.writeDoubles(time);
    program.run();
    float[] f = program.tensor(said).toFloats();
    double s = ratio(level);
    double[] own = new double[y.length];
    double[] divergence = new double[BATCH];
    for (int d = 0; d < dimensions; d++) {
      float[] gradient = program.tensor(slopes.get(d)).toFloats();
      for (int n = 0; n < BATCH; n++) {
        int k = n * dimensions + d;
        double denoised = level.fromNoisy() * level.alpha() * y[k] + level.fromOutput() * f[k];
        own[k] = (y[k] - denoised) / s;
        double slope = level.fromNoisy() * level.alpha() + level.fromOutput() * scale * gradient[k];
        divergence[n] += (1 - slope) / s;
      }
    }
    return new Slope(own, divergence);
  }

  @Override
  public void close() {
    owned.close();
  }
}
