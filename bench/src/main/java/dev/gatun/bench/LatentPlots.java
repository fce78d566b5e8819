package dev.gatun.bench;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.Owned;
import dev.gatun.engine.data.Dataset;
import dev.gatun.engine.train.Parameters;
import dev.gatun.models.vae.CodingModel;
import dev.gatun.models.vae.Decoder;
import dev.gatun.models.vae.ImageCodes;
import dev.gatun.models.vae.LatentTour;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Locale;

/** Pictures of what a model with latents has learned; each is written to one file. */
final class LatentPlots implements AutoCloseable {
  private static final int SIDE = 20;
  private static final int COLUMNS = 11;
  private static final int PAIRS = 16;

  private final Console console;
  private final Path out;
  private final Device device;
  private final CodingModel model;
  private final Parameters weights;
  private final DType type;
  private final Owned owned = new Owned();

  /**
   * Pictures of a model.
   *
   * @param weights the caller closes them
   * @param type of activations
   */
  LatentPlots(
      Console console, Path out, Device device, CodingModel model, Parameters weights, DType type) {
    this.console = console;
    this.out = out;
    this.device = device;
    this.model = model;
    this.weights = weights;
    this.type = type;
  }

  private ImageCodes.Codes codes(Dataset images) {
    ImageCodes codes = owned.add(new ImageCodes(device, model, weights, type));
    return UsageException.ifRefused(() -> codes.of(images, images.count()));
  }

  private byte[] decoded(float[] z) {
    return Decoder.levels(owned.add(new Decoder(device, model, weights, type)).means(z));
  }

  private void grid(float[] z, int columns) throws IOException {
    ImageFiles.grid(out, decoded(z), z.length / model.latentSize(), model.imageShape(), columns);
  }

  /** Rows of images, each above the row of what is decoded of their latents. */
  void reconstructions(Dataset images) throws IOException {
    byte[] made = decoded(codes(images).z());
    int size = model.imageShape().dimensions();
    int rows = Math.ceilDiv(images.count(), PAIRS);
    byte[] all = new byte[2 * rows * PAIRS * size];
    for (int i = 0; i < images.count(); i++) {
      int at = (2 * (i / PAIRS) * PAIRS + i % PAIRS) * size;
      images.image(i, all, at);
      System.arraycopy(made, i * size, all, at + PAIRS * size, size);
    }
    ImageFiles.grid(out, all, 2 * rows * PAIRS, model.imageShape(), PAIRS);
  }

  /** What is decoded of the quantiles of two latents. */
  void manifold() throws IOException {
    grid(LatentTour.manifold(SIDE), SIDE);
  }

  /** From the first image, a row for each latent; those that say most of all images first. */
  void traversal(Dataset images) throws IOException {
    ImageCodes.Codes found = codes(images);
    int[] latents = LatentTour.byKl(found.kl(), COLUMNS - 1);
    StringBuilder text = new StringBuilder();
    for (int latent : latents) {
      text.append(
          String.format(
              Locale.ROOT, "%s%d: %.2f", text.isEmpty() ? "" : ", ", latent, found.kl()[latent]));
    }
    console.say("nats of the latents, row by row: " + text);
    float[] from = Arrays.copyOf(found.z(), model.latentSize());
    grid(LatentTour.traversal(from, latents, COLUMNS), COLUMNS);
  }

  /** From one image to the next, a row for each pair. */
  void interpolation(Dataset images) throws IOException {
    if (images.count() < 2) {
      throw new UsageException(
          "--what interpolation: two images lie at the ends, not 1; look at 2 or more");
    }
    int size = model.latentSize();
    float[] ends = Arrays.copyOf(codes(images).z(), images.count() / 2 * 2 * size);
    grid(LatentTour.interpolation(ends, size, COLUMNS), COLUMNS);
  }

  /** A point for each image, in the colour of its class. */
  void scatter(Dataset images) throws IOException {
    int size = model.latentSize();
    if (size > 2 && images.count() < 2) {
      throw new UsageException(
          "--what scatter: principal components need 2 images or more, not 1; look at more");
    }
    LatentChart.write(out, model.name(), codes(images).z(), size, images);
  }

  @Override
  public void close() {
    owned.close();
  }
}
