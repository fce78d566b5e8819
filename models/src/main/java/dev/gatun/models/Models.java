package dev.gatun.models;

import com.fasterxml.jackson.databind.JsonNode;
import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.train.Parameters;
import dev.gatun.models.train.TrainConfig;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/** The models by name: their presets, what can be overridden, and how to get one from JSON. */
public final class Models {
  /** Gatun's version, as config.json and {@code gatun --version} give it. */
  public static final String VERSION = "0.1.0";

  private static final Map<String, Family> FAMILIES = new LinkedHashMap<>();

  static {
    for (Family family : PixelFamily.all()) {
      FAMILIES.put(family.name(), family);
    }
    for (Family family : DenoisingFamily.all()) {
      FAMILIES.put(family.name(), family);
    }
    for (Family family : VaeFamily.all()) {
      FAMILIES.put(family.name(), family);
    }
  }

  private Models() {}

  /** Sizes to start from. */
  public enum Preset {
    /** Seconds on any machine; for tests. */
    TINY,
    /** Minutes on a CPU. */
    SMALL,
    /** The paper's. */
    PAPER;

    /** As on the command line. */
    public String label() {
      return name().toLowerCase(Locale.ROOT);
    }

    /**
     * The preset with the given {@link #label}.
     *
     * @throws IllegalArgumentException naming the accepted labels
     */
    public static Preset fromLabel(String label) {
      for (Preset preset : values()) {
        if (preset.label().equals(label)) {
          return preset;
        }
      }
      throw new IllegalArgumentException(
          "unknown preset '" + label + "': expected tiny, small or paper");
    }
  }

  /**
   * A model and how to train it.
   *
   * @param steps how many, where the user does not say
   */
  public record Setup(Model model, TrainConfig training, long steps) {}

  /** The accepted model names. */
  public static List<String> names() {
    return List.copyOf(FAMILIES.keySet());
  }

  /**
   * A preset for images of a shape, with overrides.
   *
   * @param classes of the images' labels, which the model is then given; 0 for none
   * @param overrides values for components of the model's configuration and of {@link TrainConfig}
   * @throws IllegalArgumentException in one line, for an unknown model or key, a bad value, or
   *     images the model is not for
   */
  public static Setup setup(
      String name,
      Preset preset,
      Model.ImageShape shape,
      int classes,
      DType dtype,
      long seed,
      Map<String, String> overrides) {
    Family family = family(name);
    Record config = family.config(preset, shape, classes);
    TrainConfig training = family.training(preset, dtype, seed);
    Overrides keys = new Overrides(config, family.fixedKeys(), training);
    overrides.forEach(keys::set);
    return new Setup(
        family.model(keys.config()), (TrainConfig) keys.training(), family.steps(preset));
  }

  /** As the other one, for a model that is given no labels. */
  public static Setup setup(
      String name,
      Preset preset,
      Model.ImageShape shape,
      DType dtype,
      long seed,
      Map<String, String> overrides) {
    return setup(name, preset, shape, 0, dtype, seed, overrides);
  }

  /**
   * The same training with other values.
   *
   * @throws IllegalArgumentException as {@link #setup} does
   */
  public static TrainConfig override(
      Model model, TrainConfig training, Map<String, String> overrides) {
    Overrides keys = new Overrides(model.config(), family(model.name()).fixedKeys(), training);
    overrides.forEach(keys::set);
    if (!keys.config().equals(model.config())) {
      throw new IllegalArgumentException(
          "the model's shape is fixed once its training has begun: leave "
              + String.join(", ", overrides.keySet())
              + " as it was, or start another run");
    }
    return (TrainConfig) keys.training();
  }

  /** Whether a model can be given its images' classes. */
  public static boolean takesClasses(String name) {
    return family(name).takesClasses();
  }

  /** How many steps the preset trains where the user does not say. */
  public static long steps(String name, Preset preset) {
    return family(name).steps(preset);
  }

  /**
   * The model that a configuration written as JSON describes.
   *
   * @throws IllegalArgumentException in one line if the name is unknown or the JSON does not fit
   */
  public static Model fromJson(String name, JsonNode config) {
    Family family = family(name);
    return family.model(Records.fromJson(config, family.configType()));
  }

  /** Names of the samplers a model has, its default first; none where it cannot draw. */
  public static List<String> samplers(Model model) {
    return family(model.name()).samplers();
  }

  /**
   * Opens a sampler of a model; the caller closes it.
   *
   * @throws IllegalArgumentException if the model has none of that name
   */
  public static Sampler sampler(
      String sampler, Device device, Model model, Parameters weights, DType dtype) {
    Family family = family(model.name());
    if (family.samplers().isEmpty()) {
      throw new IllegalArgumentException(
          model.name()
              + " knows no distribution of images to draw from: use a VAE, or 'gatun plot'");
    }
    if (!family.samplers().contains(sampler)) {
      throw new IllegalArgumentException(
          model.name()
              + " has no sampler '"
              + sampler
              + "': expected "
              + String.join(" or ", family.samplers()));
    }
    return family.sampler(sampler, device, model, weights, dtype);
  }

  private static Family family(String name) {
    Family family = FAMILIES.get(name);
    if (family == null) {
      throw new IllegalArgumentException(
          "unknown model '" + name + "': expected " + String.join(" or ", FAMILIES.keySet()));
    }
    return family;
  }
}
