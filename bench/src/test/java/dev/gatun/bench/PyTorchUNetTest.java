package dev.gatun.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.Devices;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Owned;
import dev.gatun.engine.Program;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.Value;
import dev.gatun.engine.io.Safetensors;
import dev.gatun.engine.io.SafetensorsEntry;
import dev.gatun.engine.train.ParameterSpec;
import dev.gatun.engine.train.Parameters;
import dev.gatun.models.Records;
import dev.gatun.models.diffusion.UNet;
import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The public U-Net, in PyTorch, loads our weights by name and computes what ours does. */
class PyTorchUNetTest {
  private static final Path SCRIPT = Path.of("peers", "pytorch", "unet.py").toAbsolutePath();

  @TempDir Path folder;

  private static SafetensorsEntry entry(String name, Tensor tensor) {
    MemorySegment data = MemorySegment.ofArray(new byte[(int) tensor.spec().sizeBytes()]);
    tensor.read(data);
    return new SafetensorsEntry(name, tensor.dtype(), tensor.shape(), data);
  }

  /** Weights of which none is zero, an input, and what ours makes of it. */
  private Path export(UNet.Config config) throws Exception {
    UNet net = new UNet(config);
    Random random = new Random(3);
    int n = 3;
    try (Owned owned = new Owned()) {
      Device device = owned.add(Devices.open("cpu"));
      Parameters weights = owned.add(new Parameters(device, net.parameters()));
      for (ParameterSpec spec : weights.specs()) {
        float[] values = new float[spec.shape().elements()];
        boolean norm = spec.name().contains("norm") && spec.name().endsWith(".weight");
        double size =
            spec.shape().rank() == 3
                ? 1 / Math.sqrt(spec.shape().dim(0) * spec.shape().dim(1))
                : 0.3;
        for (int i = 0; i < values.length; i++) {
          values[i] = (float) ((norm ? 1 : 0) + size * random.nextGaussian());
        }
        weights.get(spec.name()).write(values);
      }
      Tensor x =
          owned.add(
              Tensor.allocate(
                  device, DType.F32, n, config.height(), config.width(), config.channels()));
      float[] noise = new float[x.elements()];
      for (int i = 0; i < noise.length; i++) {
        noise[i] = (float) random.nextGaussian();
      }
      x.write(noise);
      Tensor times = owned.add(Tensor.allocate(device, DType.F32, n)).write(0.5f, 17, 999);
      Tensor labels =
          owned.add(Tensor.allocate(device, DType.U8, n)).write((byte) 2, (byte) 0, (byte) 1);
      Graph graph = new Graph();
      Map<String, Value> bound = new HashMap<>();
      weights.specs().forEach(s -> bound.put(s.name(), graph.bind(weights.get(s.name()))));
      UNet.Input input = new UNet.Input(graph.bind(labels), DType.F32, null);
      Value y = net.apply(graph, bound::get, graph.bind(x), graph.bind(times), input);
      try (Program program = graph.compile(device, y)) {
        program.run();
        List<SafetensorsEntry> entries = new ArrayList<>(weights.entries(""));
        entries.add(entry("input.x", x));
        entries.add(entry("input.times", times));
        if (config.classes() > 0) {
          entries.add(entry("input.labels", labels));
        }
        entries.add(entry("output", program.tensor(y)));
        Path file = folder.resolve("unet.safetensors");
        Safetensors.write(file, Map.of("config", Records.toJson(config).toString()), entries);
        return file;
      }
    }
  }

  private record Said(int exitCode, String output) {}

  private Said run(String python, Path file) throws Exception {
    Path log = folder.resolve("log");
    Process process =
        new ProcessBuilder(python, SCRIPT.toString(), file.toString())
            .redirectErrorStream(true)
            .redirectOutput(log.toFile())
            .start();
    assertTrue(process.waitFor(3, TimeUnit.MINUTES), "no end of " + SCRIPT);
    return new Said(process.exitValue(), Files.readString(log));
  }

  @Test
  void loadsOurWeightsStrictlyAndComputesTheSame() throws Exception {
    String python = PyTorchPeerTest.pythonWithTorch();
    assumeTrue(python != null, "no PyTorch here: apt-get install python3-torch");
    for (UNet.Config config :
        List.of(
            new UNet.Config(8, 12, 3, 0, 8, "1,2", 2, "4", 4, 4, 0.1, true, false),
            new UNet.Config(8, 12, 3, 0, 8, "1,2", 2, "4", 4, 4, 0.1, false, false),
            new UNet.Config(8, 12, 3, 3, 8, "1,2", 1, "4", 4, 4, 0.1, true, true),
            new UNet.Config(16, 16, 1, 0, 16, "1,1,2", 1, "8,4", 16, 8, 0, false, true),
            new UNet.Config(16, 16, 1, 3, 16, "1,1,2", 1, "8,4", 16, 8, 0, true, false),
            new UNet.Config(4, 4, 1, 0, 8, "1", 1, "none", 8, 2, 0, true, false))) {
      Said said = run(python, export(config));
      assertEquals(0, said.exitCode, config + ": " + said.output);
      JsonNode result = new ObjectMapper().readTree(said.output.lines().toList().getLast());
      System.out.println(
          "difference " + result.path("difference") + " of " + result.path("largest"));
      assertTrue(result.path("largest").asDouble() > 0.1, said.output);
    }
  }

  @Test
  void aFileThatDoesNotFitIsRefused() throws Exception {
    String python = PyTorchPeerTest.pythonWithTorch();
    assumeTrue(python != null, "no PyTorch here: apt-get install python3-torch");
    Path file = export(new UNet.Config(4, 4, 1, 0, 8, "1", 1, "none", 8, 2, 0, true, false));
    byte[] bytes = Files.readAllBytes(file);
    String text = new String(bytes, StandardCharsets.ISO_8859_1);
    // the same length, another name
    text = text.replace("conv_norm_out.weight", "conv_norm_out.wrong_");
    Files.write(file, text.getBytes(StandardCharsets.ISO_8859_1));
    Said said = run(python, file);
    assertEquals(1, said.exitCode, said.output);
    assertTrue(said.output.contains("conv_norm_out.weight"), said.output);
  }
}
