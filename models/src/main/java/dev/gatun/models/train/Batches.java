package dev.gatun.models.train;

import dev.gatun.engine.DType;
import dev.gatun.engine.Philox;
import dev.gatun.engine.data.Dataset;
import dev.gatun.models.Condition;
import dev.gatun.models.Model;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;

/**
 * The images that each step sees: an epoch has each once at most, in an order of its own, which
 * follows from the seed and the epoch; those last in it that do not fill a batch are left out.
 * While a step runs the next one's are gathered.
 */
final class Batches {
  /**
   * What a step sees.
   *
   * @param images [N,H,W,C] as the data set has them
   * @param labels [N] u8; zeros where none are wanted
   * @param condition [N,H,W,D] u8; empty where none is wanted
   */
  record Batch(byte[] images, byte[] labels, byte[] condition) {}

  /**
   * How images are shown; what is random follows from the seed, the step and the place in it.
   *
   * @param size images a step
   * @param classes 0 where no labels are wanted
   * @param labelDropout the share of labels given as {@code classes}
   * @param flip whether every second image is mirrored
   */
  record View(
      int size, long seed, int classes, double labelDropout, boolean flip, Condition condition) {
    static View of(Model model, TrainConfig config) {
      return new View(
          config.batch(),
          config.seed(),
          model.classes(),
          model.labelDropout(),
          config.flip(),
          model.condition());
    }

    /** The images as they are. */
    static View plain(int size, int classes, long seed) {
      return new View(size, seed, classes, 0, false, Condition.NONE);
    }
  }

  private final Dataset data;
  private final View view;
  private final int size;
  private final Model.ImageShape shape;
  private final Philox philox;
  private int[] order;
  private int orderEpoch = -1;
  private long aheadStep = -1;
  private CompletableFuture<Batch> ahead;

  Batches(Dataset data, View view) {
    this.data = data;
    this.view = view;
    size = view.size();
    shape = new Model.ImageShape(data.height(), data.width(), data.channels());
    if (view.flip() && data.dtype() != DType.U8) {
      throw new IllegalArgumentException("flip: " + data.name() + " are no images; leave it out");
    }
    philox = new Philox(view.seed());
  }

  /** The batch of a step; what the step after it needs is begun. One thread asks. */
  Batch take(long step) {
    Batch batch;
    if (aheadStep == step) {
      try {
        batch = ahead.join();
      } catch (CompletionException e) {
        throw e.getCause() instanceof RuntimeException cause ? cause : e;
      }
    } else {
      if (ahead != null) {
        ahead.exceptionally(e -> null).join(); // it shares the order
      }
      batch = gather(step);
    }
    aheadStep = step + 1;
    ahead = new CompletableFuture<>();
    CompletableFuture<Batch> next = ahead;
    Thread.ofVirtual()
        .start(() -> {
          try {
            next.complete(gather(step + 1));
          } catch (RuntimeException | Error e) {
            next.completeExceptionally(e);
          }
        });
    return batch;
  }

  private Batch gather(long step) {
    int perEpoch = data.count() / size;
    int epoch = (int) (step / perEpoch);
    if (epoch != orderEpoch) {
      order = philox.permutation(data.count(), Philox.Stream.SHUFFLE, epoch);
      orderEpoch = epoch;
    }
    int first = (int) (step % perEpoch) * size;
    int bytes = data.imageBytes();
    byte[] images = new byte[size * bytes];
    byte[] labels = new byte[size];
    for (int i = 0; i < size; i++) {
      data.image(order[first + i], images, i * bytes);
      if (view.flip && philox.uniform(Philox.Stream.FLIP, (int) step, i) < 0.5f) {
        mirror(images, i * bytes);
      }
      if (view.classes > 0) {
        boolean withheld =
            philox.uniform(Philox.Stream.LABELS, (int) step, i) < (float) view.labelDropout;
        labels[i] = (byte) (withheld ? view.classes : data.label(order[first + i]));
      }
    }
    return new Batch(images, labels, view.condition.of(images, size, shape));
  }

  private void mirror(byte[] images, int at) {
    int channels = shape.channels();
    int width = shape.width();
    for (int row = 0; row < shape.height(); row++) {
      int begin = at + row * width * channels;
      for (int left = 0; left < width / 2; left++) {
        for (int c = 0; c < channels; c++) {
          int a = begin + left * channels + c;
          int b = begin + (width - 1 - left) * channels + c;
          byte swap = images[a];
          images[a] = images[b];
          images[b] = swap;
        }
      }
    }
  }
}
