package dev.gatun.models.diffusion;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Owned;
import dev.gatun.engine.Program;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.Value;
import dev.gatun.engine.WithDevice;
import dev.gatun.engine.op.Adam;
import dev.gatun.engine.op.SquaredNorm;
import dev.gatun.engine.train.ParameterSpec;
import dev.gatun.engine.train.Parameters;
import dev.gatun.models.Model;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

class UNetTest {
  private static final UNet.Config TINY =
      new UNet.Config(8, 8, 1, 3, 8, "1,2", 1, "4", 8, 4, 0.1, true, false);

  /** The time as a shift, resolutions changed inside of blocks. */
  private static final UNet.Config TINY_RESAMPLING =
      new UNet.Config(8, 8, 1, 3, 8, "1,2", 1, "4", 8, 4, 0.1, false, true);

  private static Device device;

  @BeforeAll
  static void open() {
    device = WithDevice.open();
  }

  @AfterAll
  static void close() {
    device.close();
    assertEquals(0, device.allocatedBytes());
  }

  @Test
  void parametersHaveTheNamesOfDiffusers() {
    List<String> names = new UNet(TINY).parameters().stream().map(ParameterSpec::name).toList();
    assertEquals(names.size(), names.stream().distinct().count());
    for (String name :
        List.of(
            "conv_in.weight",
            "time_embedding.linear_1.weight",
            "time_embedding.linear_2.bias",
            "class_embedding.weight",
            "down_blocks.0.resnets.0.norm1.weight",
            "down_blocks.0.resnets.0.time_emb_proj.weight",
            "down_blocks.0.downsamplers.0.conv.weight",
            "down_blocks.1.resnets.0.conv_shortcut.weight",
            "mid_block.resnets.1.conv2.bias",
            "up_blocks.0.resnets.1.conv1.weight",
            "down_blocks.1.attentions.0.to_q.weight",
            "mid_block.attentions.0.to_out.0.bias",
            "up_blocks.0.attentions.1.group_norm.weight",
            "up_blocks.0.upsamplers.0.conv.weight",
            "up_blocks.1.resnets.1.conv_shortcut.bias",
            "conv_norm_out.weight",
            "conv_out.bias")) {
      assertTrue(names.contains(name), name + " is not in " + names);
    }
    assertTrue(names.stream().noneMatch(n -> n.startsWith("up_blocks.1.upsamplers")));
    assertTrue(names.stream().noneMatch(n -> n.startsWith("down_blocks.0.attentions")));
  }

  private static UNet paper(boolean scaleShift, boolean resnetResampling) {
    return new UNet(
        new UNet.Config(
            32, 32, 3, 0, 128, "1,2,2,2", 2, "16", 128, 32, 0.1, scaleShift, resnetResampling));
  }

  private static long size(UNet net) {
    return net.parameters().stream().mapToLong(p -> p.shape().elements()).sum();
  }

  /** DDPM's network for CIFAR-10 has 35,746,307 parameters. */
  @Test
  void thePapersNetworkHasThePapersSize() {
    assertEquals(35_746_307, size(paper(false, false)));
    // a scale beside each shift: 512 weights and a bias for each channel of 22 blocks
    assertEquals(35_746_307 + 513L * (5 * 128 + 17 * 256), size(paper(true, false)));
    // beside the convolution that was there: two norms, a second one, and the time's projection
    long more = 0;
    for (int c : new int[] {128, 256, 256, 256, 256, 256}) {
      more += 2 * 2 * c + 9L * c * c + c + 513L * c;
    }
    assertEquals(35_746_307 + more, size(paper(false, true)));
  }

  @Test
  void blocksThatResampleHaveTheNamesOfDiffusers() {
    List<String> names =
        new UNet(TINY_RESAMPLING).parameters().stream().map(ParameterSpec::name).toList();
    assertEquals(names.size(), names.stream().distinct().count());
    for (String block : List.of("down_blocks.0.downsamplers.0", "up_blocks.0.upsamplers.0")) {
      assertEquals(
          List.of(
              block + ".norm1.weight",
              block + ".norm1.bias",
              block + ".time_emb_proj.weight",
              block + ".time_emb_proj.bias",
              block + ".conv1.weight",
              block + ".conv1.bias",
              block + ".norm2.weight",
              block + ".norm2.bias",
              block + ".conv2.weight",
              block + ".conv2.bias"),
          names.stream().filter(n -> n.startsWith(block)).toList());
    }
    assertTrue(names.stream().noneMatch(n -> n.contains("samplers.0.conv.")));
  }

