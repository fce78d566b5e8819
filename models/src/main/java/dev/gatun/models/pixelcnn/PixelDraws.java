package dev.gatun.models.pixelcnn;

import dev.gatun.engine.Philox;
import dev.gatun.models.Model;
import dev.gatun.models.Sampler;

/** Which numbers decide which pixel; the same for every sampler. */
final class PixelDraws {
  private final Likelihood likelihood;
  private final Model.ImageShape shape;
  private final Sampler.Request request;
  private final Philox philox;

  PixelDraws(PixelModel model, Sampler.Request request) {
    likelihood = model.likelihood();
    shape = model.imageShape();
    this.request = request;
    philox = new Philox(request.seed());
  }

  /**
   * Draws one pass of one image's pixel, or takes what was given.
   *
   * @param parameters of this pass, from {@code offset} on
   * @param pixel its colours from {@code at} on
   */
  void draw(
      int image,
      int row,
      int column,
      int pass,
      float[] parameters,
      int offset,
      byte[] pixel,
      int at) {
    int index = row * shape.width() + column;
    if (row < request.givenRows() && image < request.count()) {
      int from = image * shape.dimensions() + index * shape.channels();
      System.arraycopy(request.given(), from, pixel, at, shape.channels());
      return;
    }
    long first = (long) index * likelihood.uniforms();
    likelihood.draw(
        parameters,
        offset,
        pass,
        request.temperature(),
        k -> philox.uniform(Philox.Stream.SAMPLE, image, first + k),
        pixel,
        at);
  }
}
