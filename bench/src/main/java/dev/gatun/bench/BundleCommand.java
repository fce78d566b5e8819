package dev.gatun.bench;

import dev.gatun.models.Models;
import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;

/** {@code gatun bundle}. */
@Command(
    name = "bundle",
    description = {
      "Packs everything, with a Java runtime, for machines without Java.",
      "Writes bench/target/gatun-" + Models.VERSION + "-linux-x86_64.tar.xz; unpack, run bin/gatun."
    })
final class BundleCommand implements Callable<Integer> {
  private final Console console;

  BundleCommand(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() throws IOException {
    String root = System.getProperty("gatun.root");
    if (root == null || !Files.isRegularFile(Path.of(root, "bench", "pom.xml"))) {
      throw new UsageException("bundle packs a checkout: run ./gatun bundle in one");
    }
    Path jlink = Path.of(System.getProperty("java.home"), "bin", "jlink");
    if (!Files.isExecutable(jlink)) {
      throw new UsageException(
          "bundle needs a JDK with jlink, there is none at "
              + jlink
              + ": set GATUN_JAVA_HOME to one");
    }
    List<Path> classPath =
        Arrays.stream(System.getProperty("java.class.path").split(File.pathSeparator))
            .map(Path::of)
            .toList();
    Path target = Path.of(root, "bench", "target");
    Files.createDirectories(target);
    Path file = target.resolve("gatun-" + Models.VERSION + "-linux-x86_64.tar.xz");
    new Bundle(Path.of(root), classPath, jlink, console).write(file);
    console.say(
        String.format(
            Locale.ROOT, "wrote %s, %.1f MiB", file, Files.size(file) / (double) (1 << 20)));
    return 0;
  }
}
