package dev.gatun.bench;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.data.Dataset;
import dev.gatun.engine.train.Parameters;
import dev.gatun.models.Average;
import dev.gatun.models.BoundedModel;
import dev.gatun.models.LikelihoodModel;
import dev.gatun.models.Model;
import dev.gatun.models.diffusion.BoundEvaluator;
import dev.gatun.models.diffusion.Ddpm;
import dev.gatun.models.diffusion.DenoisingModel;
import dev.gatun.models.diffusion.FlowDensity;
import dev.gatun.models.train.Evaluator;
import dev.gatun.models.vae.CodingModel;
import dev.gatun.models.vae.ImportanceEvaluator;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import java.util.function.IntConsumer;

/** How a model says how likely images are: exactly, or by a bound. */
abstract sealed class Scorer {
  private static final int TIMES = 20;

  /** Of the probability flow of points. */
  static final int FLOW_STEPS = 100;

  /** Of what is drawn; not 0, which trainings start from, and which draw theirs. */
  private static final long SEED = 0x626F756E64L;

  /**
   * A score.
   *
   * @param fields as in JSON
   * @param text for people, before what was scored
   * @param rate what is said after that; may be empty
   */
  record Score(Map<String, Object> fields, String text, String rate) {}

  /**
   * The weights of a model on a device.
   *
   * @param type of activations, where the score does not prescribe f32
   */
  record Trained(Device device, Parameters weights, DType type) {}

  /**
   * A model's.
   *
   * @param times terms of a diffusion model's bound; null for the usual number
   * @param samples of a VAE's importance-weighted bound; null for 1
   * @return null where it has none
   * @throws UsageException where an option is not the model's
   */
  static Scorer of(Model model, Integer times, Integer samples) {
    boolean bound = model instanceof Ddpm && model.dataType() == DType.U8;
    if (times != null && (times <= 0 || !bound)) {
      throw new UsageException(
          "--times "
              + times
              + (times <= 0
                  ? ": must be positive"
                  : ": is for ddpm of images, whose bound is a sum over times; leave it out"));
    }
    if (samples != null && !(model instanceof BoundedModel)) {
      throw new UsageException(
          "--samples "
              + samples
              + ": is for VAEs, whose likelihood is estimated by samples; leave it out");
    }
    return switch (model) {
      case LikelihoodModel exact -> new Exact(exact);
      case DenoisingModel points when points.dataType() == DType.F32 -> new Flow(points);
      case Ddpm ddpm -> new Bound(ddpm, times);
      case BoundedModel bounded -> new Importance(bounded, samples == null ? 1 : samples);
      default -> null;
    };
  }

  /**
   * Scores images.
   *
   * @param trained the same model
   */
  abstract Score score(Trained trained, Dataset images, IntConsumer progress);

  static void requireFinite(double score) {
    if (!Double.isFinite(score)) {
      throw new IllegalStateException(
          "the score is "
              + score
              + ": the model's weights are not usable;"
              + " train again with a smaller --lr");
    }
  }

  private static final class Exact extends Scorer {
    private final LikelihoodModel model;

    Exact(LikelihoodModel model) {
      this.model = model;
    }

    @Override
    Score score(Trained trained, Dataset images, IntConsumer progress) {
      Evaluator.Score score;
      try (Evaluator evaluator =
          new Evaluator(trained.device, model, trained.weights, trained.type)) {
        score = evaluator.score(images, images.count(), progress);
      }
      requireFinite(score.bitsPerDim());
      return new Score(
          fields(score),
          String.format(Locale.ROOT, "%.4f bits/dim", score.bitsPerDim()),
          String.format(Locale.ROOT, ", %.0f images/s", score.imagesPerSecond()));
    }
  }

  /** The fields that every exact score is reported with. */
  static Map<String, Object> fields(Evaluator.Score score) {
    Map<String, Object> fields = new LinkedHashMap<>();
    fields.put("bitsPerDim", score.bitsPerDim());
    fields.put("images", score.images());
    fields.put("seconds", score.seconds());
    fields.put("imagesPerSecond", score.imagesPerSecond());
    return fields;
  }

  private static final class Bound extends Scorer {
    private final Ddpm model;
    private final int terms;

    Bound(Ddpm model, Integer times) {
      this.model = model;
      terms = times == null ? Math.min(TIMES, model.schedule().steps() - 1) : times;
    }

