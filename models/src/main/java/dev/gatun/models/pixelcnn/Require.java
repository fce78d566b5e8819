package dev.gatun.models.pixelcnn;

/** Checks of configurations. */
final class Require {
  private Require() {}

  static void that(boolean condition, String model, String message) {
    if (!condition) {
      throw new IllegalArgumentException(model + ": " + message);
    }
  }

  /** What images all models of the family are for. */
  static void images(String model, int height, int width, int channels, int levels, int classes) {
    that(height > 0 && width > 0, model, "height and width must be positive");
    that(channels == 1 || channels == 3, model, "channels must be 1 or 3, not " + channels);
    that(levels >= 2 && levels <= 256, model, "levels must be 2 to 256");
    that(classes >= 0 && classes <= 256, model, "classes must be 0 to 256");
    that(classes != 1, model, "one class tells nothing: classes must be 0, or 2 to 256");
  }

  /** Colours are drawn one after another, so each has a share of every layer's channels. */
  static void divisible(String model, String what, int filters, int channels) {
    that(
        filters > 0 && filters % channels == 0,
        model,
        what
            + " must be a positive multiple of the images' "
            + channels
            + " channels, not "
            + filters);
  }
}
