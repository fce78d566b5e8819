package dev.gatun.bench;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.op.DenoiseStep.Thresholding;
import dev.gatun.engine.train.Parameters;
import dev.gatun.models.Condition;
import dev.gatun.models.Model;
import dev.gatun.models.Models;
import dev.gatun.models.Sampler;
import dev.gatun.models.diffusion.DenoisingModel;
import dev.gatun.models.diffusion.DenoisingSampler;
import dev.gatun.models.diffusion.DenoisingSampler.Method;
import dev.gatun.models.diffusion.Edm;
import dev.gatun.models.diffusion.SamplerSteps;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Locale;
import java.util.Map;
import java.util.stream.Collectors;
import picocli.CommandLine.Option;

/** How a model that makes images out of noise draws. */
final class DenoiseOptions {
  @Option(
      names = "--steps",
      paramLabel = "N",
      description = "of the sampler (default: ddim 50, ddpm 250, dpmpp 20, heun 18)")
  private Integer steps;

  @Option(
      names = "--guidance",
      paramLabel = "W",
      description = "eps_u + W (eps_c - eps_u): 1 (default) is the class, above 1 is beyond it")
  private Double guidance;

  @Option(
      names = "--eta",
      paramLabel = "X",
      description = "of ddim: 0 (default) adds no noise, 1 as much as ddpm")
  private Double eta;

  @Option(
      names = "--churn",
      paramLabel = "S",
      description = "of heun with edm: noise that is added on the way (default: 0, none)")
  private Double churn;

  @Option(
      names = "--threshold",
      paramLabel = "T",
      description = "keeps denoised images in range: static (default), dynamic or none")
  private String threshold;

  /** The first option that was given; null if none was. */
  private String given() {
    return steps != null
        ? "--steps"
        : guidance != null
            ? "--guidance"
            : eta != null
                ? "--eta"
                : churn != null ? "--churn" : threshold != null ? "--threshold" : null;
  }

  /** Throws if an option was given to a model that does not denoise. */
  void requireNone(String model) {
    if (given() != null) {
      throw new UsageException(
          given() + ": " + model + " does not draw out of noise; leave the option out");
    }
  }

  /** Throws if noise was asked for where the way is given. */
  void requireNoNoise(String why) {
    if (eta != null || churn != null) {
      throw new UsageException(
          (eta != null ? "--eta " + eta : "--churn " + churn)
              + ": "
              + why
              + "; leave the option out");
    }
  }

  /** What figures of drawn images depend on, beside the model. */
  void describe(Map<String, Object> all, Model model, String name) {
    all.put("sampler", sampler(model, name));
    if (model instanceof DenoisingModel denoising) {
      all.put("samplerSteps", steps(denoising, method(denoising, name)));
      all.put("guidance", guidance == null ? 1 : guidance);
      all.put("eta", eta == null ? 0 : eta);
      all.put("churn", churn == null ? 0 : churn);
      all.put("threshold", thresholding().name().toLowerCase(Locale.ROOT));
    }
  }

  /**
   * How to draw.
   *
   * @param name of the sampler; null for the model's first
   */
  DenoisingSampler.Settings settings(DenoisingModel model, String name) {
    Method method = method(model, name);
    if (eta != null && method != Method.DDIM) {
      throw new UsageException("--eta: is for --sampler ddim, not " + method.label());
    }
    int count = steps(model, method);
    if (churn != null) {
      if (method != Method.HEUN || !(model instanceof Edm edm)) {
        throw new UsageException("--churn: is for --sampler heun and a run of edm");
      }
      return settings(
          method.label(),
          UsageException.ifRefused(() ->
              SamplerSteps.heun(
                  edm.config().preconditioning(), count, SamplerSteps.Churn.of(churn))));
    }
    return settings(
        method.label(),
        UsageException.ifRefused(() -> method.steps(model, count, eta == null ? 0 : eta)));
  }

  /** How to draw by given steps. */
  DenoisingSampler.Settings settings(String name, SamplerSteps rows) {
    return new DenoisingSampler.Settings(
        name, rows, guidance == null ? 1 : guidance, thresholding());
  }

  /** Steps that were asked for, or those that a method usually takes. */
  int steps(DenoisingModel model, Method method) {
    return steps == null ? method.usualSteps(model) : steps;
  }

  /** Steps that were asked for, or so many if the model has them. */
  int steps(DenoisingModel model, int usual) {
    return steps == null ? Math.min(usual, model.mostSteps()) : steps;
  }

  private static Method method(DenoisingModel model, String name) {
    return Method.valueOf(sampler(model, name).toUpperCase(Locale.ROOT));
  }

  /**
   * The sampler of a name.
   *
   * @param name null for the model's first
   */
  static String sampler(Model model, String name) {
    if (Models.samplers(model).isEmpty()) {
      throw new UsageException(
          model.name() + " has no distribution of images to draw from; see 'gatun plot'");
    }
    String wanted = name == null ? Models.samplers(model).getFirst() : name;
    if (!Models.samplers(model).contains(wanted)) {
      throw new UsageException(
          "--sampler "
              + wanted
              + ": "
              + model.name()
              + " has "
              + String.join(", ", Models.samplers(model)));
    }
    return wanted;
  }

  /** Throws if a model makes images only of others. */
  static void requireDrawsAlone(Path run, Model model) {
    if (model.condition() != Condition.NONE) {
      throw new UsageException(
          run
              + ": draws by an image that it is shown; use 'gatun "
              + (model.condition() == Condition.GREY ? "colorize" : "upscale")
              + "'");
    }
  }

  /**
   * Throws unless a model can be drawn from as the options ask for it.
   *
   * @param name null for the model's first
   */
  void require(Model model, String name) {
    if (model instanceof DenoisingModel denoising) {
      settings(denoising, name);
    } else {
      requireNone(model.name());
      sampler(model, name);
    }
  }

  /**
   * A sampler as the options ask for it; the caller closes it.
   *
   * @param name null for the model's first
   */
  Sampler open(Device device, Model model, Parameters weights, DType type, String name) {
    if (model instanceof DenoisingModel denoising) {
      DenoisingSampler.Settings settings = settings(denoising, name);
      return UsageException.ifRefused(
          () -> new DenoisingSampler(device, denoising, weights, settings, type));
    }
    requireNone(model.name());
    return Models.sampler(sampler(model, name), device, model, weights, type);
  }

  private Thresholding thresholding() {
    if (threshold == null) {
      return Thresholding.STATIC;
    }
    return Arrays.stream(Thresholding.values())
        .filter(t -> t.name().toLowerCase(Locale.ROOT).equals(threshold))
        .findFirst()
        .orElseThrow(() ->
            new UsageException(
                "--threshold "
                    + threshold
                    + ": expected "
                    + Arrays.stream(Thresholding.values())
                        .map(t -> t.name().toLowerCase(Locale.ROOT))
                        .collect(Collectors.joining(" or "))));
  }
}
