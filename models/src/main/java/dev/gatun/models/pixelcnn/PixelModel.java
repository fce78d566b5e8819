package dev.gatun.models.pixelcnn;

import dev.gatun.engine.Graph;
import dev.gatun.engine.Value;
import dev.gatun.models.LikelihoodModel;

/** A model that draws an image pixel by pixel, in raster order, each given those before it. */
public interface PixelModel extends LikelihoodModel {
  /** The part of {@link #config} that all such models have. */
  PixelConfig images();

  @Override
  default ImageShape imageShape() {
    return new ImageShape(images().height(), images().width(), images().channels());
  }

  @Override
  default int levels() {
    return images().levels();
  }

  @Override
  default int classes() {
    return images().classes();
  }

  /** How a pixel is distributed. */
  Likelihood likelihood();

  /**
   * What the network says of every pixel given those before it.
   *
   * @return [N,H,W,P] f32
   */
  Value parameters(Graph graph, Weights weights, Input input);

  @Override
  default Nats nats(Graph graph, Weights weights, Input input) {
    return likelihood()
        .nats(graph, parameters(graph, weights, input), input.images(), input.type());
  }
}
