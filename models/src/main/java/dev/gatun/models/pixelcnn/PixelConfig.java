package dev.gatun.models.pixelcnn;

/** The hyper-parameters that say which images a {@link PixelModel} is for. */
public interface PixelConfig {
  int height();

  int width();

  /** Colours of a pixel, 1 or 3. */
  int channels();

  /** Values a colour can take. */
  int levels();

  /** Labels the model is given; 0 for none. */
  int classes();
}
