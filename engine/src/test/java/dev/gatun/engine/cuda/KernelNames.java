package dev.gatun.engine.cuda;

import dev.gatun.kernels.KernelModule;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/** The kernels that there are. */
final class KernelNames {
  static final Path SOURCES =
      Path.of("..", "kernels", "src", "main", "cuda").toAbsolutePath().normalize();

  /** What KERNEL(name, threads) leaves in an image's symbols; the number is the name's length. */
  private static final Pattern THUNK = Pattern.compile("thunkIXadL_Z(\\d+)([a-z]\\w*)");

  private KernelNames() {}

  /** The .cu files, without their suffix. */
  static List<String> modules() throws IOException {
    try (Stream<Path> files = Files.walk(SOURCES)) {
      return files
          .map(file -> file.getFileName().toString())
          .filter(name -> name.endsWith(".cu"))
          .map(name -> name.replace(".cu", ""))
          .sorted()
          .toList();
    }
  }

  /** A module's kernels, by what the build for the emulator made of its source. */
  static List<String> of(String module) {
    byte[] image = KernelModule.of(module).hostImage().orElseThrow();
    Matcher found = THUNK.matcher(new String(image, StandardCharsets.ISO_8859_1));
    TreeSet<String> names = new TreeSet<>();
    while (found.find()) {
      names.add(found.group(2).substring(0, Integer.parseInt(found.group(1))));
    }
    return new ArrayList<>(names);
  }
}
