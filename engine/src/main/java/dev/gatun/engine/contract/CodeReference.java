package dev.gatun.engine.contract;

import dev.gatun.engine.Philox;
import dev.gatun.engine.Shape;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.contract.Reference.Result;
import dev.gatun.engine.op.CategoricalKl;
import dev.gatun.engine.op.CategoricalKlBackward;
import dev.gatun.engine.op.CategoricalLogProbability;
import dev.gatun.engine.op.CategoricalSample;
import dev.gatun.engine.op.CodeVectors;
import dev.gatun.engine.op.Codebook;
import dev.gatun.engine.op.CodebookSums;
import dev.gatun.engine.op.GumbelSoftmax;
import dev.gatun.engine.op.GumbelSoftmaxBackward;
import dev.gatun.engine.op.MovingAverage;
import dev.gatun.engine.op.ReverseChannels;
import dev.gatun.engine.op.VectorQuantize;
import java.util.Arrays;
import java.util.List;

/**
 * The references of discrete latent variables. Devices compute these in f64, too: what is left is
 * the rounding of the result.
 */
final class CodeReference {
  private CodeReference() {}

  static List<Result> vectorQuantize(VectorQuantize op, List<TensorSpec> specs, List<double[]> in) {
    int codes = specs.get(1).shape().dim(0);
    int channels = specs.get(1).shape().dim(1);
    double[] z = in.get(0);
    double[] codebook = in.get(1);
    Result quantized = Result.of(z.length);
    Result indices = Result.of(z.length / channels);
    for (int p = 0; p < indices.value().length; p++) {
      double least = Double.POSITIVE_INFINITY;
      int nearest = 0;
      for (int k = 0; k < codes; k++) {
        double distance = 0; // rounded as the op says, so that near ties are decided alike
        for (int c = 0; c < channels; c++) {
          double difference = z[p * channels + c] - codebook[k * channels + c];
          distance += difference * difference;
        }
        if (distance < least) {
          least = distance;
          nearest = k;
        }
      }
      indices.add(p, nearest);
      for (int c = 0; c < channels; c++) {
        quantized.add(p * channels + c, codebook[nearest * channels + c]);
      }
    }
    return List.of(quantized, indices);
  }

  static List<Result> codeVectors(CodeVectors op, List<TensorSpec> specs, List<double[]> in) {
    int channels = specs.get(1).shape().dim(1);
    return Reference.map(
        in.get(0).length * channels,
        i -> in.get(1)[(int) in.get(0)[i / channels] * channels + i % channels]);
  }

  static List<Result> codebookSums(CodebookSums op, List<TensorSpec> specs, List<double[]> in) {
    int channels = specs.get(0).shape().dim(-1);
    Result sums = Result.of(op.codes() * (channels + 1));
    for (int p = 0; p < in.get(1).length; p++) {
      int at = (int) in.get(1)[p] * (channels + 1);
      for (int c = 0; c < channels; c++) {
        sums.add(at + c, in.get(0)[p * channels + c]);
      }
      sums.add(at + channels, 1);
    }
    return List.of(sums);
  }

  static List<Result> movingAverage(MovingAverage op, List<TensorSpec> specs, List<double[]> in) {
    Result state = Result.of(in.get(0).length);
    for (int i = 0; i < in.get(0).length; i++) {
      state.add(i, op.decay() * in.get(0)[i]);
      state.add(i, (1 - op.decay()) * in.get(1)[i]);
    }
    return List.of(state);
  }

  static List<Result> codebook(Codebook op, List<TensorSpec> specs, List<double[]> in) {
    Shape state = specs.getFirst().shape();
    int columns = state.dim(1);
    double[] counts = new double[state.dim(0)];
    Arrays.setAll(counts, k -> in.getFirst()[(k + 1) * columns - 1]);
    double all = Arrays.stream(counts).sum();
    double smoothed = all + counts.length * op.epsilon();
    return Reference.map(
        counts.length * (columns - 1),
        i -> {
          int k = i / (columns - 1);
          double sum = in.getFirst()[k * columns + i % (columns - 1)];
          return sum / ((counts[k] + op.epsilon()) / smoothed * all);
        });
  }

  static List<Result> reverseChannels(
      ReverseChannels op, List<TensorSpec> specs, List<double[]> in) {
    int channels = specs.getFirst().shape().dim(-1);
    return Reference.map(
        in.getFirst().length,
        i -> in.getFirst()[i / channels * channels + channels - 1 - i % channels]);
  }

  private static double[] latent(double[] x, int latent, int categories) {
    return Arrays.copyOfRange(x, latent * categories, (latent + 1) * categories);
  }

  private static double[] softmax(double[] x) {
    double most = Arrays.stream(x).max().orElseThrow();
    double sum = Arrays.stream(x).map(v -> Math.exp(v - most)).sum();
    return Arrays.stream(x).map(v -> Math.exp(v - most) / sum).toArray();
  }

  private static double[] logSoftmax(double[] x) {
    double most = Arrays.stream(x).max().orElseThrow();
    double sum = Arrays.stream(x).map(v -> Math.exp(v - most)).sum();
    return Arrays.stream(x).map(v -> v - most - Math.log(sum)).toArray();
  }

