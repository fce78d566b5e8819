package dev.gatun.models.vae;

import dev.gatun.engine.DType;
import dev.gatun.engine.Value;
import dev.gatun.engine.op.Taps;
import dev.gatun.models.Model;

/**
 * The convolutional part of an encoder and of a decoder: between an image and a map of a quarter of
 * its height and width, with residual blocks at both resolutions on the way.
 *
 * @param filters F: channels at half the resolution; twice as many at a quarter
 * @param depth residual blocks at each resolution
 */
record ImageMaps(Model.ImageShape shape, int filters, int depth) {
  private static final int QUARTER = 4;

  ImageMaps {
    require(
        shape.height() * shape.width() != 1,
        "a convolutional network is for images, not for points: take another model than vq-vae,"
            + " with network=mlp");
    require(
        shape.channels() == 1 || shape.channels() == 3,
        "channels must be 1 or 3, not " + shape.channels());
    require(
        shape.height() > 0
            && shape.width() > 0
            && shape.height() % QUARTER == 0
            && shape.width() % QUARTER == 0,
        "a convolutional network is for heights and widths that are multiples of "
            + QUARTER
            + ", not "
            + shape);
    require(depth >= 0, "depth must not be negative");
    require(
        filters > 0 && filters % (2 * Layers.GROUPS) == 0,
        "filters must be a multiple of " + 2 * Layers.GROUPS + ", not " + filters);
  }

  private static void require(boolean condition, String message) {
    if (!condition) {
      throw new IllegalArgumentException(message);
    }
  }

  int bottomHeight() {
    return shape.height() / QUARTER;
  }

  int bottomWidth() {
    return shape.width() / QUARTER;
  }

  int bottomChannels() {
    return 2 * filters;
  }

  /** Numbers of the small map. */
  int bottom() {
    return bottomHeight() * bottomWidth() * bottomChannels();
  }

  /**
   * To the small map.
   *
   * @param x [N,H,W,C]
   * @return [N,H/4,W/4,2F]
   */
  Value encode(Layers l, Value x) {
    int f = filters;
    Value h = l.halve("encoder.half", x, shape.channels(), f); // (N, H/2, W/2, F)
    h = blocks(l, "encoder.half", h, f);
    h = l.halve("encoder.quarter", l.norm("encoder.half.norm", h, f), f, 2 * f);
    h = blocks(l, "encoder.quarter", h, 2 * f);
    return l.norm("encoder.norm", h, 2 * f);
  }

  /**
   * From the small map.
   *
   * @param map [M,H/4,W/4,2F]
   * @return [M,H,W,outputs] f32
   */
  Value decode(Layers l, Value map, int outputs) {
    int f = filters;
    Value h = blocks(l, "decoder.quarter", map, 2 * f);
    h = l.enlarge("decoder.half", l.norm("decoder.quarter.norm", h, 2 * f), 2 * f, f);
    h = blocks(l, "decoder.half", h, f); // (M, H/2, W/2, F)
    h = l.enlarge("decoder.whole", l.norm("decoder.half.norm", h, f), f, f / 2);
    h = l.norm("decoder.norm", h, f / 2); // (M, H, W, F/2)
    return l.conv("decoder.last", Taps.square(3), 1, h, f / 2, outputs, 0.1, DType.F32, null);
  }

  private Value blocks(Layers l, String part, Value x, int channels) {
    Value h = x;
    for (int i = 0; i < depth; i++) {
      h = l.residual(part + ".blocks." + i, h, channels);
    }
    return h;
  }
}
