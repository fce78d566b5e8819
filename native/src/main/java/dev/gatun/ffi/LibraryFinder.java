package dev.gatun.ffi;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Supplier;
import java.util.stream.Collectors;
import java.util.stream.Stream;

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

  /** Names the files a rule leads to, the preferred one first, or throws why there is none. */
  private record Place(String description, Supplier<List<Path>> files) {}

  private final String name;
  private final List<Place> places = new ArrayList<>();

  public LibraryFinder(String name) {
    this.name = name;
  }

  /** Looks where a system property points, if it is set. */
  public LibraryFinder property(String key) {
    places.add(
        new Place("property " + key, () -> List.of(Path.of(required(System.getProperty(key))))));
    return this;
  }

  /** Looks where an environment variable points, plus {@code below} inside it; "" for the file. */
  public LibraryFinder variable(String key, String... below) {
    places.add(
        new Place(
            "variable " + key,
            () -> {
              Path root = Path.of(required(System.getenv(key)));
              return Stream.of(below)
                  .map(file -> file.isEmpty() ? root : root.resolve(file))
                  .toList();
            }));
    return this;
  }

  /** Looks at one absolute path. */
  public LibraryFinder path(String file) {
    places.add(new Place(file, () -> List.of(Path.of(file))));
    return this;
  }

  /** Looks in folders for files of these names: a folder's first, then the next folder. */
  public LibraryFinder folders(String description, List<String> folders, List<String> fileNames) {
    List<Path> files = new ArrayList<>();
    for (String folder : folders) {
      for (String file : fileNames) {
        files.add(Path.of(folder, file));
      }
    }
    places.add(new Place(description, () -> files));
    return this;
  }

  /** Looks in every folder of the loader's own variable {@code LD_LIBRARY_PATH}. */
  public LibraryFinder loaderPath(String... fileNames) {
    places.add(
        new Place(
            "variable LD_LIBRARY_PATH",
            () ->
                Stream.of(required(System.getenv("LD_LIBRARY_PATH")).split(":"))
                    .filter(folder -> !folder.isBlank())
                    .flatMap(folder -> Stream.of(fileNames).map(file -> Path.of(folder, file)))
                    .toList()));
    return this;
  }

  /** Looks for {@code below} in the folders where the path's python3 keeps its packages. */
  public LibraryFinder pythonPackages(String... below) {
    places.add(
        new Place(
            "python3's packages",
            () -> {
              List<Path> files = new ArrayList<>();
              for (Path folder : PythonPackages.folders()) {
                Stream.of(below).map(folder::resolve).forEach(files::add);
              }
              return files;
            }));
    return this;
  }

  private static String required(String value) {
    if (value == null || value.isBlank()) {
      throw new LibraryException("not set");
    }
    return value;
  }

  /** Unpacks class-path resources with {@link NativeFiles} and opens the first. */
  public LibraryFinder resource(String... resources) {
    places.add(
        new Place("class path " + resources[0], () -> List.of(NativeFiles.unpack(resources))));
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
    String broken = null;
    for (Place place : places) {
      String why;
      try {
        List<Path> files = place.files().get().stream().map(Path::toAbsolutePath).toList();
        why = missing(files);
        for (Path file : files) {
          if (Files.isReadable(file)) {
            try {
              System.load(file.toString());
              return new Opened(name, file, place.description());
            } catch (UnsatisfiedLinkError e) {
              why = e.getMessage();
              broken = broken == null ? why : broken;
            }
          }
        }
      } catch (LibraryException | java.nio.file.InvalidPathException e) {
        why = e.getMessage();
      }
      tried.append("; ").append(place.description()).append(": ").append(why);
    }
    throw new LibraryException(
        "cannot open " + name + ", tried" + tried.substring(1),
        broken == null ? "not found" : broken);
  }

  private static String missing(List<Path> files) {
    return switch (files.size()) {
      case 0 -> "none";
      case 1 -> files.getFirst() + " does not exist or cannot be read";
      default -> "none of " + files.stream().map(Path::toString).collect(Collectors.joining(", "));
    };
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