  /** Logits and noise of samples of images, sample by sample. */
  private static double[] perturbed(
      long seed, int first, int samples, List<TensorSpec> specs, List<double[]> in) {
    Philox philox = new Philox(seed);
    int all = in.getFirst().length;
    int image = all / specs.getFirst().shape().dim(0);
    double[] x = new double[samples * all];
    for (int i = 0; i < x.length; i++) {
      long n = first + i % all / image;
      long index = (n * samples + i / all) * image + i % image;
      x[i] =
          in.getFirst()[i % all] + philox.gumbel(Philox.Stream.LATENT, (int) in.get(1)[0], index);
    }
    return x;
  }

  static List<Result> gumbelSoftmax(GumbelSoftmax op, List<TensorSpec> specs, List<double[]> in) {
    int categories = op.categories();
    double[] x = perturbed(op.seed(), op.first(), op.samples(), specs, in);
    double temperature = op.temperature().at(in.get(1)[0]);
    Arrays.setAll(x, i -> x[i] / temperature);
    Result y = Result.of(x.length);
    for (int latent = 0; latent < x.length / categories; latent++) {
      double[] q = softmax(latent(x, latent, categories));
      for (int k = 0; k < categories; k++) {
        y.add(latent * categories + k, q[k]);
      }
    }
    return List.of(y);
  }

  static List<Result> gumbelSoftmaxBackward(
      GumbelSoftmaxBackward op, List<TensorSpec> specs, List<double[]> in) {
    int categories = op.categories();
    int all = in.get(0).length / op.samples();
    double temperature = op.temperature().at(in.get(2)[0]);
    Result dlogits = Result.of(all);
    for (int latent = 0; latent < in.get(0).length / categories; latent++) {
      double[] y = latent(in.get(0), latent, categories);
      double[] dy = latent(in.get(1), latent, categories);
      for (int k = 0; k < categories; k++) {
        int at = (latent * categories + k) % all;
        dlogits.add(at, y[k] * dy[k] / temperature);
        for (int j = 0; j < categories; j++) {
          dlogits.add(at, -y[k] * y[j] * dy[j] / temperature);
        }
      }
    }
    return List.of(dlogits);
  }

  static List<Result> categoricalSample(
      CategoricalSample op, List<TensorSpec> specs, List<double[]> in) {
    int categories = op.categories();
    double[] x = perturbed(op.seed(), op.first(), op.samples(), specs, in);
    Result y = Result.of(x.length);
    for (int latent = 0; latent < x.length / categories; latent++) {
      int largest = latent * categories;
      for (int i = largest; i < (latent + 1) * categories; i++) {
        largest = x[i] > x[largest] ? i : largest;
      }
      y.add(largest, 1);
    }
    return List.of(y);
  }

  static List<Result> categoricalKl(CategoricalKl op, List<TensorSpec> specs, List<double[]> in) {
    int categories = op.categories();
    int images = specs.getFirst().shape().dim(0);
    int latents = in.getFirst().length / images / categories;
    Result kl = Result.of(images);
    Result byDimension = Result.of(latents);
    for (int i = 0; i < images * latents; i++) {
      for (double log : logSoftmax(latent(in.getFirst(), i, categories))) {
        double term = Math.exp(log) * (log + Math.log(categories));
        kl.add(i / latents, term);
        byDimension.add(i % latents, term / images);
      }
    }
    return List.of(kl, byDimension);
  }

  static List<Result> categoricalKlBackward(
      CategoricalKlBackward op, List<TensorSpec> specs, List<double[]> in) {
    int categories = op.categories();
    int images = specs.getFirst().shape().dim(0);
    int latents = in.getFirst().length / images / categories;
    Result dlogits = Result.of(in.getFirst().length);
    for (int i = 0; i < images * latents; i++) {
      double image = op.ofImages() ? in.get(1)[i / latents] : 0;
      double dimension = op.ofDimensions() ? in.getLast()[i % latents] / images : 0;
      double[] log = logSoftmax(latent(in.getFirst(), i, categories));
      double mean = 0;
      double size = 0;
      for (double v : log) {
        mean += Math.exp(v) * v;
        size += Math.exp(v) * Math.abs(v);
      }
      for (int k = 0; k < categories; k++) {
        double q = Math.exp(log[k]);
        dlogits.set(
            i * categories + k,
            (image + dimension) * q * (log[k] - mean),
            (Math.abs(image) + Math.abs(dimension)) * q * (Math.abs(log[k]) + size));
      }
    }
    return List.of(dlogits);
  }

  static List<Result> categoricalLogProbability(
      CategoricalLogProbability op, List<TensorSpec> specs, List<double[]> in) {
    int categories = op.categories();
    int rows = specs.getFirst().shape().dim(0);
    int latents = in.getFirst().length / rows / categories;
    int all = in.get(1).length / categories; // latents of all images
    Result y = Result.of(rows);
    for (int i = 0; i < rows * latents; i++) {
      double[] log = logSoftmax(latent(in.get(1), i % all, categories));
      for (int k = 0; k < categories; k++) {
        y.add(i / latents, in.get(0)[i * categories + k] * log[k]);
      }
    }
    return List.of(y);
  }
}
