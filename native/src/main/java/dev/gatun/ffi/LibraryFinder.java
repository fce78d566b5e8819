package dev.gatun.ffi;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Supplier;

/**
 * Opens a native library from the first of several places that has it.
 *
 * <p>Each place is tried in the order it was added; {@link #open} says which file it opened, or
 * throws naming every place and why it failed. Libraries are opened with {@link System#load}, so
 * they live as long as the class loader and one process holds one copy of a file.
 */
public final class LibraryFinder {
  /** An opened library: its name, its file, and which rule found it. */
  public record Opened(String name, Path file, String place) {
    @Override
    public String toString() {
      return name + ": " + file + " (" + place + ")";
    }
  }

  private record Place(String description, Supplier<Path> file) {}

  private final String name;
  private final List<Place> places = new ArrayList<>();

  public LibraryFinder(String name) {
    this.name = name;
  }

  /** Looks where a system property points, if it is set. */
  public LibraryFinder property(String key) {
    places.add(
        new Place(
            "property " + key,
            () -> {
              String value = System.getProperty(key);
              if (value == null) {
                throw new LibraryException("not set");
              }
              return Path.of(value);
            }));
    return this;
  }

  /** Looks where an environment variable points, plus {@code below} inside it; "" for the file. */
  public LibraryFinder variable(String key, String below) {
    places.add(
        new Place(
            "variable " + key,
            () -> {
              String value = System.getenv(key);
              if (value == null || value.isBlank()) {
                throw new LibraryException("not set");
              }
              return below.isEmpty() ? Path.of(value) : Path.of(value, below);
            }));
    return this;
  }

  /** Looks at one absolute path. */
  public LibraryFinder path(String file) {
    places.add(new Place(file, () -> Path.of(file)));
    return this;
  }

  /** Looks in every folder of the loader's own variable {@code LD_LIBRARY_PATH}. */
  public LibraryFinder loaderPath(String fileName) {
    String folders = System.getenv("LD_LIBRARY_PATH");
    if (folders == null || folders.isBlank()) {
      places.add(
          new Place(
              "variable LD_LIBRARY_PATH",
              () -> {
                throw new LibraryException("not set");
              }));
      return this;
    }
    for (String folder : folders.split(":")) {
      if (!folder.isBlank()) {
        places.add(new Place("LD_LIBRARY_PATH", () -> Path.of(folder, fileName)));
      }
    }
    return this;
  }

  /** Unpacks class-path resources with {@link NativeFiles} and opens the first. */
  public LibraryFinder resource(String... resources) {
    places.add(new Place("class path " + resources[0], () -> NativeFiles.unpack(resources)));
    return this;
  }

  /**
   * Opens the library.
   *
   * @throws LibraryException naming each place tried and the reason it failed
   */
  public Opened open() {
    requireLinuxX64();
    StringBuilder tried = new StringBuilder();
    for (Place place : places) {
      try {
        Path file = place.file().get().toAbsolutePath();
        if (!Files.isReadable(file)) {
          throw new LibraryException(file + " does not exist or cannot be read");
        }
        System.load(file.toString());
        return new Opened(name, file, place.description());
      } catch (LibraryException | UnsatisfiedLinkError | java.nio.file.InvalidPathException e) {
        tried.append("; ").append(place.description()).append(": ").append(e.getMessage());
      }
    }
    throw new LibraryException("cannot open " + name + ", tried" + tried.substring(1));
  }

  /**
   * Refuses platforms there are no natives for.
   *
   * @throws LibraryException on anything but linux-x86_64
   */
  public static void requireLinuxX64() {
    String os = System.getProperty("os.name");
    String arch = System.getProperty("os.arch");
    if (!os.equals("Linux") || !(arch.equals("amd64") || arch.equals("x86_64"))) {
      throw new LibraryException("Gatun runs on linux-x86_64 only; this is " + os + " on " + arch);
    }
  }
}