    @Override
    Score score(Trained trained, Dataset images, IntConsumer progress) {
      BoundEvaluator.Score score;
      try (BoundEvaluator evaluator =
          new BoundEvaluator(trained.device, model, trained.weights, SEED)) {
        score =
            UsageException.ifRefused(
                () -> evaluator.score(images, images.count(), terms, progress));
      }
      requireFinite(score.bitsPerDim());
      Map<String, Object> fields = new LinkedHashMap<>();
      fields.put("bitsPerDim", score.bitsPerDim());
      fields.put("bitsPerDimIs", "variational bound");
      fields.put("bitsPerDimDtype", DType.F32.label());
      fields.put("bitsPerDimError", score.standardError());
      fields.put("times", terms);
      fields.put("images", score.images());
      fields.put("seconds", score.seconds());
      return new Score(
          fields,
          String.format(
              Locale.ROOT,
              "at most %.4f bits/dim (variational bound, +- %.4f)",
              score.bitsPerDim(),
              score.standardError()),
          "");
    }
  }

  /** Of points: the density along the probability flow. */
  private static final class Flow extends Scorer {
    private final DenoisingModel model;

    Flow(DenoisingModel model) {
      this.model = model;
    }

    @Override
    Score score(Trained trained, Dataset images, IntConsumer progress) {
      long start = System.nanoTime();
      double[] nats;
      try (FlowDensity density =
          new FlowDensity(trained.device, model, trained.weights, FLOW_STEPS)) {
        nats = density.nats(images.points(), progress);
      }
      Average average = Average.of(nats);
      requireFinite(average.mean());
      Map<String, Object> fields = new LinkedHashMap<>();
      fields.put("nats", average.mean());
      fields.put("natsAre", "density along the probability flow");
      fields.put("natsError", average.standardError());
      fields.put("flowSteps", FLOW_STEPS);
      fields.put("images", nats.length);
      fields.put("seconds", (System.nanoTime() - start) / 1e9);
      return new Score(
          fields,
          String.format(
              Locale.ROOT,
              "%.3f nats (density along the probability flow, +- %.3f)",
              average.mean(),
              average.standardError()),
          "");
    }
  }

  private static final class Importance extends Scorer {
    private static final int WHITE = 255;

    private final BoundedModel model;
    private final int samples;

    Importance(BoundedModel model, int samples) {
      this.model = model;
      this.samples = samples;
      try {
        model.requireSamples(samples);
      } catch (IllegalArgumentException e) {
        throw new UsageException("--" + e.getMessage(), e);
      }
    }

    @Override
    Score score(Trained trained, Dataset images, IntConsumer progress) {
      ImportanceEvaluator.Score score;
      try (ImportanceEvaluator evaluator =
          new ImportanceEvaluator(
              trained.device, model, trained.weights, DType.F32, samples, SEED)) {
        score = evaluator.score(images, images.count(), progress);
      }
      requireFinite(score.unit());
      boolean bits = model.objective() == Model.Objective.BITS_PER_DIM;
      String key = model.objective().key();
      String what =
          (samples == 1 ? "evidence lower bound" : "importance-weighted bound of " + samples)
              + reservation(images);
      Map<String, Object> fields = new LinkedHashMap<>();
      fields.put(key, score.unit());
      fields.put(key + "Is", what);
      fields.put(key + "Dtype", DType.F32.label());
      fields.put(key + "Error", score.standardError());
      fields.put("samples", samples);
      fields.put("images", score.images());
      fields.put("seconds", score.seconds());
      return new Score(
          fields,
          String.format(
              Locale.ROOT,
              bits ? "at most %.4f %s (%s, +- %.4f)" : "at most %.3f %s (%s, +- %.3f)",
              score.unit(),
              model.objective().unit(),
              what,
              score.standardError()),
          "");
    }

    /** Why the score is not to be compared with others, where it is not. */
    private String reservation(Dataset images) {
      if (!(model instanceof CodingModel coding) || images.dtype() != DType.U8) {
        return "";
      }
      return switch (coding.pixels()) {
        case BERNOULLI ->
            isGrey(images) ? ", by the cross-entropy of grey values: not a likelihood" : "";
        case GAUSSIAN -> ", by a density of pixels in [-1,1]";
        case LOGISTIC, SQUARED -> "";
      };
    }

    private static boolean isGrey(Dataset images) {
      byte[] image = new byte[images.imageBytes()];
      for (int i = 0; i < images.count(); i++) {
        images.image(i, image, 0);
        for (byte pixel : image) {
          if (pixel != 0 && (pixel & 0xFF) != WHITE) {
            return true;
          }
        }
      }
      return false;
    }
  }
}
