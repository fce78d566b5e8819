package dev.gatun.kernels;

import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * One compiled .cu file, in the forms that the build made: a fatbin for a GPU, a host image for the
 * emulator, and the source for compilation at run time.
 *
 * <p>A class-path module reads the resources {@code /dev/gatun/kernels/NAME.fatbin}, {@code
 * NAME.host.so}, {@code NAME.cu} and {@code common/*.cuh}.
 */
public final class KernelModule {

  private static final String ROOT = "/dev/gatun/kernels/";
  private static final Pattern INCLUDE =
      Pattern.compile("^[ \\t]*#[ \\t]*include[ \\t]*\"([^\"]+)\"", Pattern.MULTILINE);

  private final String name;
  private final Path directory; // null: the class path

  private KernelModule(String name, Path directory) {
    this.name = Objects.requireNonNull(name, "name");
    this.directory = directory;
  }

  /** The module of that name on the class path: {@code group_norm}, {@code conv_taps}. */
  public static KernelModule of(String name) {
    return new KernelModule(name, null);
  }

  /** A module from the output folder of {@code build-kernels.sh}: a patched or a fresh build. */
  public static KernelModule fromDirectory(Path directory, String name) {
    return new KernelModule(name, Objects.requireNonNull(directory, "directory"));
  }

  /** The file's name without its suffix. */
  public String name() {
    return name;
  }

  /** The image for a GPU; empty where the build had no nvcc. */
  public Optional<byte[]> fatbin() {
    return read(name + ".fatbin");
  }

  /** The image for the emulator, an ELF shared object; empty where the build had no g++. */
  public Optional<byte[]> hostImage() {
    return read(name + ".host.so");
  }

  /**
   * The CUDA source; {@link #headers} has what it includes.
   *
   * @throws UncheckedIOException when the source is not carried
   */
  public String source() {
    return text(name + ".cu");
  }

  /**
   * What the source includes, and what that includes, by the name in the include: {@code
   * common/portable.cuh}. The emulator's header is not among them.
   *
   * @throws UncheckedIOException when the source is not carried
   */
  public Map<String, String> headers() {
    Map<String, String> found = new LinkedHashMap<>();
    addIncludes(source(), found);
    return found;
  }

  private void addIncludes(String text, Map<String, String> found) {
    for (Matcher include = INCLUDE.matcher(text); include.find(); ) {
      String path = include.group(1);
      if (!found.containsKey(path)) {
        read(path)
            .map(bytes -> new String(bytes, StandardCharsets.UTF_8))
            .ifPresent(header -> {
              found.put(path, header);
              addIncludes(header, found);
            });
      }
    }
  }

  private String text(String file) {
    byte[] bytes =
        read(file)
            .orElseThrow(() ->
                new UncheckedIOException(
                    new FileNotFoundException(
                        (directory == null ? ROOT : directory + "/") + file)));
    return new String(bytes, StandardCharsets.UTF_8);
  }

  private Optional<byte[]> read(String file) {
    try {
      if (directory != null) {
        Path path = directory.resolve(file);
        return Files.isRegularFile(path) ? Optional.of(Files.readAllBytes(path)) : Optional.empty();
      }
      try (InputStream in = KernelModule.class.getResourceAsStream(ROOT + file)) {
        return in == null ? Optional.empty() : Optional.of(in.readAllBytes());
      }
    } catch (IOException e) {
      throw new UncheckedIOException("kernel module " + name + ": " + file, e);
    }
  }

  @Override
  public String toString() {
    return "KernelModule[" + name + (directory == null ? "" : " in " + directory) + "]";
  }
}