  @Test
  void whatDoesNotFitIsRefusedInOneLine() {
    IllegalArgumentException e =
        assertThrows(
            IllegalArgumentException.class,
            () -> new UNet.Config(30, 28, 1, 0, 8, "1,2,2", 1, "", 8, 4, 0, true, false));
    assertEquals(
        "unet: height and width must be multiples of 4, since the last resolution is that much"
            + " smaller: use fewer multipliers",
        e.getMessage());
    assertEquals(
        "unet: attention at height 16: there are [28, 14, 7]",
        assertThrows(
                IllegalArgumentException.class,
                () -> new UNet.Config(28, 28, 1, 0, 8, "1,2,2", 1, "16", 8, 4, 0, true, false))
            .getMessage());
    assertThrows(
        IllegalArgumentException.class,
        () -> new UNet.Config(8, 8, 1, 0, 8, "1", 1, "4,", 8, 4, 0, true, false));
    assertThrows(
        IllegalArgumentException.class,
        () -> new UNet.Config(8, 8, 1, 0, 8, "1", 1, "8", 3, 4, 0, true, false));
    assertThrows(
        IllegalArgumentException.class,
        () -> new UNet.Config(8, 8, 1, 0, 8, "1,x", 1, "", 8, 4, 0, true, false));
    assertThrows(
        IllegalArgumentException.class,
        () -> new UNet.Config(8, 8, 1, 0, 8, "1", 1, "", 8, 3, 0, true, false));
    assertThrows(
        IllegalArgumentException.class,
        () -> new UNet.Config(8, 8, 1, 1, 8, "1", 1, "", 8, 4, 0, true, false));
  }

  /** A step of training, and what is needed for it. */
  private static final class Training implements AutoCloseable {
    private static final int BATCH = 6;

    private final Owned owned = new Owned();
    final Parameters weights;
    final Tensor step;
    final Program program;
    final Value loss;

    Training(UNet net, DType type) {
      UNet.Config c = net.config();
      List<ParameterSpec> specs = net.parameters();
      weights = owned.add(new Parameters(device, specs));
      weights.initialize(5);
      Parameters m = owned.add(new Parameters(device, specs));
      Parameters v = owned.add(new Parameters(device, specs));
      Parameters ema = owned.add(new Parameters(device, specs));
      Parameters slopes = owned.add(new Parameters(device, specs));
      step = owned.add(Tensor.allocate(device, DType.F64, 1));
      Tensor images =
          owned.add(Tensor.allocate(device, DType.U8, BATCH, c.height(), c.width(), c.channels()));
      Tensor labels = owned.add(Tensor.allocate(device, DType.U8, BATCH));
      byte[] pixels = new byte[images.elements()];
      byte[] classes = new byte[BATCH];
      for (int i = 0; i < pixels.length; i++) {
        int n = i / (c.height() * c.width());
        classes[n] = (byte) (n % 3);
        // a class has its half of the image lit
        boolean lit = i % c.width() < 4 == (n % 3 == 0);
        pixels[i] = (byte) (lit ? 230 : 20);
      }
      images.write(pixels);
      labels.write(classes);
      DenoisingLoss losses =
          DenoisingLoss.discrete(NoiseSchedule.cosine(100), Prediction.VELOCITY, 5);
      Tensor table = owned.add(Tensor.allocate(device, DType.F32, losses.tableShape().toArray()));
      table.write(losses.table());
      Graph graph = new Graph();
      Map<String, Value> bound = new LinkedHashMap<>();
      specs.forEach(s -> bound.put(s.name(), graph.bind(weights.get(s.name()))));
      Value at = graph.bind(step);
      Model.Training training = new Model.Training(at, 3, 0);
      Value given = graph.bind(labels);
      UNet.Input input = new UNet.Input(given, type, training);
      loss =
          DenoisingLoss.apply(
              graph,
              graph.bind(table),
              new Model.Input(graph.bind(images), given, type, training),
              null,
              (x, times) -> net.apply(graph, bound::get, x, times, input));
      List<Value> gradients = graph.gradients(loss, List.copyOf(bound.values()));
      int i = 0;
      for (String name : bound.keySet()) {
        graph.store(gradients.get(i++), slopes.get(name));
      }
      Value flat = graph.bind(slopes.flat());
      graph.apply(
          new Adam(2e-3, 0.9, 0.999, 1e-8, 0, 1, 1, 0.9),
          List.of(
              graph.bind(weights.flat()),
              graph.bind(m.flat()),
              graph.bind(v.flat()),
              graph.bind(ema.flat()),
              at,
              flat,
              graph.apply(new SquaredNorm(), flat)));
      program = owned.add(graph.compile(device, loss));
    }

    double run() {
      program.run();
      return program.tensor(loss).item();
    }

    @Override
    public void close() {
      owned.close();
    }
  }

  private static double mean(List<Double> losses, int from, int to) {
    return losses.subList(from, to).stream().mapToDouble(l -> l).average().orElseThrow();
  }

  @Test
  void trainingLowersTheLoss() {
    List<DType> types = new ArrayList<>(List.of(DType.F32));
    if (device.refuses(DType.BF16) == null) {
      types.add(DType.BF16);
    }
    for (UNet.Config config : List.of(TINY, TINY_RESAMPLING)) {
      for (DType type : types) {
        try (Training training = new Training(new UNet(config), type)) {
          List<Double> losses = new ArrayList<>();
          for (int i = 0; i < 40; i++) {
            losses.add(training.run());
          }
          double before = mean(losses, 0, 10);
          double after = mean(losses, 30, 40);
          assertTrue(after < 0.7 * before, type + " of " + config + ": " + before + " to " + after);
          assertEquals(40, training.step.toDoubles()[0]);
        }
      }
    }
  }

  @Test
  void aStepFollowsFromItsNumber() {
    try (Training one = new Training(new UNet(TINY), DType.F32);
        Training two = new Training(new UNet(TINY), DType.F32)) {
      for (int i = 0; i < 3; i++) {
        assertEquals(one.run(), two.run());
      }
      assertArrayEquals(one.weights.flat().toFloats(), two.weights.flat().toFloats());
    }
  }
}
