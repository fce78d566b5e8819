package dev.gatun.models.features;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.gatun.engine.DType;
import dev.gatun.engine.WithDevice;
import dev.gatun.engine.data.Dataset;
import dev.gatun.engine.train.Parameters;
import dev.gatun.models.metrics.Features;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;

class EncodingsTest extends WithDevice {
  /** In f64, by hand. */
  private static double[] encode(TinyEncoder model, Parameters weights, byte[] image) {
    float[] map = weights.get("map.weight").toFloats();
    float[] mapBias = weights.get("map.bias").toFloats();
    float[] last = weights.get("features.weight").toFloats();
    float[] lastBias = weights.get("features.bias").toFloats();
    double[] features = new double[model.features()];
    for (int f = 0; f < features.length; f++) {
      features[f] = lastBias[f];
    }
    for (int y = 0; y < 4; y++) {
      for (int x = 0; x < 4; x++) {
        for (int k = 0; k < 4; k++) {
          double sum = mapBias[k];
          for (int t = 0; t < 9; t++) {
            int row = 2 * y + t / 3 - 1;
            int column = 2 * x + t % 3 - 1;
            if (row >= 0 && row < 8 && column >= 0 && column < 8) {
              double pixel = 2 * (image[row * 8 + column] & 0xFF) / 255.0 - 1;
              sum += pixel * map[(t * 2) * 4 + k] + map[(t * 2 + 1) * 4 + k];
            }
          }
          for (int f = 0; f < features.length; f++) {
            features[f] += Math.max(0, sum) * last[((y * 4 + x) * 4 + k) * features.length + f];
          }
        }
      }
    }
    return features;
  }

  @Test
  void featuresAreTheEncodersInTheOrderOfTheImages() {
    TinyEncoder model = new TinyEncoder(5);
    Dataset images = TinyEncoder.squares(150, 1); // more than a batch
    try (Parameters weights = new Parameters(device, model.parameters())) {
      weights.initialize(3);
      int[] done = new int[1];
      Features features;
      try (Encodings encodings = new Encodings(device, model, weights, DType.F32)) {
        features = encodings.of(images, count -> done[0] = count);
        int[] some = {149, 0};
        assertArrayEquals(
            features.rows(some).values(),
            encodings.of(images.subset(some), count -> {}).values(),
            "an image's features do not depend on the others of its batch");
      }
      assertEquals(150, done[0]);
      assertEquals(150, features.count());
      assertEquals(5, features.size());
      for (int i : new int[] {0, 1, 127, 128, 149}) {
        double[] expected = encode(model, weights, images.images(i));
        for (int f = 0; f < 5; f++) {
          // sums of 64 and 18 terms of a size of about 1
          assertEquals(expected[f], features.values()[i * 5 + f], 1e-4, "image " + i);
        }
      }
    }
  }

  @Test
  void imagesOfAnotherSizeAreRefusedInOneLine() {
    Dataset wide = Dataset.of("wide", 8, 9, 1, new byte[72], null, 0, List.of());
    TinyEncoder model = new TinyEncoder(5);
    try (Parameters weights = new Parameters(device, model.parameters());
        Encodings encodings = new Encodings(device, model, weights, DType.F32)) {
      Exception e =
          assertThrows(IllegalArgumentException.class, () -> encodings.of(wide, count -> {}));
      assertEquals(
          "the images of wide are 8x9x1, tiny-encoder is for 8x8x1: choose other data, or train a"
              + " model of that size",
          e.getMessage());
      float[] endless = new float[5];
      Arrays.fill(endless, Float.POSITIVE_INFINITY);
      weights.get("features.bias").write(endless);
      Dataset one = TinyEncoder.squares(1, 1);
      e = assertThrows(IllegalArgumentException.class, () -> encodings.of(one, count -> {}));
      assertEquals("feature 0 of image 0 is Infinity", e.getMessage());
    }
  }
}
