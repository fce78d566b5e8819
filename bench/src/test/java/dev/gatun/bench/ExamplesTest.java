package dev.gatun.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import javax.tools.ToolProvider;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * The examples build by themselves and do what they say. Here they see the engine as this build has
 * it, and of the class path only what their own pom.xml brings.
 */
class ExamplesTest {
  private static final Path EXAMPLES = Path.of("examples");

  /** What an example that depends on the engine alone has on its class path. */
  private static String engineClassPath() {
    List<String> kept = new ArrayList<>();
    for (String entry : System.getProperty("java.class.path").split(":")) {
      boolean module = entry.matches(".*/(native|kernels|engine)/target/.*");
      boolean installed = entry.matches(".*/gatun-(native|kernels|engine)-[^/]*\\.jar");
      boolean library = entry.matches(".*/(dnnl|jcuda|jcudnn|jackson)[^/]*\\.jar");
      if (module || installed || library) {
        kept.add(entry);
      }
    }
    return String.join(":", kept);
  }

  private static String run(Path folder, int code, String... arguments) throws Exception {
    Path log = Files.createTempFile(folder, "example", ".log");
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.addAll(
        List.of(
            "--enable-native-access=ALL-UNNAMED",
            "--add-modules",
            "jdk.incubator.vector",
            "-cp",
            folder + ":" + engineClassPath()));
    command.addAll(List.of(arguments));
    Process process =
        new ProcessBuilder(command).redirectErrorStream(true).redirectOutput(log.toFile()).start();
    try {
      assertTrue(process.waitFor(120, TimeUnit.SECONDS), () -> "no end: " + read(log));
      assertEquals(code, process.exitValue(), read(log));
      return read(log);
    } finally {
      process.destroyForcibly();
    }
  }

  private static String read(Path file) {
    try {
      return Files.readString(file);
    } catch (IOException e) {
      return e.toString();
    }
  }

  private static void compile(Path target, Path... sources) {
    List<String> arguments =
        new ArrayList<>(
            List.of(
                "-d", target.toString(), "-cp", engineClassPath(), "--release", "25", "-Werror"));
    arguments.addAll(Stream.of(sources).map(Path::toString).toList());
    assertEquals(
        0,
        ToolProvider.getSystemJavaCompiler()
            .run(null, null, null, arguments.toArray(String[]::new)));
  }

  @Test
  void theMaskedConvolutionRuns(@TempDir Path folder) throws Exception {
    Path example = EXAMPLES.resolve("masked-convolution");
    compile(folder, example.resolve("src/main/java/dev/gatun/examples/MaskedConvolution.java"));
    String output = run(folder, 0, "dev.gatun.examples.MaskedConvolution");
    Matcher speed = Pattern.compile("([0-9.]+) GFLOP/s").matcher(output);
    assertTrue(speed.find(), output);
    assertTrue(Double.parseDouble(speed.group(1)) > 0.1, output);
    assertTrue(output.contains("checksum "), output);
    String broken =
        Files.readString(example.resolve("src/main/java/dev/gatun/examples/MaskedConvolution.java"))
            .replace("CHANNELS + c) * FILTERS + k]", "CHANNELS + c) * FILTERS + FILTERS - 1 - k]");
    Path source = folder.resolve("MaskedConvolution.java");
    Files.writeString(source, broken);
    compile(folder, source);
    assertTrue(
        run(folder, 1, "dev.gatun.examples.MaskedConvolution").contains("not what a plain loop"));
  }

  /** An example names the engine by the version that this build installs. */
  @Test
  void examplesDependOnWhatIsInstalled() throws Exception {
    String version = tag(Files.readString(Path.of("pom.xml")), "version");
    List<Path> poms;
    try (Stream<Path> folders = Files.list(EXAMPLES)) {
      poms = folders.map(f -> f.resolve("pom.xml")).filter(Files::exists).toList();
    }
    assertFalse(poms.isEmpty());
    for (Path pom : poms) {
      String text = Files.readString(pom);
      assertFalse(text.contains("<parent>"), pom + " stands outside the reactor");
      String dependency = tag(text, "dependency");
      assertEquals("dev.gatun", tag(dependency, "groupId"), pom.toString());
      assertEquals(version, tag(dependency, "version"), pom.toString());
    }
  }

  private static String tag(String xml, String name) {
    Matcher matcher =
        Pattern.compile("<" + name + ">(.*?)</" + name + ">", Pattern.DOTALL).matcher(xml);
    assertTrue(matcher.find(), name);
    return matcher.group(1);
  }
}
