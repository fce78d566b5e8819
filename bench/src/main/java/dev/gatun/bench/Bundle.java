package dev.gatun.bench;

import dev.gatun.models.Models;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.regex.Pattern;

/** Gathers a Java runtime, the jars and the licences in a folder, and packs it. */
final class Bundle {
  private static final String NAME = "gatun-" + Models.VERSION;

  /** What the class path must have, and what of it is needed where there is no source. */
  private static final List<String> JARS =
      List.of(
          "gatun-bench",
          "gatun-models",
          "gatun-engine",
          "gatun-kernels",
          "gatun-native",
          "dnnl",
          "jcuda",
          "jcuda-natives",
          "jcudnn",
          "jcudnn-natives",
          "ejml-core",
          "ejml-ddense",
          "hipparchus-clustering",
          "hipparchus-core",
          "hipparchus-stat",
          "jackson-annotations",
          "jackson-core",
          "jackson-databind",
          "jline-terminal",
          "picocli",
          "progressbar",
          "xchart");

  private static final String MODULES =
      "java.base,java.desktop,java.logging,jdk.incubator.vector,jdk.unsupported";

  private final Path root;
  private final List<Path> classPath;
  private final Path jlink;
  private final Console console;

  Bundle(Path root, List<Path> classPath, Path jlink, Console console) {
    this.root = root;
    this.classPath = classPath;
    this.jlink = jlink;
    this.console = console;
  }

  /** Writes the archive, atomically. */
  void write(Path file) throws IOException {
    Path work = Files.createTempDirectory(file.toAbsolutePath().getParent(), "bundle");
    try {
      Path folder = gather(work);
      console.say("packing ...");
      TarXz.pack(folder, file);
    } finally {
      Folders.delete(work);
    }
  }

  /** Makes the folder that is packed, inside another. */
  Path gather(Path work) throws IOException {
    Path folder = Files.createDirectory(work.resolve(NAME));
    console.say("linking a Java runtime ...");
    link(folder.resolve("runtime"));
    copyJars(folder);
    Path bin = Files.createDirectory(folder.resolve("bin"));
    Files.copy(root.resolve("gatun"), bin.resolve("gatun"));
    for (String text : List.of("LICENSE", "NOTICE")) {
      if (Files.exists(root.resolve(text))) {
        Files.copy(root.resolve(text), folder.resolve(text));
      }
    }
    return folder;
  }

  private void link(Path runtime) throws IOException {
    Path log = runtime.resolveSibling("jlink.log");
    Process process =
        new ProcessBuilder(
                jlink.toString(),
                "--add-modules",
                MODULES,
                "--strip-debug",
                "--no-header-files",
                "--no-man-pages",
                "--generate-cds-archive",
                "--output",
                runtime.toString())
            .redirectErrorStream(true)
            .redirectOutput(log.toFile())
            .start();
    try {
      if (!process.waitFor(5, TimeUnit.MINUTES) || process.exitValue() != 0) {
        process.destroyForcibly();
        throw new IOException("jlink failed: " + Files.readString(log));
      }
    } catch (InterruptedException e) {
      process.destroyForcibly();
      Thread.currentThread().interrupt();
      throw new IOException("interrupted while jlink ran", e);
    }
    Files.delete(log);
    // for heaps of more than 32 GiB alone
    Files.deleteIfExists(runtime.resolve("lib/server/classes_nocoops.jsa"));
  }

  private void copyJars(Path folder) throws IOException {
    Path lib = Files.createDirectory(folder.resolve("lib"));
    Path licences = Files.createDirectory(folder.resolve("licenses"));
    for (String name : JARS) {
      Path source = find(name);
      Path target =
          lib.resolve(
              Files.isDirectory(source)
                  ? name + "-" + Models.VERSION + ".jar"
                  : source.getFileName().toString());
      new JarFilter(name).copy(source, target, licences);
    }
    for (String resource :
        List.of("dev/gatun/emulator/libcuda.so.1", "dev/gatun/kernels/group_norm.fatbin")) {
      if (Bundle.class.getResource("/" + resource) == null) {
        console.say("not in this build, so not in the bundle: " + resource);
      }
    }
    try (var in = Bundle.class.getResourceAsStream("licences/THIRD-PARTY.txt")) {
      Files.copy(in, licences.resolve("THIRD-PARTY.txt"));
    }
  }

  /** The jar of that name and any version, or the folder that it would be made of. */
  private Path find(String name) throws IOException {
    Path classes = Path.of(name.substring(name.indexOf('-') + 1), "target", "classes");
    for (Path entry : classPath) {
      String file = entry.getFileName().toString();
      if (file.matches(Pattern.quote(name) + "-\\d.*\\.jar")
          || name.startsWith("gatun-") && entry.endsWith(classes)) {
        return entry;
      }
    }
    throw new IOException("no " + name + " on the class path: build again with 'mvn package'");
  }
}
