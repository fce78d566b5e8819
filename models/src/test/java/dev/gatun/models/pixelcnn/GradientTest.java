package dev.gatun.models.pixelcnn;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.Graph;
import dev.gatun.engine.GraphReference;
import dev.gatun.engine.Program;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.Value;
import dev.gatun.engine.WithDevice;
import dev.gatun.engine.train.ParameterSpec;
import dev.gatun.engine.train.Parameters;
import dev.gatun.models.Model;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Gradients of whole networks, and the parameters they are for. */
class GradientTest {
  private static Stream<PixelModel> models() {
    return Stream.of(
        new PixelCnn(new PixelCnn.Config(3, 2, 3, 3, 2, 3, 1, 3, 3, 3)),
        new GatedPixelCnn(new GatedPixelCnn.Config(3, 4, 1, 3, 0, 2, 2, 3, 3, 3)),
        new GatedPixelCnn(new GatedPixelCnn.Config(2, 3, 3, 3, 2, 3, 2, 3, 3, 3)),
        new PixelCnnPlusPlus(new PixelCnnPlusPlus.Config(3, 2, 3, 5, 2, 2, 1, 2, 2, 0.5)));
  }

  /** With dropout, of one step, for the model that has it. */
  @ParameterizedTest
  @MethodSource("models")
  void areThoseOfFiniteDifferences(PixelModel model) {
    Graph g = new Graph();
    Map<String, Value> bound = new LinkedHashMap<>();
    Model.ImageShape shape = model.imageShape();
    try (Device device = WithDevice.open();
        Parameters weights = Nets.weights(device, model, 6);
        Tensor step = Tensor.allocate(device, DType.F64, 1);
        Tensor labels = Tensor.allocate(device, DType.U8, 2);
        Tensor input =
            Tensor.allocate(device, DType.U8, 2, shape.height(), shape.width(), shape.channels())) {
      step.writeDoubles(3);
      if (model.classes() > 0) {
        labels.write(new byte[] {1, 0});
      }
      input.write(Nets.images(model, 2, 9));
      for (ParameterSpec spec : weights.specs()) {
        bound.put(spec.name(), g.bind(weights.get(spec.name())));
      }
      Model.Input in =
          new Model.Input(
              g.bind(input), g.bind(labels), DType.F32, new Model.Training(g.bind(step), 5, 0));
      Value loss = model.nats(g, bound::get, in).mean();
      List<Value> slopes = g.gradients(loss, List.copyOf(bound.values()));
      GraphReference reference = new GraphReference();
      List<double[]> expected = reference.evaluate(slopes);
      List<Value> keep = new ArrayList<>(slopes);
      keep.add(loss);
      try (Program program = g.compile(device, keep.toArray(Value[]::new))) {
        program.run();
        assertEquals(
            reference.evaluate(loss)[0], program.tensor(loss).item(), 1e-5, "loss on the device");
        int i = 0;
        for (Map.Entry<String, Value> parameter : bound.entrySet()) {
          Value slope = slopes.get(i);
          assertNotNull(slope, parameter.getKey());
          double[] at = weights.get(parameter.getKey()).toDoubles();
          double error =
              reference.gradientError(loss, parameter.getValue(), at, expected.get(i), 1e-5);
          assertTrue(error <= 1e-6, parameter.getKey() + ": " + error);
          double[] actual = program.tensor(slope).toDoubles();
          for (int j = 0; j < actual.length; j++) {
            assertEquals(expected.get(i)[j], actual[j], 1e-5, parameter.getKey() + " " + j);
          }
          i++;
        }
      }
    }
  }

  @Test
  void parametersHaveDistinctNamesAndAllAreRead() {
    Nets.variants()
        .forEach(v -> {
          PixelModel model =
              ((Nets.Kind) v.get()[0]).small(5, 6, (int) v.get()[1], 4, (int) v.get()[2]);
          List<String> names =
              model.parameters().stream().map(ParameterSpec::name).sorted().toList();
          assertEquals(names, List.copyOf(new TreeSet<>(names)));
          TreeSet<String> read = new TreeSet<>();
          try (Device device = WithDevice.open();
              Parameters weights = Nets.weights(device, model, 1)) {
            Nets.run(
                device,
                model,
                weights,
                Nets.images(model, 1, 1),
                Nets.labels(model, 1),
                DType.F32,
                b ->
                    model.parameters(
                        b.graph(),
                        name -> {
                          read.add(name);
                          return b.weights().get(name);
                        },
                        b.input()));
          }
          assertEquals(names, List.copyOf(read));
        });
  }
}
