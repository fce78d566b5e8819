package dev.gatun.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class BundleCommandTest {
  @TempDir Path folder;

  @Test
  void runsWhereThereIsNoJava() throws Exception {
    // unpacked rather than packed: compression alone would take longer than all other tests
    List<Path> classPath =
        Arrays.stream(System.getProperty("java.class.path").split(File.pathSeparator))
            .map(Path::of)
            .toList();
    Path jlink = Path.of(System.getProperty("java.home"), "bin", "jlink");
    Console console = new Console(System.out, System.err);
    Path made = Files.createDirectory(folder.resolve("made"));
    Path bundle = new Bundle(Path.of(".."), classPath, jlink, console).gather(made);
    Path moved = folder.resolve("a folder of another name");
    Files.move(bundle, moved);
    assertEquals(0, run(moved, "--help").get("code").asInt());
    JsonNode devices = run(moved, "devices", "--json");
    assertEquals(0, devices.get("code").asInt());
    assertTrue(devices.get("out").get("devices").size() >= 3, devices.toString());
    JsonNode selftest = run(moved, "selftest", "--device", "cpu", "--json");
    assertEquals(0, selftest.get("code").asInt(), selftest.toString());
    assertTrue(selftest.get("out").get("cases").size() > 50);
    assertEquals(2, run(moved, "bundle").get("code").asInt());
    assertTrue(Files.exists(moved.resolve("licenses/THIRD-PARTY.txt")));
  }

  @Test
  void packsWhatXzAndTarUnpack() throws Exception {
    Path tree = Files.createDirectories(folder.resolve("tree/sub")).getParent();
    byte[] large = new byte[40 << 20]; // more than one chunk
    for (int i = 0; i < large.length; i += 1000) {
      large[i] = (byte) (i / 1000);
    }
    Files.write(tree.resolve("large"), large);
    Path script = Files.writeString(tree.resolve("sub/run"), "#!/bin/sh\n");
    assertTrue(script.toFile().setExecutable(true));
    Path archive = folder.resolve("tree.tar.xz");
    TarXz.pack(tree, archive);
    Path out = Files.createDirectory(folder.resolve("out"));
    Process tar =
        new ProcessBuilder("tar", "-xJf", archive.toString(), "-C", out.toString())
            .inheritIO()
            .start();
    assertEquals(0, tar.waitFor());
    Cli.assertSameBytes(tree.resolve("large"), out.resolve("tree/large"));
    assertTrue(Files.isExecutable(out.resolve("tree/sub/run")));
    Path again = folder.resolve("again.tar.xz");
    TarXz.pack(tree, again);
    Cli.assertSameBytes(archive, again);
  }

  @Test
  void isForACheckout() {
    Cli.run("bundle").fails(2, "checkout");
  }

  /** The exit code, and standard output as JSON if it is that. */
  private JsonNode run(Path bundle, String... args) throws IOException, InterruptedException {
    List<String> command = new ArrayList<>();
    command.addAll(List.of("env", "-i", "PATH=/usr/bin:/bin", "HOME=" + folder));
    command.add(bundle.resolve("bin/gatun").toString());
    command.addAll(List.of(args));
    Path out = folder.resolve("out.txt");
    Path err = folder.resolve("err.txt");
    Process process =
        new ProcessBuilder(command)
            .directory(folder.toFile())
            .redirectOutput(out.toFile())
            .redirectError(err.toFile())
            .start();
    assertTrue(process.waitFor(60, TimeUnit.SECONDS));
    assertTrue(!Files.readString(err).contains("incubator"), Files.readString(err));
    ObjectMapper mapper = new ObjectMapper();
    String text = Files.readString(out);
    var result = mapper.createObjectNode().put("code", process.exitValue());
    if (text.startsWith("{")) {
      result.set("out", mapper.readTree(text));
    }
    return result;
  }
}
