package dev.gatun.models.train;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.Owned;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.data.Dataset;
import dev.gatun.models.Model;
import java.lang.foreign.MemorySegment;

/** Images of a data set on a device, in its order, so many at a time; not for training. */
public final class ImageBatch implements AutoCloseable {
  private final int size;
  private final int classes;
  private final Owned owned = new Owned();
  private final Tensor images;
  private final Tensor labels;
  private byte[] bytes = {};

  /**
   * Room for images.
   *
   * @param model whose images they are
   * @param size how many
   */
  public ImageBatch(Device device, Model model, int size) {
    this.size = size;
    classes = model.classes();
    Model.ImageShape s = model.imageShape();
    try {
      images =
          owned.add(
              Tensor.allocate(device, model.dataType(), size, s.height(), s.width(), s.channels()));
      labels = owned.add(Tensor.allocate(device, DType.U8, size));
    } catch (RuntimeException | Error e) {
      owned.close();
      throw e;
    }
  }

  /**
   * How many of the first {@code limit} images of a set there are.
   *
   * @throws IllegalArgumentException in one line if there are none
   */
  public static int count(Dataset data, int limit) {
    int count = Math.min(limit, data.count());
    if (count < 1) {
      throw new IllegalArgumentException("no images to score: limit " + limit + " of " + data);
    }
    return count;
  }

  /** [size,H,W,C] of the model's data type. */
  public Tensor images() {
    return images;
  }

  /** [size] u8; zeros where the model is given none. */
  public Tensor labels() {
    return labels;
  }

  /** What {@link #images} was last given. */
  public byte[] bytes() {
    return bytes;
  }

  /**
   * Takes the images from {@code first} on. If there are not enough of them the batch is filled up
   * with the same ones again.
   *
   * @param end where images end that are to be seen
   * @return how many there were
   */
  public int load(Dataset data, int first, int end) {
    int here = Math.min(size, end - first);
    int each = data.imageBytes();
    if (bytes.length != size * each) {
      bytes = new byte[size * each];
    }
    byte[] own = new byte[size];
    for (int i = 0; i < size; i++) {
      int image = first + i % here;
      data.image(image, bytes, i * each);
      if (classes > 0 && data.hasLabels()) {
        own[i] = (byte) data.label(image);
      }
    }
    images.write(MemorySegment.ofArray(bytes));
    labels.write(own);
    return here;
  }

  @Override
  public void close() {
    owned.close();
  }
}
