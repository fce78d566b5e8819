package dev.gatun.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.net.URL;
import java.net.URLClassLoader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;
import javax.imageio.ImageIO;
import javax.tools.ToolProvider;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The Java in the README compiles as it stands there, and does what it says. */
class ReadmeTest {
  private static final String IMPORTS =
      """
      import dev.gatun.engine.*;
      import dev.gatun.engine.data.*;
      import dev.gatun.engine.io.*;
      import dev.gatun.engine.op.*;
      import dev.gatun.models.*;
      import dev.gatun.models.pixelcnn.*;
      import dev.gatun.models.train.*;
      import java.lang.foreign.*;
      import java.nio.file.Path;
      import java.util.List;
      """;

  private static List<String> blocks() throws Exception {
    return Pattern.compile("```java\n(.*?)```", Pattern.DOTALL)
        .matcher(Files.readString(Path.of("../README.md")))
        .results()
        .map((MatchResult block) -> block.group(1))
        .toList();
  }

  private static void run(Path folder, String name, String parameters, String body, Object... given)
      throws Exception {
    Path source = folder.resolve(name + ".java");
    Files.writeString(
        source,
        IMPORTS
            + "public class "
            + name
            + " { public static void run("
            + parameters
            + ") throws Exception {\n"
            + body
            + "}}\n");
    int status =
        ToolProvider.getSystemJavaCompiler()
            .run(
                null,
                null,
                null,
                "-d",
                folder.toString(),
                "-cp",
                System.getProperty("java.class.path"),
                source.toString());
    assertEquals(0, status, body);
    try (URLClassLoader loader = new URLClassLoader(new URL[] {folder.toUri().toURL()})) {
      for (var method : loader.loadClass(name).getMethods()) {
        if (method.getName().equals("run")) {
          method.invoke(null, given);
        }
      }
    }
  }

  @Test
  void theShippedModelDraws(@TempDir Path folder) throws Exception {
    Path drawn = folder.resolve("drawn.png");
    String body = blocks().get(0);
    assertTrue(body.contains("Path.of(\"models/pre") && body.contains("Path.of(\"drawn.png\")"));
    body =
        body.replace("Path.of(\"models/", "Path.of(\"../models/")
            .replace("Path.of(\"drawn.png\")", "drawn");
    run(folder, "Draws", "Path drawn", body, drawn);
    // 4 x 4 images of 28 pixels, twice as large, 3 pixels between them
    assertTrue(ImageIO.read(drawn.toFile()).getWidth() >= 4 * 2 * 28);
  }

  @Test
  void anOpRunsOnTheCallersMemory(@TempDir Path folder) throws Exception {
    assertEquals(2, blocks().size());
    String body =
        blocks()
            .get(1)
            .replace(
                "  Launch conv",
                """
                Tensor w = Tensor.allocate(device, DType.F32, 5, 64, 64);
                Tensor bias = Tensor.allocate(device, DType.F32, 64);
                Tensor y = Tensor.allocate(device, DType.F32, 32, 28, 28, 64);
                w.write(new float[5 * 64 * 64]);
                float[] ones = new float[64];
                java.util.Arrays.fill(ones, 1);
                bias.write(ones);
                Launch conv\
                """)
            .replace(
                "as you like\n",
                "as you like\n"
                    + "  if (y.toFloats()[77] != 1) throw new AssertionError(\"not run\");\n"
                    + "  for (AutoCloseable c : List.of(conv, w, bias, y, x)) c.close();\n");
    run(folder, "Convolves", "", body);
  }
}
