package dev.gatun.bench;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Owned;
import dev.gatun.engine.Program;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.Value;
import dev.gatun.engine.train.Parameters;
import dev.gatun.models.Model;
import dev.gatun.models.Model.ImageShape;
import dev.gatun.models.Models;
import dev.gatun.models.Models.Preset;
import dev.gatun.models.Sampler;
import dev.gatun.models.pixelcnn.PixelModel;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;

/** A PixelCNN: drawn from with a cache, and by passes of the whole network. */
final class GpuPixelCnn extends GpuNetwork {
  /** Images a sampler draws at once, and that a forward pass has. */
  private static final int DRAWN = 64;

  private static final String CACHED = "sample";

  GpuPixelCnn(
      String family, Preset preset, ImageShape shape, Map<String, String> overrides, int batch) {
    super(family, preset, shape, overrides, batch);
  }

  @Override
  PixelModel model() {
    return (PixelModel) super.model();
  }

  @Override
  boolean masked() {
    return true;
  }

  @Override
  List<Use> uses(boolean quick) {
    int drawn = quick ? 4 : DRAWN;
    int passes = shape.height() * shape.width() * model().likelihood().passes();
    return List.of(
        new Use("cached", drawn + " images", CACHED, drawn, 0),
        new Use("full pass", "over " + drawn, "forward", drawn, passes));
  }

  @Override
  Parameters makeWeights(Device reference) {
    return PeerExport.weights(reference, model(), images(COMPARED), null);
  }

  @Override
  void export(Path file, Device reference, Parameters weights, List<DType> types)
      throws IOException {
    PeerExport.write(
        file, reference, model(), setup.training(), weights, images(COMPARED), null, types);
  }

  @Override
  float[] outputs(Device device, Parameters on, DType type) {
    try (Owned here = new Owned()) {
      Forward forward = new Forward(device, on, type, COMPARED, here);
      forward.program.run();
      return forward.program.tensor(forward.out).toFloats();
    }
  }

  @Override
  Runnable open(Use use, Device device, Parameters on, DType type, Owned owned) {
    if (!use.workload().equals(CACHED)) {
      return new Forward(device, on, type, use.count(), owned).program::run;
    }
    Sampler sampler = owned.add(Models.sampler("cached", device, model(), on, type));
    return () -> sampler.sample(new Sampler.Request(use.count(), 0, 1), rows -> {});
  }

  /** One pass over images, all outputs computed and dropped. */
  private final class Forward {
    final Program program;
    final Value out;

    Forward(Device device, Parameters on, DType type, int count, Owned owned) {
      Tensor input =
          owned.add(
              Tensor.allocate(
                  device, DType.U8, count, shape.height(), shape.width(), shape.channels()));
      input.write(images(count));
      Graph graph = new Graph();
      out =
          model()
              .parameters(
                  graph,
                  n -> graph.bind(on.get(n)),
                  new Model.Input(graph.bind(input), null, type, null));
      program = owned.add(graph.compile(device, out));
    }
  }
}
