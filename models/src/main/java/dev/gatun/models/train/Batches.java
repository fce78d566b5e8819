package dev.gatun.models.train;

import dev.gatun.engine.Philox;
import dev.gatun.engine.data.Dataset;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;

/**
 * The images that each step sees: an epoch has each once at most, in an order of its own, which
 * follows from the seed and the epoch; those last in it that do not fill a batch are left out.
 * While a step runs the next one's are gathered.
 */
final class Batches {
  /** A step's images [N,H,W,C] u8, and their labels [N] where there are any. */
  record Batch(byte[] images, byte[] labels) {}

  private final Dataset data;
  private final int size;
  private final int dimensions;
  private final boolean labelled;
  private final long seed;
  private int[] order;
  private int orderEpoch = -1;
  private long aheadStep = -1;
  private CompletableFuture<Batch> ahead;

  Batches(Dataset data, int size, boolean labelled, long seed) {
    this.data = data;
    this.size = size;
    this.labelled = labelled;
    this.seed = seed;
    dimensions = data.height() * data.width() * data.channels();
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
      order = new Philox(seed).permutation(data.count(), Philox.Stream.SHUFFLE, epoch);
      orderEpoch = epoch;
    }
    int first = (int) (step % perEpoch) * size;
    byte[] images = new byte[size * dimensions];
    byte[] labels = new byte[size];
    for (int i = 0; i < size; i++) {
      data.image(order[first + i], images, i * dimensions);
      if (labelled) {
        labels[i] = (byte) data.label(order[first + i]);
      }
    }
    return new Batch(images, labels);
  }
}
