package dev.gatun.bench;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Program;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.Value;
import dev.gatun.engine.train.Parameters;
import dev.gatun.models.LikelihoodModel;
import dev.gatun.models.Model;
import dev.gatun.models.pixelcnn.GatedPixelCnn;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** What Gatun computes of a batch in f32, for a peer to be held against. */
final class PixelCnnResults {
  private PixelCnnResults() {}

  /** The check of a gated PixelCNN: two convolutions in a row a layer, and two at each end. */
  static PeerCheck check(Model model, int count) {
    int layers = ((GatedPixelCnn.Config) model.config()).layers();
    return new PeerCheck(
        2 * layers + 2, model.parameters(), count * model.imageShape().dimensions());
  }

  /** Each pixel's loss. */
  static float[] nats(Device device, Model model, Parameters weights, byte[] images) {
    Graph graph = new Graph();
    try (Tensor batch = batch(device, model, images)) {
      Model.Input input = new Model.Input(graph.bind(batch), null, DType.F32, null);
      Value nats =
          LikelihoodModel.of(model).nats(graph, n -> graph.bind(weights.get(n)), input).terms();
      try (Program program = graph.compile(device, nats)) {
        program.run();
        return program.tensor(nats).toFloats();
      }
    }
  }

  /** Of the mean loss. */
  static Map<String, float[]> gradients(
      Device device, Model model, Parameters weights, byte[] images) {
    Graph graph = new Graph();
    try (Tensor batch = batch(device, model, images);
        Parameters slopes = new Parameters(device, weights.specs())) {
      Map<String, Value> bound = new LinkedHashMap<>();
      weights.specs().forEach(s -> bound.put(s.name(), graph.bind(weights.get(s.name()))));
      Model.Input input = new Model.Input(graph.bind(batch), null, DType.F32, null);
      Value mean = LikelihoodModel.of(model).nats(graph, bound::get, input).mean();
      List<Value> values = graph.gradients(mean, List.copyOf(bound.values()));
      int i = 0;
      for (String name : bound.keySet()) {
        graph.store(values.get(i++), slopes.get(name));
      }
      try (Program program = graph.compile(device, mean)) {
        program.run();
      }
      Map<String, float[]> all = new LinkedHashMap<>();
      bound.keySet().forEach(name -> all.put(name, slopes.get(name).toFloats()));
      return all;
    }
  }

  private static Tensor batch(Device device, Model model, byte[] images) {
    Model.ImageShape s = model.imageShape();
    int count = images.length / s.dimensions();
    return Tensor.allocate(device, DType.U8, count, s.height(), s.width(), s.channels())
        .write(images);
  }
}
