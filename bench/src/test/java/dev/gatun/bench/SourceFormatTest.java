package dev.gatun.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import com.google.googlejavaformat.java.Formatter;
import com.google.googlejavaformat.java.FormatterException;
import com.google.googlejavaformat.java.ImportOrderer;
import com.google.googlejavaformat.java.JavaFormatterOptions;
import com.google.googlejavaformat.java.RemoveUnusedImports;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/**
 * Every source file is as google-java-format writes it; {@code -Dgatun.format=fix} rewrites those
 * that are not. Generated sources are left alone.
 */
class SourceFormatTest {
  private static final String MEND =
      "mvn -pl bench -am test -Dtest=SourceFormatTest -Dsurefire.failIfNoSpecifiedTests=false"
          + " -Dgatun.format=fix";

  private static final Formatter FORMATTER = new Formatter(JavaFormatterOptions.defaultOptions());

  private static String formatted(String source) throws FormatterException {
    String imports =
        ImportOrderer.reorderImports(
            RemoveUnusedImports.removeUnusedImports(source), JavaFormatterOptions.Style.GOOGLE);
    return FORMATTER.formatSource(imports);
  }

  /** The folder that holds all modules: tests run in their module's. */
  private static Path root() {
    Path folder = Path.of("").toAbsolutePath();
    while (folder != null && !Files.isDirectory(folder.resolve("native/src/main/java"))) {
      folder = folder.getParent();
    }
    if (folder == null) {
      fail("no native/src/main/java in or above " + Path.of("").toAbsolutePath());
    }
    return folder;
  }

  private static List<Path> sources(Path root) throws IOException {
    List<Path> files = new ArrayList<>();
    try (Stream<Path> modules = Files.list(root)) {
      for (Path module : modules.sorted().toList()) {
        for (String tree :
            new String[] {"src/main/java", "src/test/java", "src/peers/java", "examples"}) {
          Path folder = module.resolve(tree);
          if (Files.isDirectory(folder)) {
            try (Stream<Path> all = Files.walk(folder)) {
              all.filter(f -> f.toString().endsWith(".java")).sorted().forEach(files::add);
            }
          }
        }
      }
    }
    return files;
  }

  @Test
  void everySourceFileIsFormatted() throws IOException {
    boolean fix = "fix".equals(System.getProperty("gatun.format"));
    Path root = root();
    List<Path> files = sources(root);
    assertTrue(files.size() > 100, "only " + files.size() + " files below " + root);
    List<String> bad = new ArrayList<>();
    for (Path file : files) {
      String source = Files.readString(file);
      try {
        String wanted = formatted(source);
        if (!wanted.equals(source)) {
          if (fix) {
            Files.writeString(file, wanted);
          } else {
            bad.add(root.relativize(file).toString());
          }
        }
      } catch (FormatterException e) {
        bad.add(root.relativize(file) + ": " + e.getMessage());
      }
    }
    if (!bad.isEmpty()) {
      fail(
          bad.size()
              + " files are not formatted; mend them: "
              + MEND
              + "\n"
              + String.join("\n", bad));
    }
  }

  /** The check can fail, and what it asks for is stable. */
  @Test
  void theFormatterMendsWhatIsBad() throws FormatterException {
    String bad =
        "package a;\nimport java.util.Set;\nimport java.util.List;\nclass A{List<A> x ; }\n";
    String good = "package a;\n\nimport java.util.List;\n\nclass A {\n  List<A> x;\n}\n";
    assertEquals(good, formatted(bad));
    assertEquals(good, formatted(good));
  }
}
